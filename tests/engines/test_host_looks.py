"""The words for files, programs and ports, on this very host."""

import asyncio
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.engines.circumstances import Executable, File, Place, Port, Thing, paths_named, port_asked
from supervisor.engines.host_looks import HostLooks, word
from supervisor.errors import EngineUnreachable
from testbed.clients import LOOPBACK, free_port

LIMIT_S = 0.3


@pytest.fixture
async def looks() -> AsyncIterator[HostLooks]:
    looks = HostLooks(limit_s=LIMIT_S)
    yield looks
    looks.close()


def test_a_file_has_the_same_word_until_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    thing = File(path=str(path))
    words = [word(thing)]

    path.write_bytes(b"half")
    os.utime(path, ns=(1, 1))
    words += [word(thing), word(thing)]
    path.write_bytes(b"whole")
    os.utime(path, ns=(1, 1))
    words += [word(thing)]
    os.utime(path, ns=(2, 2))
    words += [word(thing)]
    path.chmod(0o400)
    words += [word(thing)]

    assert words[0] == "missing"
    assert words[1].startswith("4 bytes, 1 ns, ")
    assert words[1] == words[2]
    assert len(set(words)) == 5


@pytest.mark.parametrize("path", ["/no/such/file", "/dev/null/x", "\0", "/" + "x" * 300])
def test_what_cannot_be_a_file_is_told_and_not_raised(path: str) -> None:
    assert not word(File(path=path)).startswith("0 bytes")


def test_a_place_is_there_or_missing(tmp_path: Path) -> None:
    assert word(Place(path=str(tmp_path))) == "there"
    assert word(Place(path=str(tmp_path / "gone"))) == "missing"


def test_a_program_is_found_as_a_shell_would_and_only_if_it_may_be_run(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\n")
    by_name = Executable(name="llama-server", directory="/", search=str(tmp_path))
    by_path = Executable(name="./llama-server", directory=str(tmp_path), search="")

    before = word(by_name), word(by_path)
    program.chmod(0o755)

    assert before == ("missing", "missing")
    assert word(by_name).startswith(f"{program}, 10 bytes, ")
    assert word(by_path).endswith(word(File(path=str(program))))


@pytest.mark.parametrize("address", [LOOPBACK, "0.0.0.0"])
def test_a_port_is_taken_while_somebody_listens_and_free_afterwards(address: str) -> None:
    port = Port(address=address, number=free_port())
    with socket.create_server((LOOPBACK, port.number)):
        during = word(port)

    assert (during, word(port), word(port)) == ("taken", "free", "free")


def test_connections_of_the_last_life_that_linger_take_no_port() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)), listener.accept()[0]:
            pass  # the side that closes first lingers

    assert word(Port(address=LOOPBACK, number=port)) == "free"


def test_a_port_without_connections_is_looked_at_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((LOOPBACK, 0))
        port = Port(address=LOOPBACK, number=holder.getsockname()[1], is_udp=True)
        during = word(port)

    assert (during, word(port)) == ("taken", "free")


def test_a_port_of_an_address_that_this_host_does_not_have_is_told_so() -> None:
    assert word(Port(address="192.0.2.1", number=8091)) == "no such address"


def test_a_port_that_the_target_holds_itself_is_not_looked_at() -> None:
    assert word(Port(address=LOOPBACK, number=free_port(), is_held=True)) == "its own"


async def test_each_thing_has_its_word(looks: HostLooks, tmp_path: Path) -> None:
    things: dict[str, Thing] = {"mount": Place(path=str(tmp_path)), "port": Port(address=LOOPBACK, number=free_port())}

    assert await looks.words("general", things) == {"mount": "there", "port": "free"}
    assert await looks.words("general", {}) == {}


async def test_a_look_that_hangs_is_told_the_same_every_time_and_holds_up_no_other_target(looks: HostLooks) -> None:
    hangs = threading.Event()
    thing = {"file": Place(path="/")}
    with pytest.raises(TimeoutError):
        await looks.do("general", hangs.wait)

    words = [await looks.words("general", thing), await looks.words("general", thing)]
    async with asyncio.timeout(LIMIT_S):
        others = await looks.words("planner", thing)
    hangs.set()

    assert words == 2 * [{"file": "no answer"}]
    assert others == {"file": "there"}
    assert await looks.words("general", thing) == others


async def test_that_we_have_no_file_handles_left_says_nothing_about_a_port(looks: HostLooks) -> None:
    thing: dict[str, Thing] = {"port": Port(address=LOOPBACK, number=free_port())}
    await looks.words("general", thing)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))

    try:
        with pytest.raises(EngineUnreachable, match="general"):
            await looks.words("general", thing)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (["-m", "/models/a.gguf"], ["/models/a.gguf"]),
        (["--model=/models/a b.gguf"], ["/models/a b.gguf", "/models/a"]),
        (["--lora", "/a.gguf,/b.gguf"], ["/a.gguf,/b.gguf", "/a.gguf", "/b.gguf"]),
        (["-c", "exec llama-server -m '/models/a.gguf' --port 80"], ["/models/a.gguf"]),
        (["-m", "a.gguf"], ["/srv/a.gguf"]),
        (["-m", "../models/a.gguf"], ["/models/a.gguf"]),
        (["--config=etc/a.json"], ["/srv/etc/a.json"]),
        (["--port", "80", "--host", "127.0.0.1", "-np", "1", "--temp", "0.8", "-v"], []),
        (["--api-key", "/hush", "--x=y"], []),
    ],
)
def test_files_are_found_in_a_command_line_however_they_are_given(arguments: list[str], paths: list[str]) -> None:
    assert paths_named(arguments, directory="/srv") == paths


@pytest.mark.parametrize(
    ("arguments", "port"),
    [
        (["--port", "8091"], Port(address=LOOPBACK, number=8091)),
        (["--port=1", "--port", "2", "--host=0.0.0.0"], Port(address="0.0.0.0", number=2)),
        (["--host", "localhost", "--port", "1"], Port(address=LOOPBACK, number=1)),
        (["--host", "::1", "--port", "1"], Port(address="::1", number=1)),
        (["--host", "/run/server.sock", "--port", "1"], None),
        (["--port", "0"], None),
        (["--port", "99999"], None),
        (["--port"], None),
        ([], None),
    ],
)
def test_a_port_is_found_in_a_command_line(arguments: list[str], port: Port | None) -> None:
    assert port_asked(arguments, is_held=False) == port
