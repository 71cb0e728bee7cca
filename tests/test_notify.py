"""Our words to systemd: what is sent, to whom, and when nothing is."""

import os
import time
from pathlib import Path

import pytest

from supervisor.notify import Notifier
from tests.fakes.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> ServiceManager:
    address = str(tmp_path / "notify") if request.param == "path" else f"@benchai-test-{os.getpid()}"
    return ServiceManager(address)


def test_each_word_is_a_datagram_as_systemd_reads_it(manager: ServiceManager) -> None:
    with manager:
        notifier = Notifier({"NOTIFY_SOCKET": manager.address})
        notifier.ready()
        notifier.status("3/4 ready;\ncode: hung")
        notifier.alive()
        notifier.stopping()
        notifier.extend(12.5)

        heard = manager.listen()

    assert heard == [
        "READY=1",
        "STATUS=3/4 ready; code: hung",
        "WATCHDOG=1",
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=12500000",
    ]


def test_a_reload_carries_the_monotonic_time_at_which_it_began(tmp_path: Path) -> None:
    with ServiceManager(tmp_path / "notify") as manager:
        before = time.monotonic_ns() // 1000
        Notifier({"NOTIFY_SOCKET": manager.address}).reloading()
        after = time.monotonic_ns() // 1000

        (heard,) = manager.listen()

    reloading, at = heard.split("\n")
    assert reloading == "RELOADING=1"
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= after


@pytest.mark.parametrize("address", ["", "vsock:2:9999", "relative/path"])
def test_where_nobody_listens_on_a_unix_socket_nothing_is_sent_and_nothing_fails(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})

    notifier.ready()

    assert not notifier.is_heard
    assert notifier.watchdog_s is None


def test_a_manager_that_is_gone_or_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with ServiceManager(tmp_path / "notify") as manager:
        notifier = Notifier({"NOTIFY_SOCKET": manager.address})
        for _ in range(10_000):  # far more than a socket holds
            notifier.alive()
        heard = len(manager.listen())
    notifier.alive()
    Path(manager.address).unlink()
    notifier.alive()

    assert 0 < heard < 10_000


def test_a_manager_that_comes_back_is_told_again(tmp_path: Path) -> None:
    with ServiceManager(tmp_path / "notify") as first:
        notifier = Notifier({"NOTIFY_SOCKET": first.address})
        notifier.ready()
    Path(first.address).unlink()
    notifier.alive()
    with ServiceManager(tmp_path / "notify") as second:
        notifier.alive()

        assert second.listen() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environment", "limit_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "us"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_known_where_it_waits_for_us(environment: dict[str, str], limit_s: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/notify", **environment}, pid=77).watchdog_s == limit_s
