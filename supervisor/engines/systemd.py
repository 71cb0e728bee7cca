"""Services of systemd, by the names of their units. Translates and does nothing else: no thresholds, no retries.

It needs the system bus, and the right to start, stop, restart and kill just these units (docs/systemd.md).
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loguru import logger

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines import systemd_cgroup, systemd_journal
from supervisor.engines.base import Changed, Description, Log
from supervisor.engines.circumstances import HIDDEN, MISSING, Executable
from supervisor.engines.docker_ends import ENDED, Ends
from supervisor.engines.host_looks import HostLooks
from supervisor.engines.one_at_a_time import OneAtATime
from supervisor.engines.signalled import Signals
from supervisor.engines.systemd_acts import DONE, act, why_not
from supervisor.engines.systemd_bus import Connection, SystemBus
from supervisor.engines.systemd_ends import EXEC, SET_UP, set_up_failure
from supervisor.engines.systemd_facts import NO_UNIT, SEARCH, around, depends_on, read_facts
from supervisor.engines.systemd_state import (
    Properties,
    instance_of,
    is_leaving,
    is_missing,
    life_of,
    program,
    read_unit,
)
from supervisor.engines.systemd_watch import CUT_OFF, Changes
from supervisor.engines.waits import processes
from supervisor.errors import EngineRefused, EngineUnreachable, SupervisorError, TargetMissing

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0


class SystemdEngine:
    """Starts, stops, restarts and inspects units."""

    def __init__(
        self,
        *,
        bus: str,
        timeout_s: float,
        ping_every_s: float = 10.0,
        root: Path = Path("/"),
        journalctl: Sequence[str] = systemd_journal.JOURNALCTL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connect to nothing yet: the bus may come later.

        `bus` is its D-Bus address; `timeout_s` bounds every call, on top of the grace where one is given; a bus that
        tells nothing is pinged every `ping_every_s`; `root` is where the files of systemd's host are seen, and
        `journalctl` how its journal is read; `clock` is wall time.
        """
        self._bus = SystemBus(address=bus, timeout_s=timeout_s)
        self._timeout_s = timeout_s
        self._ping_every_s = ping_every_s
        self._root = root
        self._journalctl = journalctl
        self._host_looks = HostLooks(limit_s=timeout_s)
        self._ends = Ends(clock=clock)
        self._signals = Signals(clock=clock)
        self._last: dict[str, EngineSeen] = {}
        self._acts = OneAtATime("systemd")
        self._is_closed = False

    async def inspect(self, name: str) -> EngineSeen:
        """Return what systemd knows about unit `name`."""
        unit = await self._find(name, f"inspect {name}")
        if unit is None:
            self._ends.forget(name)
            self._last.pop(name, None)
            return EngineSeen(life=Life.MISSING)
        seen = await self._with_reason(name, unit, read_unit(unit, monotonic_s=time.monotonic()))
        if seen.life is Life.CREATED and name in self._last:
            seen = self._forgotten(name)
        if self._ends.is_marked(name):
            self._ends.meet(name, seen, is_told_to_end=is_leaving(unit))
        if seen.life is not Life.PAUSED and self._ends.is_ours(name, seen):
            seen = replace(seen, stopped_by_operator=False)
        seen = replace(seen, signalled=self._signals.ended(name, seen))
        if seen.instance is not None:
            self._last[name] = seen
        return seen

    async def start(self, name: str) -> None:
        """Start unit `name`, or thaw it if it is frozen."""
        await self._acts.do(name, "start", lambda: self._start(name))

    async def stop(self, name: str, *, grace_s: float) -> None:
        """Stop unit `name`; after `grace_s` all its processes are killed, whatever its TimeoutStopSec is."""
        await self._acts.do(name, "stop", lambda: self._end(name, "stop", grace_s=grace_s))

    async def restart(self, name: str, *, grace_s: float) -> None:
        """Restart unit `name`; once begun, systemd goes through with it whatever becomes of us."""
        await self._acts.do(name, "restart", lambda: self._end(name, "restart", grace_s=grace_s))

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the main process of unit `name`."""
        unit = await self._existing(name, f"send {number.name} to")
        what = f"send {number.name} to {name}"
        if life_of(unit) is not Life.RUNNING:
            raise EngineRefused(f"systemd did not {what}: it does not run")
        self._signals.note(name, instance_of(unit), number)
        await self._bus.call("KillUnit", "ssi", name, "main", int(number), what=what)

    async def cpu_s(self, name: str) -> float | None:
        """Return the CPU seconds of the unit's whole control group; None while it does not run."""
        unit = await self._existing(name, "sample the CPU time of")
        if read_unit(unit, monotonic_s=0.0).life not in (Life.RUNNING, Life.PAUSED):
            return None
        burned_ns = unit.get("CPUUsageNSec")
        if burned_ns is not None and burned_ns < (1 << 64) - 1:  # which stands for: not accounted for
            return float(burned_ns) / 1e9
        return systemd_cgroup.cpu_s(unit.get("ControlGroup", ""), root=self._root)

    async def log_tail(self, name: str, *, max_bytes: int) -> str:
        """Return at most the last `max_bytes` of what the unit's processes printed, in this life and earlier ones."""
        unit = await self._existing(name, "read the log of")
        return await systemd_journal.tail(
            unit["Id"], max_bytes=max_bytes, limit_s=self._timeout_s, journalctl=self._journalctl
        )

    async def follow_log(self, name: str, *, max_bytes: int) -> Log:
        """Yield the end of what the unit's processes printed, and then what they print."""
        unit = await self._existing(name, "read the log of")
        told = systemd_journal.follow(
            unit["Id"], max_bytes=max_bytes, limit_s=self._timeout_s, journalctl=self._journalctl
        )
        async with contextlib.aclosing(told):
            async for piece in told:
                yield piece

    async def describe(self, name: str) -> Description:
        """Return how unit `name` is made, how it is, and what runs in it."""
        unit = await self._find(name, f"describe {name}")
        if unit is None:
            return Description(facts=NO_UNIT)
        seen = await self._with_reason(name, unit, read_unit(unit, monotonic_s=time.monotonic()))
        return Description(facts=read_facts(unit, seen), processes=tuple(await self._processes(name, unit)))

    async def circumstances(self, name: str) -> Mapping[str, str]:
        """Return what unit `name` is made of: its files, its program, its directory, the files it is told of."""
        unit = await self._find(name, f"tell what {name} depends on")
        if unit is None:
            return {"unit": MISSING}
        return around(unit) | await self._host_looks.words(name, depends_on(unit, root=self._root))

    async def watch(self) -> AsyncIterator[Changed]:
        """Yield changes for ever. A connection that breaks is made anew, and so is that of a bus that hangs."""
        retry_s = RETRY_FIRST_S
        while not self._is_closed:
            try:
                connection = await self._bus.connection()
                with Changes(connection) as changes:
                    yield Changed(name=None, what="connected")
                    retry_s = RETRY_FIRST_S
                    while (change := await self._next(changes, connection)) is not CUT_OFF:
                        yield change
                why = "the connection ended"
            except SupervisorError as error:
                why = str(error)
            logger.debug("systemd: no news: {}; connecting again in {:g}s", why, retry_s)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    def mark_ours(self, name: str, *, over_at: float | None = None) -> None:
        """Take the stop that `name` is found in for ours, if it can be."""
        self._ends.mark(name, over_at=over_at)

    def forget(self, name: str) -> None:
        """Keep nothing more about unit `name`."""
        self._ends.drop(name)
        self._last.pop(name, None)
        self._host_looks.forget(name)
        self._signals.forget(name)

    async def close(self) -> None:
        """Let go of the bus; what systemd has begun for us it ends by itself."""
        self._is_closed = True
        await self._acts.end(cut_short=True)
        await self._bus.close()
        self._host_looks.close()

    async def _find(self, name: str, what: str) -> Properties | None:
        try:
            unit = await self._bus.properties(name, what=what)
        except TargetMissing:  # no name that a unit can have
            return None
        if is_missing(unit):
            return None
        await self._hold(name)
        return unit

    async def _existing(self, name: str, verb: str) -> Properties:
        unit = await self._find(name, f"{verb} {name}")
        if unit is None:
            raise TargetMissing(f"systemd did not {verb} {name}: it has no unit of that name (see `systemctl cat`)")
        return unit

    async def _hold(self, name: str) -> None:
        """Have systemd remember how the unit ends, for as long as we are connected.

        It forgets one that has ended well and that nothing else needs, at once and altogether. Where we may not ask for
        it, what we saw last must do.
        """
        connection = await self._bus.connection()
        if name in connection.held:
            return
        connection.held[name] = False
        try:
            await self._bus.call_unit(name, "Ref", what=f"remember {name}")
            connection.held[name] = True
        except (EngineRefused, TargetMissing) as error:
            logger.debug("systemd: {}", error)

    def _forgotten(self, name: str) -> EngineSeen:
        """Return how a unit is that systemd has forgotten.

        What fails it keeps. So that was a stop, or an end in good order that we did not see: it is left alone.
        """
        last = self._last[name]
        if last.life is Life.EXITED:
            return last
        return replace(last, life=Life.EXITED, age_s=None, pid=None, stopped_by_operator=True)

    async def _with_reason(self, name: str, unit: Properties, seen: EngineSeen) -> EngineSeen:
        """Add why systemd could not even run its program, which it tells by a number alone."""
        status = set_up_failure(unit) if seen.life in (Life.EXITED, Life.RESTARTING) else None
        if status is None:
            return seen
        if status != EXEC:
            return replace(seen, detail=f"systemd could not set it up: {status}/{SET_UP[status]}")
        return replace(seen, detail=f"cannot execute '{program(unit)}': {await self._why_not_run(name, unit)}")

    async def _why_not_run(self, name: str, unit: Properties) -> str:
        path = program(unit)
        seen = Executable(name=str(self._root / path.lstrip("/")), directory="/", search=SEARCH)
        try:
            (word,) = (await self._host_looks.words(name, {path: seen})).values()
        except EngineUnreachable:
            word = ""
        if word == MISSING:
            return "no such file, or none that may be run (203/EXEC)"
        return f"{HIDDEN} (203/EXEC)" if word == HIDDEN else "is it a program for this machine? (203/EXEC)"

    async def _processes(self, name: str, unit: Properties) -> list[dict[str, Any]]:
        def look() -> list[dict[str, Any]]:
            proc = self._root / "proc"
            return processes(systemd_cgroup.pids(unit.get("ControlGroup", ""), proc=proc), proc=proc)

        try:
            return await self._host_looks.do(name, look)
        except TimeoutError:  # the thread hangs over a file of its circumstances
            return []

    async def _start(self, name: str) -> None:
        unit = await self._existing(name, "start")
        if read_unit(unit, monotonic_s=0.0).life is Life.PAUSED:
            await self._bus.call("ThawUnit", "s", name, what=f"thaw {name}")
        elif unit["ActiveState"] not in ("active", "reloading"):
            await self._act(name, "start", grace_s=0.0)

    async def _end(self, name: str, verb: str, *, grace_s: float) -> None:
        """Stop or restart, and know the end that follows for ours."""
        unit = await self._existing(name, verb)
        if verb == "stop" and read_unit(unit, monotonic_s=0.0).life in ENDED:
            return
        ours = self._ends.begin(name, instance_of(unit))
        try:
            await self._act(name, verb, grace_s=grace_s)
        finally:
            self._ends.finish(ours)

    async def _act(self, name: str, verb: str, *, grace_s: float) -> None:
        result = await act(self._bus, name, verb, grace_s=grace_s, timeout_s=self._timeout_s)
        if result == "" or (result == DONE and verb == "stop"):
            return
        unit = await self._existing(name, verb)
        if result != DONE:
            seen = await self._with_reason(name, unit, read_unit(unit, monotonic_s=time.monotonic()))
            why = seen.detail or f"its result is {unit.get('Result')}" if result == "failed" else why_not(result)
            raise EngineRefused(f"systemd did not {verb} {name}: {why}")
        if not unit.get("ConditionResult", True):
            raise EngineRefused(
                f"systemd did not {verb} {name}: a condition of the unit does not hold (`systemctl status` tells which)"
            )

    async def _next(self, changes: Changes, connection: Connection) -> Changed:
        while True:
            try:
                async with asyncio.timeout(self._ping_every_s):
                    return await changes.next()
            except TimeoutError:
                try:
                    await self._bus.ping()
                except SupervisorError:
                    connection.drop()
                    raise
