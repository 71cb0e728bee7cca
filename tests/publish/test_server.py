"""The port and the socket that the API is served on."""

import socket
import stat
from pathlib import Path

import pytest

from supervisor.errors import StartupError
from supervisor.publish.server import bind_tcp, bind_unix


@pytest.mark.parametrize("taken_by", ["another program", "another of us"])
def test_a_taken_port_stops_the_start_and_is_named(taken_by: str) -> None:
    first = socket.create_server(("127.0.0.1", 0)) if taken_by == "another program" else bind_tcp("127.0.0.1", 0)
    port = first.getsockname()[1]

    with first, pytest.raises(StartupError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*set http\.port"):
        bind_tcp("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_stops_the_start_and_is_named(host: str) -> None:
    with pytest.raises(StartupError, match=rf"cannot listen on {host}:0 .*check http\.host"):
        bind_tcp(host, 0)


def test_a_socket_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    bind_unix(path).close()

    with bind_unix(path) as listener:
        mode = stat.S_IMODE(path.stat().st_mode)
        name = listener.getsockname()

    assert name == str(path)
    assert mode == 0o660


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(StartupError, match=r"check http\.socket"):
        bind_unix(path)

    assert path.read_text() == "data"


@pytest.mark.parametrize("name", ["missing/control.sock", "x" * 120])
def test_a_socket_that_cannot_be_made_stops_the_start_and_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartupError, match=r"cannot make the socket .*check http\.socket"):
        bind_unix(tmp_path / name)
