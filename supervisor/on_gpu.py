"""Do one thing to a target that is on a GPU: it is not started before there is room for it.

What it needs is what it held when it was last stopped by us. Where there is no GPU, or nobody can tell who is on it,
nothing is done here.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from loguru import logger

from supervisor.core.actions import Act
from supervisor.core.cause import Diagnosis
from supervisor.core.events import Failed, Verb
from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.base import Engine
from supervisor.errors import SupervisorError
from supervisor.examine import WITHIN_S, Memories
from supervisor.probes.base import GpuMemory, HostWork
from supervisor.probes.vram import who_holds
from supervisor.room import held_by, obstacle

# What it held may be more than it needs now: after so long without room, a restart that insists is tried all the same.
BELIEVED_S = 600.0
WANTS_MEMORY = "not started for want of GPU memory"


class GpuHost(Memories, Protocol):
    """Tells of the memory of this host's GPUs, and waits until it is given back."""

    async def given_back(self, pids: frozenset[int], *, within_s: float) -> tuple[GpuMemory, ...]:
        """Return the GPUs whose memory one of `pids`, or a process that is gone, still holds after `within_s`."""
        ...


class Elsewhere:
    """The host of an engine that is on another machine: nobody here can be asked about its GPUs, or its processes.

    What this host knows by the same numbers is somebody else's.
    """

    async def work(self, pid: int, *, may_have_gpu: bool = True) -> HostWork:  # noqa: ARG002 - the Protocol's
        """Return what is said of a process that nobody here can see."""
        return HostWork()

    async def memory(self) -> tuple[GpuMemory, ...] | None:
        """Return that there is nobody to ask."""
        return None

    async def given_back(self, pids: frozenset[int], *, within_s: float) -> tuple[GpuMemory, ...]:  # noqa: ARG002
        """Wait for nothing."""
        return ()


