"""Programs outlive the daemon that started them, and the next one finds them again: them, and never a stranger."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.core.observations import EngineSeen, Life
from tests.engines.bench import IGNORES, OBEYS, ProcessBench, ended, gone, is_alive, start, watching

# A daemon that starts one program, says what it has started, and is killed.
FIRST_DAEMON = """
import asyncio, json, os, signal, sys
from pathlib import Path
from supervisor.engines.process import ProcessEngine, Program

async def main():
    engine = ProcessEngine(
        programs={"target-0": Program(command=(sys.executable, "-c", sys.argv[2]))},
        state_dir=Path(sys.argv[1]), log_max_bytes=1000000, log_backups=1, stop_on_exit=False,
    )
    await engine.start("target-0")
    seen = await engine.inspect("target-0")
    print(json.dumps([seen.pid, seen.instance]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def survivor(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A program whose daemon was killed: its pid and its instance."""
    command = [sys.executable, "-c", FIRST_DAEMON, str(tmp_path), IGNORES]
    daemon = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert daemon.returncode == -signal.SIGKILL, daemon.stderr
    pid, instance = json.loads(daemon.stdout)
    yield pid, instance
    if psutil.pid_exists(pid):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group and is no business of ours."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as stranger:
        yield stranger


async def test_a_program_that_outlived_its_daemon_is_found_again(
    programs: ProcessBench, survivor: tuple[int, str]
) -> None:
    name, (pid, instance) = programs.make(IGNORES), survivor

    seen = await programs.engine.inspect(name)

    assert (seen.life, seen.pid, seen.instance) == (Life.RUNNING, pid, instance)


async def test_a_program_that_was_found_again_is_not_started_twice(
    programs: ProcessBench, survivor: tuple[int, str]
) -> None:
    name = programs.make(IGNORES)

    await programs.engine.start(name)

    assert (await programs.engine.inspect(name)).pid == survivor[0]


async def test_the_end_of_a_program_that_was_found_again_is_noticed_at_once(
    programs: ProcessBench, survivor: tuple[int, str]
) -> None:
    name = programs.make(IGNORES)
    async with watching(programs.engine) as changes:
        await programs.engine.inspect(name)

        os.kill(survivor[0], signal.SIGKILL)

        await changes.wait_for(name, "die", within_s=5)
        seen = await programs.engine.inspect(name)
    assert (seen.life, seen.exit_code) == (Life.EXITED, None)
    assert "nobody saw how it ended" in seen.detail


async def test_a_program_that_was_found_again_can_be_restarted(
    programs: ProcessBench, survivor: tuple[int, str]
) -> None:
    name = programs.make(IGNORES)

    await programs.engine.restart(name, grace_s=0)

    seen = await programs.engine.inspect(name)
    assert not is_alive(survivor[0])
    assert (seen.life, seen.pid != survivor[0]) == (Life.RUNNING, True)


async def test_a_program_that_died_while_nobody_watched_has_exited(
    programs: ProcessBench, survivor: tuple[int, str]
) -> None:
    name = programs.make(IGNORES)
    os.kill(survivor[0], signal.SIGKILL)
    await gone(survivor[0])

    seen = await programs.engine.inspect(name)

    assert (seen.life, seen.instance) == (Life.EXITED, survivor[1])


async def test_a_stranger_with_the_number_of_an_old_program_is_left_alone(
    programs: ProcessBench, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    name = programs.make(OBEYS)
    record = {"pid": stranger.pid, "born_s": 1.0, "started_at": 1795449911.5}
    (tmp_path / "process").mkdir()
    (tmp_path / "process" / f"{name}.json").write_text(json.dumps(record))

    seen = await programs.engine.inspect(name)
    await programs.engine.restart(name, grace_s=0)

    assert seen.life is Life.EXITED
    assert stranger.poll() is None


@pytest.mark.parametrize("record", ["", "{", '{"pid": 1}', "[]", '{"pid": 1, "color": "red"}'])
async def test_a_record_that_cannot_be_read_is_as_good_as_none(
    programs: ProcessBench, tmp_path: Path, record: str
) -> None:
    name = programs.make(OBEYS)
    (tmp_path / "process").mkdir()
    (tmp_path / "process" / f"{name}.json").write_text(record)

    assert await programs.engine.inspect(name) == EngineSeen(life=Life.EXITED)

    await programs.engine.start(name)
    assert (await programs.engine.inspect(name)).life is Life.RUNNING


async def test_how_a_program_ended_is_known_to_the_next_daemon(programs: ProcessBench, tmp_path: Path) -> None:
    name = programs.make("raise SystemExit(3)")
    await programs.engine.start(name)
    before = await ended(programs, name)

    later = ProcessBench(tmp_path)
    later.programs.update(programs.programs)

    assert await later.engine.inspect(name) == before
    assert before.exit_code == 3


async def test_closing_leaves_programs_running_unless_told_otherwise(tmp_path: Path) -> None:
    polite = ProcessBench(tmp_path, stop_on_exit=False)
    name = polite.make(OBEYS)
    await start(polite, name)
    pid = (await polite.engine.inspect(name)).pid
    assert pid is not None

    await polite.close()

    assert is_alive(pid)
    strict = ProcessBench(tmp_path, stop_on_exit=True)
    strict.programs.update(polite.programs)
    await strict.close()
    assert not is_alive(pid)


async def test_closing_waits_for_a_restart_that_is_under_way(tmp_path: Path) -> None:
    bench = ProcessBench(tmp_path, stop_on_exit=False)
    name = bench.make(IGNORES)
    await start(bench, name)
    before = await bench.engine.inspect(name)
    restart = asyncio.create_task(bench.engine.restart(name, grace_s=0.5))
    await asyncio.sleep(0.1)
    restart.cancel()

    await bench.close()

    after = await bench.engine.inspect(name)
    assert (after.life, after.instance == before.instance) == (Life.RUNNING, False)
    await bench.engine.stop(name, grace_s=0)
