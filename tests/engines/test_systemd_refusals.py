"""What systemd refuses to start, and why, in words that say what to do; and what becomes of a unit without its file."""

import asyncio

import pytest

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.diagnose import diagnose, refused
from supervisor.core.observations import Life
from supervisor.core.verdict import Judgement, Verdict
from supervisor.engines.systemd_bus import BUS, refusal
from supervisor.errors import EngineRefused
from tests.engines.bench import OBEYS, become, ended, start
from tests.engines.systemd_bench import SystemdBench

DOWN = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited")


def refused_in(words: str) -> Diagnosis:
    told = refused(words)
    assert told is not None
    return told


async def test_what_runs_before_the_main_process_is_told_where_it_fails(units: SystemdBench) -> None:
    name = units.make(OBEYS, ExecStartPre="/bin/sh -c 'exit 7'")

    with pytest.raises(EngineRefused, match=rf"{name}: what runs before it failed: /bin/sh \(7\)"):
        await units.engine.start(name)

    seen = await units.engine.inspect(name)
    assert (seen.life, seen.exit_code, seen.stopped_by_operator) == (Life.EXITED, 7, False)


@pytest.mark.parametrize(
    ("key", "value", "word"), [("User", "nobody-has-this-name", "217/USER"), ("WorkingDirectory", "/no", "200/CHDIR")]
)
async def test_what_systemd_cannot_set_up_is_told_by_its_own_word(
    units: SystemdBench, key: str, value: str, word: str
) -> None:
    name = units.make(OBEYS, **{key: value})

    with pytest.raises(EngineRefused, match=f"{name}: systemd could not set it up: {word}"):
        await units.engine.start(name)


async def test_a_simple_unit_whose_program_is_missing_is_told_once_it_has_failed(units: SystemdBench) -> None:
    name = units.make_command("/no/such/program", Type="simple")
    await asyncio.gather(units.engine.start(name), return_exceptions=True)

    seen = await ended(units, name)

    assert (seen.exit_code, seen.stopped_by_operator) == (203, False)
    assert seen.detail.startswith("cannot execute '/no/such/program': no such file")


async def test_a_unit_whose_condition_does_not_hold_was_not_started(units: SystemdBench) -> None:
    name = units.make(OBEYS, "[Unit]", "ConditionPathExists=/no/such/path")

    with pytest.raises(EngineRefused, match=f"{name}: a condition of the unit does not hold"):
        await units.engine.start(name)


async def test_a_unit_that_needs_one_that_failed_was_not_started(units: SystemdBench) -> None:
    needed = units.make_unstartable()
    name = units.make(OBEYS, "[Unit]", f"Requires={needed}", f"After={needed}")

    with pytest.raises(EngineRefused, match=f"{name}: a unit that it needs has failed"):
        await units.engine.start(name)


async def test_a_masked_unit_was_stopped_by_an_operator(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    units.mask(name)
    await units.systemctl("daemon-reload")

    seen = await units.engine.inspect(name)

    assert (seen.life, seen.stopped_by_operator) == (Life.EXITED, True)
    assert "systemctl unmask" in seen.detail
    with pytest.raises(EngineRefused, match="masked"):
        await units.engine.start(name)


async def test_a_unit_file_that_cannot_be_used_is_told(units: SystemdBench) -> None:
    name = units.make_command("relative/path")

    seen = await units.engine.inspect(name)

    assert (seen.life, seen.stopped_by_operator) == (Life.EXITED, False)
    assert "systemd cannot use its unit file" in seen.detail


async def test_a_unit_that_runs_on_without_its_file_is_not_missing(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)

    await asyncio.to_thread(units.forget, name)

    assert (await units.engine.inspect(name)).life is Life.RUNNING
    await units.engine.stop(name, grace_s=5)
    assert (await units.engine.inspect(name)).life is Life.MISSING


async def test_a_unit_file_that_changes_is_a_circumstance(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    before = dict(await units.engine.circumstances(name))

    path = units.host.write_unit(name, "[Service]\nExecStart=/no/such/program\n")

    changed = dict(await units.engine.circumstances(name))
    await units.systemctl("daemon-reload")
    after = dict(await units.engine.circumstances(name))
    key = f"unit file /run/systemd/system/{path.name}"
    assert before[key] != changed[key]
    assert "changed on disk" in changed["unit"]
    assert (before["program"] != "missing", after["program"], after["unit"]) == (True, "missing", "loaded")


@pytest.mark.parametrize(
    ("command", "keys", "cause", "says"),
    [
        ("/no/such/program", {}, Cause.BAD_FLAG, "its program /no/such/program cannot be run"),
        ("/bin/true", {"User": "no-such"}, Cause.BAD_FLAG, "systemd could not set it up: 217/USER"),
        ("relative/path", {}, Cause.BAD_FLAG, "systemd cannot use its unit file"),
        (
            "/bin/true",
            {"ExecStartPre": "/bin/false"},
            Cause.UNKNOWN,
            "what its unit runs before it failed: /bin/false (1)",
        ),
        ("/bin/sh -c 'kill -SEGV $$$$'", {}, Cause.CRASHED, "exited with SIGSEGV (139)"),
        ("/bin/sh -c 'kill -KILL $$$$'", {}, Cause.KILLED_FROM_OUTSIDE, "ended by SIGKILL (137)"),
        (
            "/bin/sleep 60",
            {"Type": "notify", "TimeoutStartSec": "300ms"},
            Cause.NEVER_READY,
            "not ready within the 0.3s that systemd gives it",
        ),
    ],
)
async def test_its_cause_is_named(
    units: SystemdBench, command: str, keys: dict[str, str], cause: Cause, says: str
) -> None:
    name = units.make_command(command, **keys)
    (problem,) = await asyncio.gather(units.engine.start(name), return_exceptions=True)

    async def has_ended() -> bool:
        return (await units.engine.inspect(name)).life is Life.EXITED

    await become(f"{name} has ended", has_ended)
    seen = await units.engine.inspect(name)
    told = diagnose(judgement=DOWN, engine=seen, engine_error=str(problem or ""), log_tail="")
    later = diagnose(judgement=DOWN, engine=seen, engine_error="", log_tail="")

    assert (told.cause, told.helps_restart) == (cause, cause is not Cause.BAD_FLAG)
    assert told.says.startswith(says)
    assert later == told  # systemd keeps its words


def test_a_bus_that_is_not_there_and_a_right_that_we_lack_are_told_with_their_cure() -> None:
    lost = refused_in("systemd did not inspect x.service: no answer at unix:path=/run/x: there is no such socket")
    denied = refused_in(str(refusal(f"{BUS}.Error.AccessDenied", "Access denied", what="restart x.service")))

    assert (lost.cause, lost.helps_restart, "docker" in lost.cure) == (Cause.ENGINE_LOST, False, False)
    assert (denied.says, denied.helps_restart) == ("systemd does not let us", False)
    assert "polkit rule" in denied.cure
