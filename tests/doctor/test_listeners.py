"""Who listens where, on this machine's own tables."""

import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from supervisor.doctor import listeners
from supervisor.doctor.listeners import Listener


@pytest.mark.parametrize(
    ("bound", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("0.0.0.0", "127.0.0.1")],
)
def test_a_port_is_known_with_its_process(bound: str, asked: str) -> None:
    with socket.create_server((bound, 0)) as server:
        port = server.getsockname()[1]
        (seen,) = listeners.on_port(listeners.listeners(), port, host=asked)

        assert (seen.port, seen.uid, seen.pid) == (port, os.geteuid(), os.getpid())
        assert listeners.called(seen).endswith(f"(pid {os.getpid()})")


def test_a_port_of_another_address_is_another() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]

        assert listeners.on_port(listeners.listeners(), port, host="127.0.0.1") == []
        assert len(listeners.on_port(listeners.listeners(), port, host="127.0.0.2")) == 1


def test_addresses_of_the_newer_kind_are_read_as_people_write_them() -> None:
    if not socket.has_ipv6:
        return
    with closing(socket.socket(socket.AF_INET6)) as server:
        try:
            server.bind(("::1", 0))
        except OSError:
            return
        server.listen()
        (seen,) = listeners.on_port(listeners.listeners(), server.getsockname()[1])

        assert seen.address == "::1"


def test_only_this_machines_addresses_are_here() -> None:
    assert listeners.here("localhost") in ("127.0.0.1", "::1")
    assert listeners.here("127.0.0.1") == "127.0.0.1"
    assert listeners.here("192.0.2.1") is None
    assert listeners.here("no-such-host.invalid") is None


def test_a_closed_port_is_not_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listeners.is_open("127.0.0.1", port)

    assert not listeners.is_open("127.0.0.1", port)


def test_a_process_is_called_by_its_program_and_by_nothing_that_it_was_given() -> None:
    words = [sys.executable, "-c", "import time; time.sleep(60)", "--api-key", "hunter2"]
    with subprocess.Popen(words) as process:
        try:
            name = listeners.called(Listener(address="", port=1, uid=0, inode="1", pid=process.pid))
        finally:
            process.kill()

    assert f"pid {process.pid}" in name
    assert "hunter2" not in name
    assert listeners.called(Listener(address="", port=1, uid=7, inode="1")) == "a process of uid 7"


def test_a_process_descends_from_those_that_started_it() -> None:
    line = listeners.family(os.getpid())

    assert line[:2] == [os.getpid(), os.getppid()]
    assert listeners.family(2**22 + 1) == [2**22 + 1]
