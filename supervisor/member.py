"""One target with all that serves it: made, changed in place, taken over by another, let go. It decides nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from supervisor import build
from supervisor.acts import Acts
from supervisor.build import Plan, Target
from supervisor.core.baseline import Baseline
from supervisor.core.evidence import Evidence
from supervisor.core.incident import Incident
from supervisor.core.liveness import Snapshot
from supervisor.core.state import Phase, State
from supervisor.cure import Cure
from supervisor.errands import Runner, Spawn
from supervisor.examine import Examiner
from supervisor.guard import Guard
from supervisor.history.store import Store
from supervisor.messages import Due, Probe, Resettled, Wish
from supervisor.on_gpu import Elsewhere, OnGpu
from supervisor.probes.host import Host
from supervisor.recall import Past
from supervisor.routed import Directly, Ways
from supervisor.schedule import Schedule
from supervisor.turn import Keeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What there is one of for all targets."""

    store: Store
    host: Host
    schedule: Schedule
    directly: Directly
    guard: Guard
    spawn: Spawn
    for_ever: Spawn  # for what must not end by itself
    publish: Callable[[Snapshot], None]
    told: Callable[[float], Any]  # waits until routers could have read what was published
    late_s: Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is known of a target, whoever watched it until now; without `evidence` it is all to be seen anew."""

    state: State
    baseline: Baseline
    incident: Incident | None
    evidence: Evidence | None = None


class Member:
    """One target that is watched: its parts, its keeper, and the slow work beside it."""

    def __init__(self, target: Target, shared: Shared, left: Left) -> None:
        self.target = target
        self._shared = shared
        self._ways = Ways(target.ways, shared.directly, policy=target.policy) if target.plan.ways else None
        self.runner = self._runner()
        self.keeper = self._keeper(left)
        self.runner.post = self.keeper.post
        self.task = shared.for_ever(self.keeper.run(), name=f"keeper {self.name}")

    @property
    def name(self) -> str:
        """The target's name."""
        return self.target.identity.name

    @property
    def plan(self) -> Plan:
        """What the settings that it was made by mean for it."""
        return self.target.plan

    @property
    def is_in_an_act(self) -> bool:
        """Whether something is being done to it, or about to be since somebody wants it so."""
        phase = self.keeper.state.phase
        return phase.is_ours or phase is Phase.DRAINING or self.runner.is_acting

    def begins(self, *, delay_s: float) -> None:
        """Look at it from now on, at its own pace."""
        every_s = self.target.policy.tick_s
        self._shared.schedule.add(self.name, partial(self.keeper.post, Due()), every_s=every_s, delay_s=delay_s)

    def stops(self) -> None:
        """Decide nothing more about it; what is being done to it goes on."""
        self.runner.leave()
        self.task.cancel()

    def settle(self, plan: Plan) -> None:
        """Go by another plan for the same server: all that was seen and all that is under way stays."""
        self.target = target = build.changed(self.target, plan)
        self.runner.settle(
            canary=target.canary, policy=target.policy, easing=target.easing, given_back_s=plan.given_back_s
        )
        if self._ways is not None:
            self._ways.settle(target.ways, policy=target.policy)
        self.resettles()

    def resettles(self) -> None:
        """Have its keeper know that its settings have changed: by other ones it may be no hopeless case."""
        self.keeper.post(Resettled(identity=self.target.identity, policy=self.target.policy))

    def left(self, *, for_target: Target) -> Left:
        """Return what stays true for whoever watches it from now on, as another plan has it."""
        keeper, identity = self.keeper, for_target.identity
        is_same = (for_target.engine, for_target.engine_name) == (self.target.engine, self.target.engine_name)
        state = replace(
            keeper.state,
            restartable=identity.restartable,
            for_need=keeper.state.for_need and identity.stands_in_for is not None,
        )
        return Left(
            state=state,
            baseline=keeper.baseline,
            incident=keeper.incident,
            evidence=self._evidence(relays=identity.kind == "router") if is_same else None,
        )

    async def ends(self, *, heir: "Member | None" = None) -> None:
        """Watch it no more; what people have asked of it is its heir's to do, or is declined. Nothing is done to it.

        What is shared with its heir stays; up to its first wait this is done at once.
        """
        self.task.cancel()
        if heir is None:
            self._shared.schedule.remove(self.name)
        while not self.keeper.inbox.empty():
            message = self.keeper.inbox.get_nowait()
            if isinstance(message, Wish) and heir is not None:
                heir.keeper.post(message)
            elif isinstance(message, Wish):
                message.answer(False)
            elif isinstance(message, Probe):
                self.keeper.asks.take(message)
        for probe in self.keeper.asks.leave():
            if heir is not None:
                heir.keeper.post(probe)
        await self.runner.end()
        await self.target.client.aclose()

    def _evidence(self, *, relays: bool) -> Evidence:
        """Return what stays true of a life that is looked at in another way; it must show all else anew."""
        now, known = time.monotonic(), self.keeper.evidence
        return Evidence(
            seen_at=now,
            started_at=known.started_at,
            relays=relays,
            old_instance=known.old_instance,
            stillborn=known.stillborn,
            is_looping=known.is_looping,
            canary_attempt=known.canary_attempt,
        )

    def _runner(self) -> Runner:
        target, shared, name = self.target, self._shared, self.name
        engine, engine_name = target.engine, target.engine_name
        host = shared.host if target.is_on_this_host else Elsewhere()
        examiner = Examiner(name, engine=engine, engine_name=engine_name, host=host, store=shared.store)
        on_gpu = OnGpu(name, engine=engine, engine_name=engine_name, host=host, given_back_s=target.plan.given_back_s)
        acts = Acts(
            name,
            engine=engine,
            engine_name=engine_name,
            examiner=examiner,
            store=shared.store,
            on_gpu=on_gpu,
            easing=target.easing,
        )
        return Runner(
            name,
            engine_name=engine_name,
            engine=engine,
            progress=target.progress,
            canary=target.canary,
            host=host,
            acts=acts,
            cure=Cure(engine=engine, engine_name=engine_name, host=host),
            store=shared.store,
            policy=target.policy,
            spawn=shared.spawn,
            told=shared.told,
            late=shared.late_s,
            secret=target.secret,
        )

    def _keeper(self, left: Left) -> Keeper:
        target, shared, name = self.target, self._shared, self.name
        return Keeper(
            target.identity,
            policy=target.policy,
            errands=self.runner,
            publish=shared.publish,
            pace=lambda every_s: shared.schedule.pace(name, every_s),
            guard=shared.guard,
            state=left.state,
            incident=left.incident,
            baseline=left.baseline,
            evidence=left.evidence,
            is_called=partial(shared.directly.is_called, name),
            ways=self._ways,
        )


def of_old(target: Target, past: Past) -> Left:
    """Return what is known of a target that nobody has watched in this life of ours."""
    state = build.first_state(target.identity, past.memory, now=time.monotonic())
    return Left(state=state, baseline=past.baseline, incident=past.incident)
