"""What a program of ours is run from: on real files, ports and processes."""

import asyncio
import socket
import sys
import threading
from pathlib import Path

from supervisor.engines.process import Program
from testbed.clients import LOOPBACK, free_port
from tests.engines.bench import OBEYS, ProcessBench, start, steady


async def test_a_program_depends_on_itself_its_directory_its_files_and_its_port(
    programs: ProcessBench, tmp_path: Path
) -> None:
    port = free_port()
    command = ("llama-server", "-m", "late.gguf", "--port", str(port))
    name = programs.add(Program(command=command, environment={"PATH": str(tmp_path)}, cwd=tmp_path / "models"))
    with socket.create_server((LOOPBACK, port)):
        nothing = await steady(programs, name)
    directory, model, program = tmp_path / "models", tmp_path / "models" / "late.gguf", tmp_path / "llama-server"
    directory.mkdir()
    model.touch()
    program.touch()
    no_program = await steady(programs, name)
    program.chmod(0o755)

    everything = await steady(programs, name)

    assert nothing == {
        "program": "missing",
        f"directory {directory}": "missing",
        f"port {port}": "taken",
        str(model): "missing",
    }
    assert (no_program["program"], no_program[f"directory {directory}"]) == ("missing", "there")
    assert everything["program"].startswith(f"{program}, 0 bytes, ")
    assert everything[str(model)].startswith("0 bytes, ")
    assert everything[f"port {port}"] == "free"


async def test_a_program_that_runs_holds_its_port(programs: ProcessBench) -> None:
    port = free_port()
    name = programs.add(Program(command=(sys.executable, "-c", OBEYS, "--port", str(port))))
    await start(programs, name)

    told = await steady(programs, name)

    assert told[f"port {port}"] == "its own"
    assert told["program"].startswith(f"{sys.executable}, ")


async def test_a_file_on_a_share_that_hangs_holds_up_nothing_else(programs: ProcessBench) -> None:
    name, other = programs.make(OBEYS), programs.make(OBEYS)
    await start(programs, name)
    hangs = threading.Event()
    stuck = asyncio.create_task(programs.engine._host_looks.do(name, hangs.wait))
    await asyncio.sleep(0.05)

    told, described = await asyncio.gather(programs.engine.circumstances(name), programs.engine.describe(name))
    others = await programs.engine.circumstances(other)

    hangs.set()
    await asyncio.gather(stuck, return_exceptions=True)
    assert set(told.values()) == {"no answer"}
    assert (described.facts["state"], described.processes) == ("running", ())
    assert "no answer" not in others.values()
