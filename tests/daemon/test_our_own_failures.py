"""The daemon itself fails, and no server is blamed for it: it stands still, or has no file handles."""

import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from testbed.supervisord import Supervisord
from tests.daemon.test_daemon import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
STANDARD_STREAMS = 3
STILL_S = 16.0  # longer than what counts as our own absence, and than strong evidence needs


@pytest.fixture
def daemon(tmp_path: Path, model: Path) -> Iterator[Supervisord]:
    """A daemon that runs one real model server itself, once that is ready."""
    with Supervisord(tmp_path) as daemon:
        daemon.write_settings(f"[process]\nstop_on_exit = true\n{serving(daemon, model)}")
        daemon.start()
        daemon.wait_answers()
        daemon.wait_target("general", verdict="ready")
        yield daemon


def test_a_daemon_that_stood_still_with_its_servers_blames_none_of_them(daemon: Supervisord) -> None:
    """As on a laptop that was closed: everything stops, and not everything goes on at once."""
    before = daemon.target("general")
    server = psutil.Process(before["pid"])

    server.suspend()
    daemon.signal(signal.SIGSTOP)
    time.sleep(STILL_S)
    daemon.signal(signal.SIGCONT)
    daemon.wait_target("general", verdict="suspect")
    server.resume()
    after = daemon.wait_target("general", verdict="ready")

    assert (after["instance"], after["restarts"]) == (before["instance"], before["restarts"])
    assert "we stood still ourselves for" in daemon.log()


def test_a_daemon_without_file_handles_blames_nobody_and_sees_again_when_it_has_some(daemon: Supervisord) -> None:
    before = daemon.target("general")
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)

    # Below every number that could come free: a connection that ends meanwhile would leave one to take.
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (STANDARD_STREAMS, limits[1]))
    time.sleep(STILL_S)
    with pytest.raises(httpx.HTTPError):
        daemon.get("/livez")
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
    after = daemon.wait_target("general", verdict="ready")

    assert (after["instance"], after["restarts"]) == (before["instance"], before["restarts"])
    assert "restarting" not in daemon.log().split("up (", 1)[-1]
