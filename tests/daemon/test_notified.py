"""The program under a service manager: what it tells of its start, its targets, its life and its end."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.clients import wait_until
from testbed.process_servers import ProcessServers
from testbed.supervisord import Supervisord
from tests.fakes.service_manager import ServiceManager

WATCHDOG_S = 2.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with ServiceManager(tmp_path / "notify") as manager:
        yield manager


@pytest.fixture
def daemon(
    tmp_path: Path, manager: ServiceManager, process_servers: ProcessServers, model: Path
) -> Iterator[Supervisord]:
    """A daemon under a service manager; it watches one real model server."""
    url = process_servers.run("general", model, "-np", "1")
    with Supervisord(tmp_path) as daemon:
        daemon.write_settings(f'[[backends]]\nname = "general"\nurl = "{url}"\nengine = "none"\nmodels = ["general"]\n')
        daemon.start(env={"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}"})
        yield daemon


def test_it_says_when_it_is_ready_how_its_targets_are_that_it_lives_and_that_it_leaves(
    daemon: Supervisord, manager: ServiceManager, process_servers: ProcessServers
) -> None:
    wait_until(lambda: manager.status == "1/1 ready", "all ready is told")
    wait_until(lambda: "READY=1" in manager.listen(), "the start is done")
    wait_until(lambda: manager.listen().count("WATCHDOG=1") > 2, "the watchdog is fed")
    process_servers.pause("general")
    wait_until(lambda: manager.status.startswith("0/1 ready; general: suspect"), "the trouble is told")
    process_servers.resume("general")

    daemon.signal(signal.SIGTERM)

    assert daemon.wait_end() == 0
    heard = manager.listen()
    assert heard[heard.index("STOPPING=1") + 1] == "STATUS=ending; targets run on"


def test_the_watchdog_hears_nothing_of_a_daemon_that_is_frozen_until_it_goes_on(
    daemon: Supervisord, manager: ServiceManager
) -> None:
    wait_until(lambda: "WATCHDOG=1" in manager.listen(), "the watchdog is fed")
    daemon.signal(signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{daemon.pid}/stat").read_text().split()[2] == "T", "it stands still")
    manager.listen().clear()

    with pytest.raises(TimeoutError):
        wait_until(lambda: "WATCHDOG=1" in manager.listen(), "the watchdog is fed", within_s=WATCHDOG_S)
    daemon.signal(signal.SIGCONT)

    wait_until(lambda: "WATCHDOG=1" in manager.listen(), "the watchdog is fed again")


def test_what_stands_still_is_to_be_read_in_the_log_once_the_watchdog_has_struck(daemon: Supervisord) -> None:
    daemon.wait_answers()

    daemon.signal(signal.SIGABRT)

    assert daemon.wait_end() == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in daemon.log()
    assert "supervisord.py" in daemon.log()