class NoRoom(Exception):
    """It is not started after all; `outcome` says why."""

    def __init__(self, outcome: Failed) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """How a target is on GPUs before something is done to it; `needs_bytes` None: not known yet."""

    instance: str | None
    runs: bool
    pids: frozenset[int]
    needs_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a life of a target held on GPUs; `made` is which container that was, since another may need less."""

    made: str
    held_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """That the target was not started: since when, after which life, and why."""

    since: float
    instance: str | None
    diagnosis: Diagnosis


class OnGpu:
    """Starts, stops and restarts one target with regard to the memory of GPUs."""

    def __init__(
        self,
        name: str,
        *,
        engine_name: str,
        engine: Engine,
        host: GpuHost,
        given_back_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`given_back_s` is how long the memory of a life that has ended is waited for."""
        self._name = name
        self._engine_name = engine_name
        self._engine = engine
        self._host = host
        self.given_back_s = given_back_s
        self._clock = clock
        self._held: Held | None = None
        self._refused: Refused | None = None

    async def perform(self, act: Act) -> bool:
        """Do it, if the target is on a GPU; False: it is on none that we can see, and nothing was done.

        Raises:
            NoRoom: it is not running now, and was not started.
            SupervisorError: as the engine's calls.
        """
        stay = await self._look()
        if stay is None:
            return False
        match act.verb:
            case Verb.START:
                if not stay.runs:
                    await self._make_sure_of_room(stay, act)
                await self._engine.start(self._engine_name)
            case Verb.STOP:
                await self._engine.stop(self._engine_name, grace_s=act.grace_s)
                await self._see_off(stay)
            case Verb.RESTART:
                if stay.runs:
                    await self._engine.stop(self._engine_name, grace_s=act.grace_s)
                await self._make_sure_of_room(stay, act)
                await self._engine.start(self._engine_name)
        self._refused = None
        return True

    def refusal(self, instance: str | None) -> Diagnosis | None:
        """Return why the target was not started again after this life, the last time that it was tried."""
        return self._refused.diagnosis if self._refused and self._refused.instance == instance else None

    async def _look(self) -> Stay | None:
        """Return how the target is on GPUs, and learn what it holds; None: on none, or nobody can tell."""
        gpus = await self._memory()
        if not gpus:
            return None
        try:
            seen = await self._engine.inspect(self._engine_name)
        except SupervisorError:
            return None  # whatever is asked of this engine next tells why
        pids, made = await self._pids(seen), _made(seen)
        shares = [each.used_bytes for gpu in gpus for each in gpu.holders if each.pid in pids]
        self._learn(made, shares)
        needs_bytes = self._held.held_bytes if self._held and self._held.made == made else None
        if not seen.uses_gpu and not shares and needs_bytes is None:
            return None
        runs = seen.life not in (Life.EXITED, Life.CREATED, Life.MISSING)
        if runs:
            self._refused = None
        return Stay(instance=seen.instance, runs=runs, pids=pids, needs_bytes=needs_bytes)

    def _learn(self, made: str, shares: list[int | None]) -> None:
        told = [each for each in shares if each is not None]
        if told and len(told) == len(shares):
            self._held = Held(made=made, held_bytes=sum(told))

    async def _pids(self, seen: EngineSeen) -> frozenset[int]:
        """Return its processes; only the first of them where the engine cannot tell of the others in time."""
        if seen.pid is None:
            return frozenset()
        try:
            async with asyncio.timeout(WITHIN_S):
                description = await self._engine.describe(self._engine_name)
        except Exception as error:  # noqa: BLE001 - what hangs must not live on for a fault of ours
            logger.debug("{}: its processes are not known: {}: {}", self._name, type(error).__name__, error)
            return frozenset({seen.pid})
        return frozenset({seen.pid, *(each["pid"] for each in description.processes if "pid" in each)})

    async def _see_off(self, stay: Stay) -> None:
        """Wait until its memory is given back: whoever is started next may need it."""
        held = await self._kept(stay) if stay.pids else ()
        if held:
            logger.warning(
                "{}: stopped, and its GPU memory is not given back: {}", self._name, who_holds(held, gone=stay.pids)
            )

    async def _make_sure_of_room(self, stay: Stay, act: Act) -> None:
        """Wait until the memory of its last life is given back.

        Raises:
            NoRoom: it is not, or somebody else holds what it needs.
        """
        diagnosis = await self._obstacle(stay)
        if diagnosis is None:
            return
        since = self._refused.since if self._refused else self._clock()
        if act.insists and self._clock() - since >= BELIEVED_S:
            logger.warning("{}: {}; trying it all the same", self._name, diagnosis.says)
            return
        self._refused = Refused(since=since, instance=stay.instance, diagnosis=diagnosis)
        logger.warning("{}: {}: {}", self._name, WANTS_MEMORY, diagnosis.says)
        raise NoRoom(Failed(reason="NoRoom", message=WANTS_MEMORY, counts=stay.runs, diagnosis=diagnosis))

    async def _obstacle(self, stay: Stay) -> Diagnosis | None:
        kept = await self._kept(stay)
        gpus = await self._memory() or ()
        return obstacle(gpus, kept=kept, pids=stay.pids, needs_bytes=stay.needs_bytes)

    async def _memory(self) -> tuple[GpuMemory, ...] | None:
        try:
            return await self._host.memory()
        except Exception as error:  # noqa: BLE001 - as above; nor must what was stopped stay so
            logger.opt(exception=error).error("{}: our own look at the GPUs failed", self._name)
            return None

    async def _kept(self, stay: Stay) -> tuple[GpuMemory, ...]:
        """Return the GPUs whose memory its last life has not given back in time."""
        try:
            held = await self._host.given_back(stay.pids, within_s=self.given_back_s)
        except Exception as error:  # noqa: BLE001 - as above
            logger.opt(exception=error).error("{}: our own look at the GPUs failed", self._name)
            return ()
        return held_by(held, stay.pids)


def _made(seen: EngineSeen) -> str:
    """Return which container a life is of: engines name a life by what lives, and since when."""
    return (seen.instance or "").partition("@")[0]
