"""Acts upon units: systemd does them as jobs, whose ends it tells; each is waited for, and no longer than it may take.

A stop that takes longer than its grace is helped along with SIGKILL: systemd's own patience (TimeoutStopSec, 90 s as a
rule) is not ours.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

from supervisor.engines.systemd_bus import Connection, NobodyToKill, Signal, SystemBus
from supervisor.errors import EngineRefused, EngineUnreachable

POLL_S = 0.1  # while a job is overdue
KILL_AGAIN_S = 1.0  # what its unit runs after its main process may hang as well
KILL_WAIT_S = 5.0  # after SIGKILL only the kernel can hold a process back: a GPU or a disk that does not answer
METHODS = {"start": "StartUnit", "stop": "StopUnit", "restart": "RestartUnit"}
DONE = "done"
WHY_NOT = {
    "canceled": "somebody has asked for something else meanwhile",
    "timeout": "its job took longer than its JobTimeoutSec",
    "dependency": "a unit that it needs has failed",
    "assert": "one of its Assert…= does not hold",
    "skipped": "one of its conditions does not hold",
    "unsupported": "this kind of unit cannot do that here",
}


class Jobs:
    """Hears how jobs end, on one connection, from before they are asked for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ended: dict[str, str] = {}
        self._news = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def heard(cls, bus: SystemBus) -> AsyncIterator["Jobs"]:
        """Listen for the ends of jobs."""
        jobs = cls(await bus.connection())
        jobs._connection.listeners.append(jobs._take)
        try:
            yield jobs
        finally:
            jobs._connection.listeners.remove(jobs._take)

    async def result(self, job: str, *, within_s: float) -> str | None:
        """Return how a job ended; None: not yet.

        Raises EngineUnreachable where nobody can tell us any more.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, within_s)):
                while job not in self._ended and self._connection.is_up:
                    self._news.clear()
                    await self._news.wait()
        if job not in self._ended and not self._connection.is_up:
            raise EngineUnreachable("the system bus went away while systemd was at work; it goes on by itself")
        return self._ended.get(job)

    def _take(self, heard: Signal) -> None:
        if heard.member == "JobRemoved":
            _, job, _, result = heard.body
            self._ended[job] = result
        self._news.set()


async def act(bus: SystemBus, unit: str, verb: str, *, grace_s: float, timeout_s: float) -> str:
    """Start, stop or restart `unit`, and return how its job ended: `done`, or systemd's word for why not.

    Empty: it is on its way up and takes its time to say that it is ready. What is stopped has `grace_s`; all else may
    take `timeout_s`.
    """
    what = f"{verb} {unit}"
    async with Jobs.heard(bus) as jobs:
        asked_at = time.monotonic()
        (job,) = await bus.call(METHODS[verb], "ss", unit, "replace", what=what)
        result = await jobs.result(job, within_s=timeout_s if verb == "start" else grace_s)
        helped = _Helped(bus, unit, verb, asked_at=asked_at, timeout_s=timeout_s)
        while result is None and not await helped.has_come_up():
            result = await jobs.result(job, within_s=POLL_S)
    return result or ""


class _Helped:
    """A job that is overdue, and helped along."""

    def __init__(self, bus: SystemBus, unit: str, verb: str, *, asked_at: float, timeout_s: float) -> None:
        self._bus = bus
        self._unit = unit
        self._verb = verb
        self._timeout_s = timeout_s
        self._asked_at = asked_at
        self._overdue_at = time.monotonic()
        self._killed_at: list[float] = []

    async def has_come_up(self) -> bool:
        """Look once, kill what is still on its way down, and return whether it is on its way up, and takes long.

        Raises:
            EngineRefused: the kernel does not let go of it.
            EngineUnreachable: nothing happens.
        """
        now = time.monotonic()
        unit = await self._bus.properties(self._unit, what=f"inspect {self._unit}")
        if unit["ActiveState"] == "deactivating":
            await self._kill(now)
        elif unit["ActiveState"] == "activating" and self._verb != "stop":
            return now - self._asked_at >= self._timeout_s
        elif now - max([self._overdue_at, *self._killed_at[-1:]]) >= self._timeout_s:
            raise EngineUnreachable(f"systemd did not {self._verb} {self._unit} within {self._timeout_s:g}s")
        return False

    async def _kill(self, now: float) -> None:
        if self._killed_at and now - self._killed_at[0] >= KILL_WAIT_S:
            raise EngineRefused(
                f"cannot {self._verb} {self._unit}: still there {KILL_WAIT_S:g}s after SIGKILL; the kernel holds it"
                " over a device that does not answer (see `dmesg`)"
            )
        if not self._killed_at or now - self._killed_at[-1] >= KILL_AGAIN_S:
            self._killed_at.append(now)
            with contextlib.suppress(NobodyToKill):
                await self._bus.call(
                    "KillUnit", "ssi", self._unit, "all", int(signal.SIGKILL), what=f"kill {self._unit}"
                )


def why_not(result: str) -> str:
    """Return why a job did not do what it was for."""
    return WHY_NOT.get(result, f"its job ended with {result}")
