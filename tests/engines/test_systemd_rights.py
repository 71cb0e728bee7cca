"""What the supervisor's own user may do by the polkit rule that we ship: to the named unit, and nothing else."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from supervisor.core.observations import Life
from supervisor.errors import EngineRefused
from testbed.systemd_host import USER
from tests.engines.bench import IGNORES, OBEYS, start
from tests.engines.systemd_bench import SystemdBench

UNIT = "benchai.service"  # of the rule
NOBODY = 65534


async def acted(units: SystemdBench, uid: int, verb: str, unit: str) -> dict[str, Any]:
    """Return what came of it when that user did it."""
    command = [sys.executable, "-m", "tests.engines.as_user", str(units.host.pid), str(uid), verb, unit]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def uid(units: SystemdBench) -> int:
    return units.host.uid(USER)


@pytest.fixture
def unit(units: SystemdBench) -> str:
    """The unit that the rule names; it does not obey, so that stopping it takes a kill too."""
    return units.make(IGNORES, name=UNIT)


async def test_its_own_user_may_start_restart_stop_and_kill_the_unit(units: SystemdBench, uid: int, unit: str) -> None:
    outcomes, lives = [], []
    for verb in ("start", "restart", "stop"):
        outcomes.append(await acted(units, uid, verb, unit))
        lives.append((await units.engine.inspect(unit)).life)

    assert outcomes == 3 * [{}]
    assert lives == [Life.RUNNING, Life.RUNNING, Life.EXITED]


async def test_its_own_user_may_do_nothing_to_any_other_unit_and_hears_the_cure(units: SystemdBench, uid: int) -> None:
    other = units.make(OBEYS)
    await start(units, other)
    before = await units.engine.inspect(other)

    outcomes = [await acted(units, uid, verb, other) for verb in ("restart", "stop")]

    assert {outcome["error"] for outcome in outcomes} == {EngineRefused.__name__}
    assert all("packaging/polkit/50-benchai-supervisor.rules" in outcome["words"] for outcome in outcomes)
    assert await acted(units, uid, "inspect", other) == {"life": "running"}
    assert (await units.engine.inspect(other)).instance == before.instance


async def test_another_user_may_do_nothing_to_the_unit(units: SystemdBench, unit: str) -> None:
    await start(units, unit)
    before = await units.engine.inspect(unit)

    outcome = await acted(units, NOBODY, "restart", unit)

    assert outcome["error"] == EngineRefused.__name__
    assert (await units.engine.inspect(unit)).instance == before.instance


@pytest.mark.parametrize(
    "call",
    [
        ("Reload",),
        ("SetUnitProperties", "sba(sv)", UNIT, "true", "1", "CPUWeight", "t", "1"),
        ("MaskUnitFiles", "asbb", "1", UNIT, "true", "true"),
        ("FreezeUnit", "s", UNIT),
        ("StartTransientUnit", "ssa(sv)a(sa(sv))", "own.service", "fail", "0", "0"),
        ("PowerOff",),
    ],
    ids=lambda call: call[0],
)
async def test_the_rule_allows_nothing_that_is_not_named_in_it(
    units: SystemdBench, unit: str, call: tuple[str, ...]
) -> None:
    await start(units, unit)
    manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    command = ("runuser", "-u", USER, "--", "busctl", "call", *manager, *call)

    with pytest.raises(RuntimeError, match=r"(?i)access denied|authentication required|authorization"):
        await asyncio.to_thread(units.host.run, *command)

    assert (await units.engine.inspect(unit)).life is Life.RUNNING


async def test_a_journal_that_we_may_not_read_is_told_with_the_cure(units: SystemdBench) -> None:
    reader = (*units.host.journalctl[:-1], "runuser", "-u", USER, "--", "journalctl")
    bench = SystemdBench(units.host, journalctl=reader)
    name = units.make(OBEYS)
    await start(units, name)

    try:
        with pytest.raises(EngineRefused, match=f"cannot read the journal of {name}: .*group systemd-journal"):
            await bench.engine.log_tail(name, max_bytes=100)
    finally:
        await bench.close()


async def test_where_there_is_no_journalctl_that_is_said(units: SystemdBench) -> None:
    bench = SystemdBench(units.host, journalctl=("/no/such/journalctl",))
    name = units.make(OBEYS)

    try:
        with pytest.raises(EngineRefused, match=f"cannot read the journal of {name}: .*is journalctl installed"):
            await bench.engine.log_tail(name, max_bytes=100)
    finally:
        await bench.close()
