"""What only our own processes can do: leave families behind, fill their logs, and fail to run in many ways."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from supervisor.core.observations import Life
from supervisor.engines.process import ProcessEngine, Program
from supervisor.errors import EngineRefused, EngineUnreachable
from tests.engines.bench import OBEYS, ProcessBench, become, ended, gone, is_alive, start, ups, watching

NAME = "target-0"

FAMILY = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print("child", child.pid, flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
while True:
    time.sleep(3600)
"""

SLOW_GRANDCHILD = """
import signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", '''
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), print("goodbye", flush=True), sys.exit(0)))
print("up", flush=True)
time.sleep(3600)
'''])
time.sleep(3600)
"""

TALKS = """
import itertools, os, time
for number in itertools.count():
    os.write(1, b"line %d\\n" % number)
    time.sleep(0.0005)
"""


# Its first thread ends at once and the kernel shows a zombie, while another has something left to do.
OUTLIVED_BY_A_THREAD = """
import ctypes, os, signal, threading, time
SYS_EXIT = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
told = threading.Event()
def end():
    told.wait()
    time.sleep(0.5)
    os._exit(0)
threading.Thread(target=end).start()
def leave(*_):
    told.set()
    ctypes.CDLL(None).syscall(SYS_EXIT, 0)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
while True:
    time.sleep(3600)
"""


async def child_of(programs: ProcessBench, name: str) -> int:
    words = (await programs.engine.log_tail(name, max_bytes=1000)).split()
    return int(words[words.index("child") + 1])


async def test_a_stop_is_over_once_the_engine_sees_its_end_and_not_while_a_thread_still_ends(
    programs: ProcessBench,
) -> None:
    """Else the next inspection says that it runs, and what an operator stopped is taken for started again."""
    name = programs.make(OUTLIVED_BY_A_THREAD)
    await start(programs, name)

    await programs.engine.stop(name, grace_s=5)

    seen = await programs.engine.inspect(name)
    assert (seen.life, seen.exit_code) == (Life.EXITED, 0)


async def test_a_stop_takes_the_whole_family(programs: ProcessBench) -> None:
    name = programs.make(FAMILY)
    await start(programs, name)
    child = await child_of(programs, name)

    await programs.engine.stop(name, grace_s=5)

    assert not is_alive(child)


async def test_the_family_of_a_crashed_program_goes_with_it(programs: ProcessBench) -> None:
    name = programs.make(FAMILY)
    await start(programs, name)
    child = await child_of(programs, name)

    await programs.signal(name, signal.SIGKILL)

    await ended(programs, name)
    await gone(child)


async def test_a_grandchild_has_its_grace_although_its_parent_goes_at_once(programs: ProcessBench) -> None:
    name = programs.make(SLOW_GRANDCHILD)
    await start(programs, name)

    await programs.engine.stop(name, grace_s=10)

    assert "goodbye" in await programs.engine.log_tail(name, max_bytes=1000)


async def test_the_cpu_time_of_the_family_counts(programs: ProcessBench) -> None:
    burn = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    name = programs.make(burn)
    await programs.engine.start(name)

    async def has_burned() -> bool:
        return (await programs.engine.cpu_s(name) or 0.0) > 0.3

    assert await become(f"the family of {name} burns", has_burned)


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGSEGV, "killed by SIGSEGV"), (signal.SIGRTMIN + 3, f"signal {signal.SIGRTMIN + 3}")]
)
async def test_a_deadly_signal_is_told_by_its_name(programs: ProcessBench, number: int, words: str) -> None:
    name = programs.make(f"import os; os.kill(os.getpid(), {number:d})")

    await programs.engine.start(name)

    seen = await ended(programs, name)
    assert seen.exit_code == 128 + number
    assert words in seen.detail


async def test_a_person_who_kills_a_program_past_us_has_crashed_it(programs: ProcessBench) -> None:
    name = programs.make(OBEYS)
    await start(programs, name)

    await programs.signal(name, signal.SIGTERM)

    assert not (await ended(programs, name)).stopped_by_operator


async def test_an_ended_program_leaves_no_zombie(programs: ProcessBench) -> None:
    name = programs.make("pass")
    await programs.engine.start(name)
    pid = (await programs.engine.inspect(name)).pid

    await ended(programs, name)

    assert pid not in [child.pid for child in psutil.Process().children()]


