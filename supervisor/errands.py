"""The slow work of one target: inspections, looks, CPU samples, canaries and engine calls.

Each errand runs beside the turns, one of its kind at a time, and comes back as a message. It takes no decision.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Protocol

from loguru import logger

from supervisor.acts import Acts
from supervisor.core.actions import Act
from supervisor.core.baseline import Baseline
from supervisor.core.cause import Cause
from supervisor.core.events import Cleared, Failed
from supervisor.core.incident import Incident
from supervisor.core.observations import CanaryEnded, CpuSeen, EngineSeen, EngineSilent, ProgressSeen, Reply
from supervisor.core.policy import Policy
from supervisor.core.state import Transition
from supervisor.cure import Cure
from supervisor.engines.base import Engine
from supervisor.errors import SupervisorError
from supervisor.history import UNUSABLE
from supervisor.history.store import Store
from supervisor.messages import Case, Message
from supervisor.probes.base import CanaryProbe, Counters, Easing, HostProbe, ProgressProbe

LATE_S = 0.3  # counters that take longer may be silent: what the CPU does meanwhile is measured from here
OUR_SHARE = 0.5  # of a look's time; with our own loop late by more, nobody was silent but we
HELD_WAIT_S = 0.5
CPU_SPAN_S = 0.25  # the shortest span that tells idle from burning
CPU_MEMORY_S = 5.0  # an older sample is no use to measure from
MEASURED_WITHIN_S = 2.0  # how things are when a restart is given up; without that, the next look is the first
DROPPED_WITHIN_S = 1.0  # a task that was cancelled has its last word
TOLD_WITHIN_S = 1.0  # how long an act waits until routers have been told


class Spawn(Protocol):
    """Starts a task in the daemon's one task group."""

    def __call__(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start `work`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuReading:
    """CPU seconds that an instance had burned by a moment of ours."""

    instance: str | None
    spent_s: float
    at: float


class Runner:
    """Runs one target's errands."""

    def __init__(
        self,
        name: str,
        *,
        engine_name: str,
        engine: Engine,
        progress: ProgressProbe | None,
        canary: CanaryProbe,
        host: HostProbe,
        acts: Acts,
        cure: Cure,
        store: Store,
        policy: Policy,
        spawn: Spawn,
        told: Callable[[float], Coroutine[Any, Any, None]],
        late: Callable[[float], float],
        secret: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._engine_name = engine_name
        self._engine = engine
        self._progress = progress
        self._canary = canary
        self._host = host
        self._acts = acts
        self._cure = cure
        self._store = store
        self._policy = policy
        self._spawn = spawn
        self._told = told
        self._late = late
        self._secret = secret  # what we show to this server and to nobody else, not even in its own words
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._cpu: CpuReading | None = None  # the last one
        self._inspect_again = False
        self._was_silent = False
        self._act_bounds = 0  # where an act began or ended, so far
        self.post: Callable[[Message], None] = lambda _: None

    @property
    def is_acting(self) -> bool:
        """Whether an engine call is under way."""
        return any(not act.done() for act in self.acts)

    @property
    def acts(self) -> list[asyncio.Task[None]]:
        """The engine call under way, if there is one: whoever shuts down waits for it."""
        return [task for errand, task in self._under_way.items() if errand == "act"]

    def leave(self) -> None:
        """Begin nothing more that nobody asked for: we are being ended."""
        self._acts.leave()

    def settle(self, *, canary: CanaryProbe, policy: Policy, easing: Easing | None, given_back_s: float) -> None:
        """Take what the settings say now for what they said before; what is under way goes on as it was begun."""
        self._canary, self._policy = canary, policy
        self._acts.settle(easing=easing, given_back_s=given_back_s)

    async def end(self) -> None:
        """Drop all that is under way, for the target is watched no more, or by another."""
        under_way = list(self._under_way.values())
        for errand in list(self._under_way):
            self._drop(errand)
        self.forget()
        if under_way:
            await asyncio.wait(under_way, timeout=DROPPED_WITHIN_S)

    def inspect(self) -> None:
        """Ask the engine about the target; asked again while one is under way, ask once more after it."""
        fault = EngineSilent(detail="our own inspection failed, see the log")
        if not self._start("inspect", self._inspect(), or_else=fault):
            self._inspect_again = True

    def look(self, instance: str | None, *, engine: EngineSeen | None, with_cpu: bool, gently: bool) -> None:
        """Read the server's counters, if it has any, and what it burns."""
        fault = ProgressSeen(instance=instance, reply=Reply.NOT_RUN, detail="our own look failed, see the log")
        work = self._look(instance, engine, with_cpu=with_cpu, gently=gently)
        self._start("look", work, or_else=None if self._progress is None else fault)

    def send_canary(
        self, instance: str | None, attempt: int, slot: int | None, *, model: str | None = None, limit_s: float
    ) -> None:
        """Send a real inference request; an earlier one to a life that has ended is let go."""
        self._drop("canary")
        fault = CanaryEnded(
            instance=instance, attempt=attempt, reply=Reply.NOT_RUN, detail="our own fault, see the log"
        )
        work = self._send_canary(instance, attempt, slot, model=model, limit_s=limit_s)
        self._start("canary", work, or_else=fault)

    def act(self, act: Act, case: Case) -> None:
        """Have the engine do it; unasked, only to the life that was judged."""
        self._act_bounds += 1
        fault = Failed(reason="OurFault", message=f"{act.verb} failed by our own fault, see the log", counts=False)
        if not self._start("act", self._act(act, case), or_else=fault):
            self.post(fault)

    def note(self, act: Act, case: Case) -> None:
        """Look into it and write down that it would have been done; nothing comes back."""
        self._start("note", self._note(act, case))

    def watch_cure(self, cause: Cause) -> None:
        """Look whether anything has changed about what stands in the way of a restart."""
        self._start("cure", self._watch_cure(cause))

    def keep_incident(self, incident: Incident, *, instead_of: str | None = None) -> None:
        """Write an incident down."""
        if incident.closed_at is not None:
            self._cure.forget()
        writing = self._store.keep_incident(incident, now=self._clock(), instead_of=instead_of)
        self._spawn(self._write(writing), name="incident")

    def record(self, transition: Transition, instance: str | None, *, incident: str | None) -> None:
        """Write a change of phase where it survives us; changes may come faster than the disk takes them."""
        writing = self._store.record(self._name, transition, instance=instance, incident=incident)
        self._spawn(self._write(writing), name="record")

    def remember(self, baseline: Baseline) -> None:
        """Write down what was learned of the target."""
        self._spawn(self._write(self._store.keep_baseline(self._name, baseline)), name="remember")

    def forget(self) -> None:
        """Drop what is still asked of an instance that is no more."""
        for errand in ("look", "canary"):
            self._drop(errand)
        self._was_silent = False
        if self._progress is not None:
            self._progress.let_go()

    def _start(self, errand: str, work: Coroutine[Any, Any, None], *, or_else: Message | None = None) -> bool:
        """Start an errand; `or_else` is what comes back should it fail in a way that nobody foresaw."""
        earlier = self._under_way.get(errand)
        if earlier is not None and not earlier.done():
            work.close()
            return False
        task = self._spawn(self._guarded(errand, work, or_else), name=f"{self._name}: {errand}")
        self._under_way[errand] = task
        task.add_done_callback(lambda ended: self._ended(errand, ended))
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, nobody has awaited it
        return True

    async def _guarded(self, errand: str, work: Coroutine[Any, Any, None], or_else: Message | None) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a fault of ours in one errand must not end the daemon
            logger.opt(exception=error).error("{}: our own {} failed", self._name, errand)
            if or_else is not None:
                self.post(or_else)

    def _ended(self, errand: str, task: asyncio.Task[None]) -> None:
        if self._under_way.get(errand) is task:
            del self._under_way[errand]

    def _drop(self, errand: str) -> None:
        task = self._under_way.pop(errand, None)
        if task is not None:
            task.cancel()

    async def _inspect(self) -> None:
        again = True
        while again:
            self._inspect_again = False
            bounds_before = self._act_bounds
            try:
                seen: EngineSeen | EngineSilent = await self._engine.inspect(self._engine_name)
            except SupervisorError as error:
                seen = EngineSilent(detail=str(error))
            if self._act_bounds == bounds_before:  # else it may tell of the time before; the next one will not
                self.post(seen)
            again = self._inspect_again

    async def _look(self, instance: str | None, engine: EngineSeen | None, *, with_cpu: bool, gently: bool) -> None:
        """Post the CPU's part first: counters that stand still are judged by it."""
        began = self._clock()
        counters = await self._counters(instance, gently=gently)
        if with_cpu or (counters is not None and _may_stand_still(counters)):
            await self._sample_cpu(instance, engine)
        if counters is None:
            return
        reply, detail, late_s = counters.reply, self._without_secret(counters.detail), self._late(began)
        if reply is Reply.SILENT and late_s > OUR_SHARE * self._policy.look_timeout_s:
            reply, detail = Reply.NOT_RUN, f"our own loop was late by {late_s:.1f}s"
        self.post(
            ProgressSeen(
                instance=instance,
                reply=reply,
                slots=counters.slots,
                kind=counters.kind,
                queued=counters.queued,
                sleeps=counters.sleeps,
                gently=gently,
                took_s=self._clock() - began,
                detail=detail,
            )
        )

    async def _counters(self, instance: str | None, *, gently: bool) -> Counters | None:
        if self._progress is None:
            return None
        async with asyncio.TaskGroup() as both:
            # A question that is held open already need not be waited for as long again, before the next look.
            timeout_s = min(self._policy.look_timeout_s, HELD_WAIT_S if self._was_silent else math.inf)
            looking = both.create_task(self._progress.look(timeout_s=timeout_s, gently=gently))
            await asyncio.wait([looking], timeout=LATE_S)
            if not looking.done() and not self._was_silent:
                self._cpu = await self._read_cpu(instance)  # else the last sample goes on from where it ended
        self._was_silent = looking.result().reply is Reply.SILENT
        return looking.result()

    async def _sample_cpu(self, instance: str | None, engine: EngineSeen | None) -> None:
        before, after = self._cpu, await self._read_cpu(instance)
        if before is not None and before.instance == instance and after is not None:
            span_s = after.at - before.at
            if span_s < CPU_SPAN_S:
                return
            if span_s <= max(CPU_MEMORY_S, 2.5 * self._policy.tick_s):
                burned_s = max(0.0, after.spent_s - before.spent_s)
                self.post(await self._beside_cpu(instance, engine, burned_s=burned_s, over_s=span_s))
        self._cpu = after

    async def _beside_cpu(
        self, instance: str | None, engine: EngineSeen | None, *, burned_s: float, over_s: float
    ) -> CpuSeen:
        """Ask the host what else a target does that burns little CPU; one that burns a lot is at work as it is."""
        seen = CpuSeen(instance=instance, burned_s=burned_s, over_s=over_s)
        if engine is None or engine.pid is None or burned_s >= self._policy.cpu_full_share * over_s:
            return seen
        work = await self._host.work(engine.pid, may_have_gpu=engine.uses_gpu is not False)
        hidden = engine.uses_gpu is True and work.gpu_share is None
        return replace(
            seen,
            gpu_share=work.gpu_share,
            gpu_is_unknown=work.gpu_is_unknown or hidden,
            waits_for_disk=work.waits_for_disk,
        )

    async def _read_cpu(self, instance: str | None) -> CpuReading | None:
        try:
            spent_s = await self._engine.cpu_s(self._engine_name)
        except SupervisorError as error:
            self.post(EngineSilent(detail=str(error)))
            return None
        return None if spent_s is None else CpuReading(instance=instance, spent_s=spent_s, at=self._clock())

    async def _send_canary(
        self, instance: str | None, attempt: int, slot: int | None, *, model: str | None, limit_s: float
    ) -> None:
        answer = await self._canary.send(limit_s=limit_s, slot=slot, model=model)
        self.post(
            CanaryEnded(
                instance=instance,
                attempt=attempt,
                reply=answer.reply,
                first_token_s=answer.first_token_s,
                detail=self._without_secret(answer.detail),
            )
        )

    async def _act(self, act: Act, case: Case) -> None:
        with logger.contextualize(incident=case.incident):
            try:
                await self._do(act, case)
            finally:
                self._act_bounds += 1

    async def _note(self, act: Act, case: Case) -> None:
        with logger.contextualize(incident=case.incident):
            await self._acts.note(act, case)

    async def _do(self, act: Act, case: Case) -> None:
        await self._told(TOLD_WITHIN_S)
        self._cure.begin()
        outcome = await self._acts.do(act, case)
        diagnosis = outcome.diagnosis
        if isinstance(outcome, Failed) and diagnosis is not None and not diagnosis.helps_restart:
            # Measured from now: whoever is told of the cause may mend it before the next look.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MEASURED_WITHIN_S):
                    await self._cure.look(diagnosis.cause)
        self.post(outcome)

    def _without_secret(self, detail: str) -> str:
        """Return a server's words without our key to it, which some servers quote when they refuse it."""
        return detail.replace(self._secret, "[hidden]") if self._secret else detail

    async def _watch_cure(self, cause: Cause) -> None:
        if what := await self._cure.look(cause):
            logger.info("{}: {}; trying it again", self._name, what)
            self.post(Cleared(what=what))

    async def _write(self, writing: Coroutine[Any, Any, None]) -> None:
        try:
            await writing
        except UNUSABLE as error:
            logger.error("history: cannot write about {}: {}", self._name, error)


def _may_stand_still(counters: Counters) -> bool:
    return counters.reply is Reply.SILENT or any(slot.busy for slot in counters.slots)
