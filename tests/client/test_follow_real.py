"""The client that follows the real daemon: told at once, kept up to date, and there again after a restart."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.client import Liveness
from testbed.supervisord import Supervisord
from tests.fakes.ear import wait_until
from tests.fakes.upstream import Upstream, fails

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
VALID_FOR_S = 4.0
NEVER_S = 3600.0
SETTINGS = """
[policy]
tick_s = 0.5
close_tick_s = 0.5
look_timeout_s = 0.5

[[backends]]
name = "code"
url = "{url}"
models = ["code"]
engine = "none"
"""


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream(fails("503 Service Unavailable", '{"error": {"message": "Loading model", "code": 503}}')) as server:
        yield server


@pytest.fixture
def daemon(tmp_path: Path, server: Upstream) -> Iterator[Supervisord]:
    """A daemon that watches one server, which is loading for ever."""
    with Supervisord(tmp_path) as daemon:
        daemon.write_settings(SETTINGS.format(url=server.url), valid_for_s=VALID_FOR_S)
        daemon.start()
        daemon.wait_answers()
        yield daemon


@contextlib.contextmanager
def following(source: str) -> Iterator[Liveness]:
    """Follow with a client that would not ask again by itself while there is a stream."""
    with contextlib.closing(Liveness(source, follow=True, poll_s=NEVER_S)) as liveness:
        wait_until(lambda: verdict(liveness) == "warming")
        yield liveness


def verdict(liveness: Liveness) -> str | None:
    """Return what is known of the one backend."""
    snapshot = liveness.snapshot()
    return snapshot.backends[0].verdict if snapshot.known else None


def test_a_change_is_told_and_what_does_not_change_lives_on(daemon: Supervisord, server: Upstream) -> None:
    with following(daemon.address) as by_port, following(f"unix://{daemon.socket}") as by_socket:
        over_s = time.monotonic() + VALID_FOR_S + 1.0
        while time.monotonic() < over_s:
            assert [verdict(each) for each in (by_port, by_socket)] == ["warming"] * 2
            time.sleep(0.01)

        server.behave = fails("500 Internal Server Error")
        wait_until(lambda: verdict(by_port) not in ("warming", None))
        wait_until(lambda: verdict(by_socket) == verdict(by_port))

        assert by_port.pick("code").refuse


def test_a_daemon_that_dies_leaves_what_is_held_until_it_expires_and_the_next_one_is_followed(
    daemon: Supervisord,
) -> None:
    with following(daemon.address) as liveness:
        epoch = liveness.snapshot().epoch

        daemon.kill()
        assert liveness.pick("code").refuse
        wait_until(lambda: not liveness.snapshot().known)
        assert not liveness.pick("code").refuse

        daemon.start()
        wait_until(lambda: verdict(liveness) == "warming")
        assert liveness.snapshot().epoch != epoch