async def test_a_death_is_told_where_the_kernel_has_no_pidfds(
    programs: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_such_call(_pid: int, _flags: int = 0) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", no_such_call)
    name = programs.make(OBEYS)
    async with watching(programs.engine) as changes:
        await start(programs, name)

        await programs.signal(name, signal.SIGKILL)

        assert await changes.wait_for(name, "die")


async def test_the_log_is_rotated_under_a_program_that_goes_on_writing(tmp_path: Path) -> None:
    bench = ProcessBench(tmp_path, log_max_bytes=4096, log_backups=2)
    name = bench.make(TALKS)
    logs = tmp_path / "process"
    try:
        async with watching(bench.engine):
            await bench.engine.start(name)

            async def is_rotated() -> bool:
                return (logs / f"{name}.log.2").exists()

            await become("the log was rotated twice", is_rotated)
            before = await bench.engine.inspect(name)
            assert before.life is Life.RUNNING
            tail = await bench.engine.log_tail(name, max_bytes=200)
        numbers = [int(line.removeprefix("line ")) for line in tail.splitlines()[1:]]
        assert len(numbers) > 10
        assert numbers == sorted(set(numbers))
        sizes = [(logs / f"{name}.log.{backup}").stat().st_size for backup in (1, 2)]
        assert max(sizes) <= 2 * 4096
    finally:
        await bench.close()


async def test_a_log_goes_on_where_the_last_life_ended(programs: ProcessBench) -> None:
    name = programs.make(OBEYS)
    await start(programs, name)

    await programs.engine.restart(name, grace_s=5)

    await ups(programs, name, 2)
    assert await programs.engine.log_tail(name, max_bytes=100) == "up\nup\n"


@pytest.mark.parametrize(
    ("ours", "its_own", "seconds"),
    [
        pytest.param(None, "300", 300.0, id="its own"),
        pytest.param("300", None, 300.0, id="inherited"),
        pytest.param("60", "300", 300.0, id="its own over ours"),
        pytest.param("60", "-1", None, id="its own that says never"),
        pytest.param(None, None, None, id="nobody's"),
    ],
)
async def test_a_variable_that_tells_a_program_to_sleep_is_read_as_it_would_get_it(
    programs: ProcessBench,
    monkeypatch: pytest.MonkeyPatch,
    ours: str | None,
    its_own: str | None,
    seconds: float | None,
) -> None:
    variable = "LLAMA_ARG_SLEEP_IDLE_SECONDS"
    monkeypatch.delenv(variable, raising=False)
    if ours is not None:
        monkeypatch.setenv(variable, ours)
    environment = {} if its_own is None else {variable: its_own}
    name = programs.make("")
    programs.programs[name] = Program(command=("llama-server",), environment=environment)

    seen = await programs.engine.inspect(name)

    assert seen.sleep_idle_s == seconds


async def test_a_program_has_its_own_environment_over_ours_and_none_of_our_secrets(
    programs: ProcessBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCHAI_SUPERVISOR_HTTP__TOKEN", "secret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/ours")
    monkeypatch.setenv("INHERITED", "ours")
    monkeypatch.setenv("OVERRIDDEN", "ours")
    name = programs.make("")
    code = "import json, os; print(json.dumps([dict(os.environ), os.getcwd()]))"
    programs.programs[name] = Program(
        command=(sys.executable, "-c", code), environment={"OVERRIDDEN": "its own"}, cwd=tmp_path
    )

    await programs.engine.start(name)
    await ended(programs, name)

    environment, directory = json.loads(await programs.engine.log_tail(name, max_bytes=100_000))
    assert (environment["INHERITED"], environment["OVERRIDDEN"]) == ("ours", "its own")
    assert not {"BENCHAI_SUPERVISOR_HTTP__TOKEN", "NOTIFY_SOCKET"} & environment.keys()
    assert directory == str(tmp_path)


@pytest.mark.parametrize(
    ("program", "cure"),
    [
        pytest.param(Program(command=("no-such-program",)), "install it, or give its full path", id="missing"),
        pytest.param(Program(command=(__file__,)), r"executable \(chmod \+x\)", id="not executable"),
        pytest.param(
            Program(command=("/bin/true",), cwd=Path("/no/such/directory")),
            "working directory /no/such/directory does not exist",
            id="no directory",
        ),
    ],
)
async def test_a_program_that_cannot_run_is_refused_and_the_cure_is_named(
    programs: ProcessBench, program: Program, cure: str
) -> None:
    programs.programs["broken"] = program

    with pytest.raises(EngineRefused, match=rf"did not start broken: .*{cure}"):
        await programs.engine.start("broken")

    assert (await programs.engine.inspect("broken")).detail


async def test_a_command_line_in_place_of_a_program_is_refused_without_its_secrets(programs: ProcessBench) -> None:
    programs.programs["broken"] = Program(command=("llama-server --api-key hush", "--port", "80"))

    with pytest.raises(EngineRefused, match=r"'llama-server --api-key \*\*\*'.*; install it") as raised:
        await programs.engine.start("broken")

    assert "hush" not in str(raised.value) + (await programs.engine.inspect("broken")).detail


async def test_a_log_on_a_disk_that_hangs_holds_up_nobody(programs: ProcessBench, tmp_path: Path) -> None:
    name = programs.make(OBEYS)
    (tmp_path / "process").mkdir()
    pipe = tmp_path / "process" / f"{name}.log"
    os.mkfifo(pipe)  # opening it waits for a writer, as a file does on a share that is gone
    reading = asyncio.create_task(programs.engine.log_tail(name, max_bytes=1000))
    began = time.monotonic()
    await asyncio.sleep(0.05)

    seen, described = await asyncio.gather(programs.engine.inspect(name), programs.engine.describe(name))
    took_s = time.monotonic() - began

    assert took_s < 1
    assert (seen.life, described.facts["state"]) == (Life.EXITED, "never started")
    with pytest.raises(EngineUnreachable, match="its disk does not answer"):
        await reading
    with pipe.open("wb"):  # and the thread may go
        pass


async def test_a_program_that_could_not_run_runs_once_it_can(programs: ProcessBench) -> None:
    programs.programs[NAME] = Program(command=("/no/such/program",))
    with pytest.raises(EngineRefused):
        await programs.engine.start(NAME)
    programs.programs[NAME] = Program(command=(sys.executable, "-c", OBEYS))

    await programs.engine.start(NAME)

    seen = await programs.engine.inspect(NAME)
    assert (seen.life, seen.detail) == (Life.RUNNING, "")


async def test_a_state_directory_that_cannot_be_written_is_an_error_of_ours_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "process").write_text("in the way")
    engine = ProcessEngine(
        programs={NAME: Program(command=("/bin/true",))},
        state_dir=tmp_path,
        log_max_bytes=1000,
        log_backups=1,
        stop_on_exit=True,
    )

    with pytest.raises(EngineRefused, match=f"did not start {NAME}"):
        await engine.start(NAME)

    await engine.close()


async def test_a_program_that_is_let_go_runs_on_and_is_taken_back_as_it_runs(programs: ProcessBench) -> None:
    name = programs.make(OBEYS)
    await start(programs, name)
    before = await programs.engine.inspect(name)
    program = programs.programs[name]

    programs.engine.settle({})
    programs.engine.forget(name)
    without = await programs.engine.inspect(name)
    programs.engine.settle({name: program})
    after = await programs.engine.inspect(name)

    assert without.life is Life.MISSING
    assert (after.life, after.pid, after.instance) == (Life.RUNNING, before.pid, before.instance)


async def test_what_is_let_go_and_ends_leaves_nothing_behind(programs: ProcessBench) -> None:
    name = programs.make(OBEYS)
    await start(programs, name)
    seen = await programs.engine.inspect(name)
    programs.engine.settle({})
    programs.engine.forget(name)
    assert seen.pid is not None

    os.kill(seen.pid, signal.SIGKILL)

    async def is_forgotten() -> bool:
        return not programs.engine._children and not programs.engine._pidfds

    assert await become(f"{name} is buried", is_forgotten)
    assert not psutil.pid_exists(seen.pid)


async def test_another_command_holds_from_the_next_start(programs: ProcessBench) -> None:
    name = programs.make(OBEYS)
    await start(programs, name)
    before = await programs.engine.inspect(name)
    await programs.engine.log_tail(name, max_bytes=1000)

    programs.engine.settle({name: Program(command=(sys.executable, "-c", f"print('anew', flush=True)\n{OBEYS}"))})
    during = await programs.engine.inspect(name)
    await programs.engine.restart(name, grace_s=5)

    async def says_so() -> bool:
        return "anew" in await programs.engine.log_tail(name, max_bytes=1000)

    assert during.pid == before.pid
    assert await become(f"{name} runs by its new command", says_so)


async def test_what_is_in_the_midst_of_something_may_keep_its_command(programs: ProcessBench) -> None:
    name = programs.make(OBEYS)

    programs.engine.settle({}, keep={name})
    await programs.engine.start(name)
    programs.engine.settle({})

    assert (await programs.engine.inspect(name)).life is Life.MISSING
