"""Units on a real systemd: who ended them, what systemd does by itself, and what it refuses."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from supervisor.core.observations import EngineSeen, Life
from supervisor.errors import EngineRefused, EngineUnreachable
from tests.engines.bench import CRASHES, EXITS, IGNORES, OBEYS, become, ended, start, ups, watching
from tests.engines.systemd_bench import SystemdBench

DIES_BADLY = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
DIES_BADLY += "print('up', flush=True)\nwhile True: time.sleep(3600)"
ENDS_WELL = "print('up', flush=True)"
NOTIFIES = "import os, socket, time\ntime.sleep({after_s})\n"
NOTIFIES += "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n"
NOTIFIES += "print('up', flush=True)\ntime.sleep(3600)"


async def be(units: SystemdBench, name: str, life: Life) -> EngineSeen:
    """Wait until a unit is so."""

    async def find() -> EngineSeen | None:
        seen = await units.engine.inspect(name)
        return seen if seen.life is life else None

    seen: EngineSeen = await become(f"{name} is {life}", find)
    return seen


@pytest.mark.parametrize("code", [OBEYS, DIES_BADLY, IGNORES], ids=["in-good-order", "badly", "by-force"])
async def test_a_stop_by_hand_is_an_operators_however_the_server_takes_it(units: SystemdBench, code: str) -> None:
    name = units.make(code, TimeoutStopSec="500ms")
    await start(units, name)
    before = await units.engine.inspect(name)

    await units.systemctl("stop", name)

    seen = await units.engine.inspect(name)
    assert (seen.life, seen.stopped_by_operator, seen.instance) == (Life.EXITED, True, before.instance)


async def test_a_stop_by_hand_is_seen_while_it_is_under_way(units: SystemdBench) -> None:
    name = units.make(IGNORES, TimeoutStopSec="1s")
    await start(units, name)
    await units.systemctl("stop", "--no-block", name)

    async def is_leaving() -> bool:
        return (await units.engine.inspect(name)).stopped_by_operator

    await become(f"{name} is told to go", is_leaving)
    assert (await units.engine.inspect(name)).life is Life.RUNNING


async def test_an_end_in_good_order_by_itself_is_nobodys_wish(units: SystemdBench) -> None:
    name = units.make(ENDS_WELL)
    await units.engine.start(name)

    seen = await ended(units, name)

    assert (seen.exit_code, seen.stopped_by_operator) == (0, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_signal_past_systemd_is_a_crash(units: SystemdBench, number: signal.Signals) -> None:
    name = units.make(OBEYS)
    await start(units, name)

    await units.signal(name, number)

    assert not (await ended(units, name)).stopped_by_operator


async def test_a_restart_by_hand_is_a_new_life_and_no_stop(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    before = await units.engine.inspect(name)

    await units.systemctl("restart", name)

    after = await units.engine.inspect(name)
    assert (after.life, after.stopped_by_operator) == (Life.RUNNING, False)
    assert after.instance != before.instance


async def test_a_stop_while_nobody_looked_is_still_an_operators(units: SystemdBench) -> None:
    stopped, crashed = units.make(DIES_BADLY), units.make(EXITS)
    await start(units, stopped)
    await units.systemctl("stop", stopped)
    await units.engine.start(crashed)
    await ended(units, crashed)

    later = SystemdBench(units.host)

    try:
        assert (await later.engine.inspect(stopped)).stopped_by_operator
        assert not (await later.engine.inspect(crashed)).stopped_by_operator
    finally:
        await later.close()


async def test_what_systemd_has_forgotten_while_nobody_looked_is_left_to_whoever_will_start_it(
    units: SystemdBench,
) -> None:
    name = units.make(OBEYS)
    await units.systemctl("start", name)
    await units.systemctl("stop", name)

    assert await units.engine.inspect(name) == EngineSeen(life=Life.CREATED)


async def test_our_own_stop_is_ours_for_a_later_daemon_too(units: SystemdBench) -> None:
    name = units.make(DIES_BADLY)
    await start(units, name)
    await units.engine.stop(name, grace_s=5)
    later = SystemdBench(units.host)
    later.engine.mark_ours(name, over_at=time.time())

    try:
        assert not (await later.engine.inspect(name)).stopped_by_operator
    finally:
        await later.close()


async def test_a_restart_of_systemds_own_is_told_and_ends_in_a_new_life(units: SystemdBench) -> None:
    name = units.make(OBEYS, Restart="on-failure", RestartSec="1s")
    await start(units, name)
    before = await units.engine.inspect(name)
    await units.signal(name, signal.SIGKILL)

    waiting = await be(units, name, Life.RESTARTING)

    await ups(units, name, 2)
    after = await units.engine.inspect(name)
    assert (before.restart_policy, waiting.instance, waiting.exit_code) == ("on-failure", before.instance, 137)
    assert not waiting.stopped_by_operator
    assert (after.life, after.instance == before.instance) == (Life.RUNNING, False)


async def test_a_stop_by_hand_between_two_restarts_of_systemds_own_is_an_operators(units: SystemdBench) -> None:
    name = units.make(EXITS, Restart="always", RestartSec="30s")
    await units.engine.start(name)
    waiting = await be(units, name, Life.RESTARTING)

    await units.systemctl("stop", name)

    seen = await units.engine.inspect(name)
    assert (seen.life, seen.instance, seen.stopped_by_operator) == (Life.EXITED, waiting.instance, True)


async def test_a_unit_that_systemd_gives_up_restarting_has_crashed(units: SystemdBench) -> None:
    name = units.make(EXITS, Restart="always", RestartSec="50ms")
    await units.engine.start(name)

    async def has_given_up() -> bool:
        return (await units.engine.inspect(name)).life is Life.EXITED

    await become(f"{name} is given up", has_given_up)
    seen = await units.engine.inspect(name)
    assert (seen.exit_code, seen.stopped_by_operator) == (3, False)
    assert "systemd starts it no more: 5 times in 10s" in seen.detail


async def test_what_was_killed_for_want_of_memory_is_told_so(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    # As systemd-oomd leaves its mark before it kills; here no control group limits memory.
    group = units.host.root / "sys/fs/cgroup/system.slice" / name
    for mark in ("user.oomd_ooms", "user.oomd_kill"):
        os.setxattr(group, mark, b"1")

    await units.signal(name, signal.SIGKILL)

    seen = await ended(units, name)
    assert (seen.oom_killed, seen.exit_code, seen.stopped_by_operator) == (True, 137, False)


async def test_a_server_whose_watchdog_bites_was_ended_by_systemd(units: SystemdBench) -> None:
    name = units.make(NOTIFIES.format(after_s=0), Type="notify", WatchdogSec="300ms")
    await start(units, name)

    seen = await ended(units, name)

    assert (seen.exit_code, seen.stopped_by_operator) == (134, False)
    assert seen.detail == "systemd ended it: no watchdog ping within 0.3s"


async def test_a_server_that_is_not_ready_in_time_was_ended_by_systemd(units: SystemdBench) -> None:
    name = units.make(NOTIFIES.format(after_s=60), Type="notify", TimeoutStartSec="500ms")

    with pytest.raises(EngineRefused, match=f"{name}: systemd ended it: not ready within its TimeoutStartSec"):
        await units.engine.start(name)

    assert not (await units.engine.inspect(name)).stopped_by_operator


async def test_a_server_that_loads_for_long_is_not_waited_for(units: SystemdBench) -> None:
    patient = SystemdBench(units.host, timeout_s=1.0)
    name = units.make(NOTIFIES.format(after_s=4), Type="notify")
    try:
        await patient.engine.start(name)
        loading = await patient.engine.inspect(name)
        await patient.engine.restart(name, grace_s=1)
        again = await patient.engine.inspect(name)
    finally:
        await patient.close()

    assert (loading.life, again.life) == (Life.RUNNING, Life.RUNNING)
    assert loading.pid
    assert again.instance not in (None, loading.instance)


async def test_a_main_process_that_comes_up_keeps_its_instance_when_it_is_ready(units: SystemdBench) -> None:
    name = units.make(NOTIFIES.format(after_s=0.5), Type="notify")
    starting = asyncio.create_task(units.engine.start(name))
    loading = await be(units, name, Life.RUNNING)

    await starting
    await units.systemctl("daemon-reload")

    ready = await units.engine.inspect(name)
    assert loading.instance == ready.instance


async def test_a_frozen_unit_is_paused_by_somebody_and_goes_on_when_started(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    before = await units.engine.inspect(name)
    await units.systemctl("freeze", name)
    frozen = await units.engine.inspect(name)

    await units.engine.start(name)

    after = await units.engine.inspect(name)
    assert (frozen.life, frozen.stopped_by_operator) == (Life.PAUSED, True)
    assert (after.life, after.instance) == (Life.RUNNING, before.instance)


async def test_a_frozen_unit_can_be_restarted(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    await units.systemctl("freeze", name)

    await units.engine.restart(name, grace_s=1)

    await ups(units, name, 2)


async def test_what_hangs_after_its_main_process_is_killed_as_well(units: SystemdBench) -> None:
    name = units.make(OBEYS, ExecStopPost="/bin/sleep 3600")
    await start(units, name)
    began = time.monotonic()

    await units.engine.stop(name, grace_s=0.5)

    assert time.monotonic() - began < 4
    assert (await units.engine.inspect(name)).life is Life.EXITED


async def test_a_crash_during_its_start_by_an_operators_restart_is_a_crash(units: SystemdBench, tmp_path: Path) -> None:
    name = units.make(f"import os, signal, sys\nif os.path.exists('/run/{tmp_path.name}'): sys.exit(5)\n{OBEYS}")
    await start(units, name)
    (units.host.root / "run" / tmp_path.name).touch()

    await units.systemctl("restart", name)

    seen = await ended(units, name)
    assert (seen.exit_code, seen.stopped_by_operator) == (5, False)


async def test_changes_are_told_in_systemds_words(units: SystemdBench) -> None:
    name = units.make(OBEYS, Restart="on-failure", RestartSec="200ms")
    async with watching(units.engine) as changes:
        await units.engine.start(name)
        await changes.wait_for(name, "start (running)")
        await units.signal(name, signal.SIGKILL)
        await changes.wait_for(name, "die (auto-restart)")
        await units.systemctl("daemon-reload")

        assert (await changes.wait_for(None, "reloaded")).name is None


async def test_looking_at_a_unit_that_systemd_puts_away_each_time_is_no_change(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    async with watching(units.engine) as changes:
        for _ in range(5):
            await units.systemctl("show", name)
            await units.engine.circumstances(name)

        await asyncio.sleep(0.3)

        assert [change for change in changes.seen if change.name == name] == []


async def test_two_acts_on_two_units_run_side_by_side(units: SystemdBench) -> None:
    names = [units.make(IGNORES), units.make(IGNORES)]
    for name in names:
        await start(units, name)
    began = time.monotonic()

    await asyncio.gather(*(units.engine.restart(name, grace_s=2) for name in names))

    assert time.monotonic() - began < 3.5


async def test_an_act_under_way_is_not_waited_for_at_the_end(units: SystemdBench) -> None:
    name = units.make(IGNORES)
    await start(units, name)
    stop = asyncio.create_task(units.engine.stop(name, grace_s=30))
    await asyncio.sleep(0.2)
    began = time.monotonic()

    await units.engine.close()

    assert time.monotonic() - began < 1
    with pytest.raises((asyncio.CancelledError, EngineUnreachable)):
        await stop


async def test_a_crash_by_its_own_fault_is_told_by_its_signal(units: SystemdBench) -> None:
    name = units.make(CRASHES)
    await units.engine.start(name)

    told = await units.engine.describe(name)

    await ended(units, name)
    told = await units.engine.describe(name)
    assert told.facts["result"] in ("core-dump", "signal")
    assert told.facts["exit_code"] == 139


async def test_what_a_unit_burns_and_what_runs_in_it_is_that_of_all_its_processes(units: SystemdBench) -> None:
    child = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
    name = units.make(child + OBEYS)
    await start(units, name)

    async def burns() -> bool:
        return (await units.engine.cpu_s(name) or 0.0) > 0.3

    await become(f"{name} burns CPU", burns)
    assert len((await units.engine.describe(name)).processes) == 2
