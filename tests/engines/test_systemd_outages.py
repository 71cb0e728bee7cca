"""A system bus that goes away, comes back, hangs, or was never there; on a host that nobody else is tested on."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from supervisor.core.observations import Life
from supervisor.engines.systemd import SystemdEngine
from supervisor.errors import EngineUnreachable
from testbed.systemd_host import SystemdHost, in_container, obstacle
from tests.cannot import cannot
from tests.engines.bench import IGNORES, OBEYS, become, gone, is_alive, start, watching
from tests.engines.systemd_bench import SystemdBench

TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def fragile(engine: docker.DockerClient) -> Iterator[SystemdHost]:
    """A host whose bus may be harmed."""
    if reason := obstacle():
        cannot(f"no systemd: {reason}")
    with in_container(engine) as host:
        yield host


@pytest.fixture
async def units(fragile: SystemdHost) -> AsyncIterator[SystemdBench]:
    """A bench with little patience; the bus works again afterwards."""
    bench = SystemdBench(fragile, timeout_s=TIMEOUT_S, ping_every_s=0.3)
    yield bench
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(dbus(fragile), signal.SIGCONT)
    fragile.systemctl("start", "dbus.socket", "dbus.service")
    await bench.close()


def dbus(host: SystemdHost) -> int:
    """Return the bus daemon's number as this machine counts."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and f"NSpid:\t{entry.name}\t{_inner(host)}\n" in _status(entry):
            return int(entry.name)
    raise FileNotFoundError("there is no bus daemon")


def _inner(host: SystemdHost) -> str:
    return host.systemctl("show", "--property=MainPID", "--value", "dbus.service").strip()


def _status(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "status").read_text()
    return ""


async def stop_the_bus(units: SystemdBench) -> None:
    await units.systemctl("stop", "dbus.socket", "dbus.service")


async def start_the_bus(units: SystemdBench) -> None:
    await units.systemctl("start", "dbus.socket", "dbus.service")


async def test_a_bus_that_is_away_is_unreachable_and_one_that_is_back_answers(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    before = await units.engine.inspect(name)
    await stop_the_bus(units)

    with pytest.raises(EngineUnreachable, match=f"systemd did not inspect {name}: no answer at unix:path="):
        await units.engine.inspect(name)

    await start_the_bus(units)
    assert await become("systemd is on its bus again", lambda: instance(units, name)) == before.instance


async def instance(units: SystemdBench, name: str) -> str | None:
    """Return the instance, as soon as somebody answers."""
    with contextlib.suppress(EngineUnreachable):
        return (await units.engine.inspect(name)).instance
    return None


async def test_a_unit_that_ends_well_during_an_outage_is_left_alone(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    before = await units.engine.inspect(name)
    await stop_the_bus(units)
    await units.systemctl("stop", name)
    await start_the_bus(units)
    assert await become("systemd is on its bus again", lambda: instance(units, name)) == before.instance

    seen = await units.engine.inspect(name)

    assert (seen.life, seen.stopped_by_operator, seen.pid) == (Life.EXITED, True, None)


async def test_a_watch_goes_on_after_the_bus_was_away(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    async with watching(units.engine) as changes:
        await stop_the_bus(units)
        await asyncio.sleep(0.5)
        await start_the_bus(units)

        await changes.wait_for(None, "connected")
        await units.engine.start(name)
        await changes.wait_for(name, "start")


async def test_a_bus_that_hangs_holds_nobody_up(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    os.kill(dbus(units.host), signal.SIGSTOP)
    began = time.monotonic()

    outcomes = await asyncio.gather(
        units.engine.inspect(name),
        units.engine.cpu_s(name),
        units.engine.stop(name, grace_s=0.1),
        units.engine.describe(name),
        return_exceptions=True,
    )

    assert time.monotonic() - began < 3 * TIMEOUT_S
    assert {type(each) for each in outcomes} == {EngineUnreachable}
    assert "the system bus does" in str(outcomes[0])


async def test_a_watch_notices_that_the_bus_hangs_and_goes_on_when_it_does_no_more(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    async with watching(units.engine) as changes:
        daemon = dbus(units.host)
        os.kill(daemon, signal.SIGSTOP)
        await asyncio.sleep(0.3 + 2 * TIMEOUT_S)
        os.kill(daemon, signal.SIGCONT)

        await changes.wait_for(None, "connected")
        await units.engine.start(name)
        await changes.wait_for(name, "start")


async def test_an_act_whose_end_nobody_can_tell_any_more_is_unreachable_and_systemd_goes_on(
    units: SystemdBench,
) -> None:
    name = units.make(IGNORES, TimeoutStopSec="1s")
    await start(units, name)
    pid = (await units.engine.inspect(name)).pid
    stop = asyncio.create_task(units.engine.stop(name, grace_s=30))
    await asyncio.sleep(0.3)

    await stop_the_bus(units)

    with pytest.raises(EngineUnreachable, match="the system bus went away"):
        await stop
    await become("it has ended", lambda: has_ended(units, pid))


async def has_ended(units: SystemdBench, pid: int | None) -> bool:
    """Return whether there is no such process on the host any more."""
    return not (units.proc / str(pid)).exists()


async def test_a_systemd_that_starts_itself_anew_is_listened_to_again(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    before = await units.engine.inspect(name)
    async with watching(units.engine) as changes:
        await units.systemctl("daemon-reexec")
        assert await become("systemd is back", lambda: instance(units, name)) == before.instance

        await changes.wait_for(None)
        await units.signal(name, signal.SIGKILL)
        await changes.wait_for(name, "die")


async def test_whoever_accepts_and_says_nothing_is_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(10)
        engine = SystemdEngine(bus=f"unix:path={path}", timeout_s=0.3)
        began = time.monotonic()

        with pytest.raises(EngineUnreachable, match=r"within 0\.3s"):
            await engine.inspect("benchai.service")

        assert time.monotonic() - began < 1
        await engine.close()


@pytest.mark.parametrize(("bus", "why"), [("unix:path={}/none", "no such socket"), ("nonsense", "nonsense")])
async def test_a_bus_that_is_not_there_is_unreachable(tmp_path: Path, bus: str, why: str) -> None:
    engine = SystemdEngine(bus=bus.format(tmp_path), timeout_s=1)

    with pytest.raises(EngineUnreachable, match=why):
        await engine.inspect("benchai.service")

    await engine.close()


async def test_a_journal_that_hangs_is_waited_for_no_longer_than_told_and_leaves_nobody_behind(
    units: SystemdBench, tmp_path: Path
) -> None:
    script = tmp_path / "journalctl"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    script.chmod(0o755)
    slow = SystemdBench(units.host, timeout_s=1.5, journalctl=(str(script),))
    name = units.make(OBEYS)
    try:
        with pytest.raises(EngineUnreachable, match=f"did not read the journal of {name} within"):
            await slow.engine.log_tail(name, max_bytes=100)
    finally:
        await slow.close()

    pid = int((tmp_path / "pid").read_text())
    await gone(pid)
    assert not is_alive(pid)
