"""One turn for one target, left to right. Read this file first.

    schedule ─▶ probe ─▶ verdict ─▶ decide ─▶ announce ─▶ act ─▶ record

A `Keeper` owns one target: it alone reads its inbox and writes its state. A turn is short and never waits; slow work
(a look, a canary, an engine call) runs beside it in `errands.py` and comes back as a new message at the left.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace

from loguru import logger

from supervisor.aftermath import evidence_after
from supervisor.asks import Asks
from supervisor.casebook import Casebook
from supervisor.core.actions import Act, Action, Announce, Note, Record
from supervisor.core.baseline import Baseline, fit, learn
from supervisor.core.decide import (
    can_be_asked,
    decide,
    is_drained,
    least_lost,
    look_every_s,
    looks_gently,
    wants_canary,
    wants_cpu,
)
from supervisor.core.events import Asked, Cleared, Drained, Ended, Event, Failed, Judged, Verb
from supervisor.core.evidence import Evidence
from supervisor.core.fold import end_life, forgive, is_awaited, take
from supervisor.core.incident import Incident
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import (
    CanaryEnded,
    CanarySent,
    CpuSeen,
    EngineSeen,
    Kind,
    Observation,
    Reply,
    TrafficSeen,
)
from supervisor.core.policy import Policy
from supervisor.core.recording import Belief, Recording, noted
from supervisor.core.standby import Need, standing_by, wants_start, wants_stop
from supervisor.core.state import WELL, Phase, State, step
from supervisor.core.verdict import NOTHING_LEARNED, judge
from supervisor.guard import Guard
from supervisor.logs import log_transition
from supervisor.messages import Case, Due, EngineStirred, Errands, Identity, Message, Probe, Resettled, Wish
from supervisor.pulse import Absence, slept_s
from supervisor.routed import Ways

RECONCILE_S = 30.0  # the engine is asked this often even if it never stirs: an event may be lost
REMEMBERED_EVERY_S = 60.0  # what was learned may be lost for so long
LATE_TURNS = 3  # after so many missed ones we stood still ourselves, and the gap says nothing about the target


class Keeper:
    """Owns one target: folds what is seen, judges, decides, tells, and sends for what must be done."""

    def __init__(
        self,
        identity: Identity,
        *,
        policy: Policy,
        errands: Errands,
        publish: Callable[[Snapshot], None],
        pace: Callable[[float], None],
        guard: Guard,
        state: State,
        incident: Incident | None = None,
        baseline: Baseline = NOTHING_LEARNED,
        evidence: Evidence | None = None,
        ways: Ways | None = None,
        is_called: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        slept_s: Callable[[], float] = slept_s,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.identity = identity
        self.baseline = baseline
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.state = state
        anew = Evidence(seen_at=clock(), started_at=clock(), relays=identity.kind == "router")
        self.evidence = evidence or anew
        self._recording = Recording()
        self._left: Evidence | None = None  # what was known of the life that we have ended last
        self._as_set = policy
        self._policy = fit(policy, baseline)
        self._errands = errands
        self._publish = publish
        self._pace = pace
        self._guard = guard
        self._ways = ways
        self._is_called = is_called
        self._casebook = Casebook(identity.name, guard=guard, keep=errands.keep_incident, incident=incident)
        self._clock = clock
        self._chance = chance
        self._remembered, self._remembered_at = baseline, clock()
        self._pace_s = policy.tick_s
        self._looked_at = 0.0
        self.asks = Asks()
        self._absence = Absence(now=clock(), slept_s=slept_s)
        self._inspected_at: float | None = None

    def post(self, message: Message) -> None:
        """Put a message into the inbox; whoever may not write the state says so here."""
        self.inbox.put_nowait(message)

    async def run(self) -> None:
        """Take a turn for every message, for ever; what is logged meanwhile, by its errands too, names the target."""
        with logger.contextualize(target=self.name):
            await self._take_turns()

    async def _take_turns(self) -> None:
        while True:
            try:
                # Our own heartbeat, on the monotonic clock: a wall clock set back would hold the scheduler up.
                async with asyncio.timeout(LATE_TURNS * self._policy.tick_s):
                    message = await self.inbox.get()
            except TimeoutError:
                message = Due()
            try:
                with logger.contextualize(incident=self._casebook.present):
                    self.turn(message)
            except Exception as error:  # noqa: BLE001 - the one place: a fault of ours must cost no target its owner
                logger.opt(exception=error).error("{}: our own turn failed; nothing is held against it", self.name)
                self.evidence = replace(self.evidence, blind_detail=f"our own turn failed: {error}")
                self._recording = Recording()
                self._leave_no_act_behind()

    @property
    def name(self) -> str:
        """The target's name."""
        return self.identity.name

    @property
    def incident(self) -> Incident | None:
        """The trouble that the target is in."""
        return self._casebook.open

    def snapshot(self) -> Snapshot:
        """Return what is believed now, for whoever publishes it."""
        return Snapshot(
            name=self.identity.name,
            kind=self.identity.kind,
            url=self.identity.url,
            models=self.identity.models,
            state=self.state,
            evidence=self.evidence,
            policy=self._policy,
            as_of=self._clock(),
            baseline=self.baseline,
            restraint=self._guard.by_a_person(self.name, now=self._clock()),
            drain=self._guard.drained(self.name, now=self._clock()),
            incident=self._casebook.present,
            stands_in_for=self.identity.stands_in_for,
        )

    def turn(self, message: Message) -> None:
        """Take one turn: see, judge, decide, tell, send for what is to be done."""
        now = self._clock()
        self._forgive_our_own_absence(now)
        match message:
            case Wish():
                self._wish(message, now=now)
            case Ended() | Failed():
                self._return(message, now=now)
            case Cleared():
                self._advance(message, now=now)
            case Resettled():
                self._resettle(message, now=now)
                self._judge(now)
            case Due() | EngineStirred():
                self._judge(now)
            case Probe():
                self.asks.take(message)
            case _:
                ended = self._see(message, now=now)
                self._judge(now)
                self.asks.ended(ended)
        self._publish(self.snapshot())
        self._send_for_more(message, now=now)
        self._write_down_what_was_learned(now)

    def _leave_no_act_behind(self) -> None:
        """Do not wait for an engine call that a failed turn never sent for."""
        if self.state.phase.is_ours and not self._errands.is_acting:
            fault = Failed(reason="OurFault", message="our own turn failed, see the log", counts=False)
            self.evidence = replace(self.evidence, engine=None, old_instance=None)
            self.state = step(self.state, fault, policy=self._policy, now=self._clock())

    def _forgive_our_own_absence(self, now: float) -> None:
        """Measure silence anew after a time in which nobody was watching; until the next look we know nothing."""
        why, was_asleep = self._absence.since_last(now, late_s=2 * LATE_TURNS * self._policy.tick_s)
        if not why:
            return
        logger.warning("{}: {}; measuring silence anew", self.name, why)
        if was_asleep:
            self._errands.forget()
        if was_asleep and self.evidence.canary_since is not None:
            attempt = self.evidence.canary_attempt
            lost = CanaryEnded(instance=self.evidence.instance, attempt=attempt, reply=Reply.NOT_RUN, detail=why)
            self.evidence = take(self.evidence, lost, policy=self._policy, now=now)
        # Without counters only the next canary could tell that we see again, and one may be out for long.
        self.evidence = forgive(self.evidence, now=now, detail=why if self.identity.has_counters else "")
        self._recording = Recording()  # what went before explains nothing that comes

    def _see(self, seen: Observation, *, now: float) -> CanaryEnded | None:
        if isinstance(seen, EngineSeen) and self.identity.sleeps_after_s is not None:
            seen = replace(seen, sleep_idle_s=self.identity.sleeps_after_s)
        before, ended = self.evidence, None
        if isinstance(seen, CanaryEnded) and is_awaited(before, seen):
            seen = ended = seen if self._ways is None else self._ways.weigh(seen)
        belief = Belief(evidence=before, state=self.state, baseline=self.baseline)
        self._recording = noted(self._recording, seen, now=now, before=belief)
        self.evidence = take(before, seen, policy=self._policy, now=now)
        if isinstance(seen, EngineSeen) and self.evidence.instance != before.instance:
            self._errands.forget()
        self._learn(before, now=now)
        return ended

    def _learn(self, before: Evidence, *, now: float) -> None:
        learned = learn(self.baseline, before, self.evidence, policy=self._policy, now=now)
        if learned is self.baseline:
            return
        self.baseline, self._policy = learned, fit(self._as_set, learned)

    def _write_down_what_was_learned(self, now: float) -> None:
        if self.baseline is not self._remembered and now - self._remembered_at >= REMEMBERED_EVERY_S:
            self._remembered, self._remembered_at = self.baseline, now
            self._errands.remember(self.baseline)

    def _resettle(self, settled: Resettled, *, now: float) -> None:
        self.identity, self._as_set = settled.identity, settled.policy
        self._policy = fit(settled.policy, self.baseline)
        if self.state.phase is Phase.FAILED:
            self._advance(Cleared(what="its settings have changed"), now=now)

    def _wish(self, wish: Wish, *, now: float) -> None:
        free = not self.state.phase.is_ours
        wish.answer(free)
        if free:
            self._advance(Asked(verb=wish.verb, drains=wish.drains), now=now)

    def _judge(self, now: float) -> None:
        judgement = judge(self.evidence, policy=self._policy, baseline=self.baseline, now=now)
        if (first := self.identity.stands_in_for) is not None:
            need = self._guard.need(self.name, return_after_s=self._policy.return_after_s, now=now)
            judgement = standing_by(judgement, self.state, self.evidence.engine, need, first=first)
        self._advance(Judged(judgement=judgement), now=now)
        if first is not None:
            self._stand_in(first, need, now=now)
        is_draining = self.state.phase is Phase.DRAINING
        if is_draining and is_drained(self.evidence, since=self.state.since, policy=self._policy, now=now):
            self._advance(Drained(), now=now)

    def _stand_in(self, first: str, need: Need, *, now: float) -> None:
        """Come and go as it is needed."""
        state, engine = self.state, self.evidence.engine
        if need is Need.OVER and state.phase is Phase.STOPPED and state.for_need:
            self.state = replace(state, for_need=False)  # whoever declined the last call need not decline the next
        if self._guard.restraint(self.name, now=now) is not None:
            return
        if wants_start(state, engine, need):
            self._advance(Asked(verb=Verb.START, why=f"since {first} cannot be had"), now=now)
        elif wants_stop(state, engine, need, now=now):
            self._advance(Asked(verb=Verb.STOP, drains=True, why=f"since {first} is back"), now=now)

    def _return(self, event: Ended | Failed, *, now: float) -> None:
        """Take note that our engine call came back; what that left behind is judged after the next inspection."""
        self.evidence = evidence_after(
            event, self.evidence, left=self._left, state=self.state, policy=self._policy, now=now
        )
        self._advance(event, now=now)

    def _advance(self, event: Event, *, now: float) -> None:
        before = self.state
        if isinstance(event, Judged):
            self._guard.hears(self.name, before, event.judgement, now=now)
        restraint = self._guard.restraint(self.name, now=now)
        self.state = step(before, event, policy=self._policy, now=now, chance=self._chance(), restraint=restraint)
        self._guard.saw(self.name, self.state)
        instance = self.evidence.instance or self.evidence.old_instance
        self._casebook.follow(before, self.state, instance=instance, now=now)
        begins = self.state.phase is Phase.RESTARTING and before.phase is not Phase.RESTARTING
        if begins or (self.state.phase is Phase.STOPPING and before.phase is not Phase.STOPPING):
            self._left = None
        if begins and self.state.asked is not Verb.START:
            # From here on the present instance counts no more; only a new one does.
            self._left = self.evidence
            self.evidence = end_life(self.evidence, now=now)
            self._errands.forget()
        for action in decide(before, self.state, policy=self._policy):
            self._do(action, now=now)
        if not isinstance(event, Judged):
            self._recording = Recording()
        self._set_pace()

    def _do(self, action: Action, *, now: float) -> None:
        match action:
            case Announce():
                self._publish(self.snapshot())
            case Record():
                incident = self._casebook.concerned
                log_transition(self.name, action.transition, incident=incident)
                self._errands.record(action.transition, self.evidence.instance, incident=incident)
            case Act():
                instance = self.evidence.instance or self.evidence.old_instance
                self._errands.act(action, self._case(instance, now=now))
            case Note():
                self._errands.note(action.act, self._case(self.evidence.instance, now=now))
                self._recording = Recording()

    def _case(self, instance: str | None, *, now: float) -> Case:
        return Case(
            instance=instance,
            incident=self._casebook.present or "",
            judgement=self.state.judgement,
            as_of=now,
            recording=self._recording,
            policy=self._as_set,
        )

    def _set_pace(self) -> None:
        pace_s = look_every_s(self.state.phase, policy=self._policy)
        if pace_s != self._pace_s:
            self._pace_s = pace_s
            self._pace(pace_s)

    def _send_for_more(self, message: Message, *, now: float) -> None:
        """Send for whatever would tell more; while an engine call of ours is under way, nothing would."""
        waits = isinstance(message, Due) and self.identity.has_counters
        self.asks.serve(self.state, self.evidence, policy=self._policy, now=now, send=self._send_canary, waits=waits)
        if self.state.phase.is_ours:
            return
        if isinstance(message, EngineStirred | Ended | Failed) or self._is_inspection_due(message, now=now):
            self._inspected_at = now
            self._errands.inspect()
        diagnosis = self.state.diagnosis
        if self.state.phase is Phase.FAILED and diagnosis is not None and not diagnosis.helps_restart:
            self._errands.watch_cure(diagnosis.cause)
        looks = self._is_look_due(message) and can_be_asked(self.evidence)
        if looks:
            self._look(now)
        # A look goes first and alone: it would take our own canary's slot for somebody's work.
        awaits_look = looks and self.identity.has_counters
        awaits_rest = isinstance(message, CpuSeen) and self.identity.has_counters
        is_well = self.state.phase in WELL
        if awaits_look or awaits_rest or self.state.phase is Phase.DRAINING:
            return
        if wants_canary(self.evidence, policy=self._policy, now=now, is_well=is_well, is_called=self._is_called()):
            self._send_canary(now)

    def _is_look_due(self, message: Message) -> bool:
        match message:
            case Due():
                return True
            case EngineSeen():
                # A new life is looked at once: what its counters said while it was well tells its silence later.
                return not self.evidence.readable_ever
            case TrafficSeen():
                return not message.ok and self._absence.last_at - self._looked_at >= self._policy.close_tick_s
            case _:
                return False

    def _look(self, now: float) -> None:
        evidence, policy = self.evidence, self._policy
        drains = self.state.phase is Phase.DRAINING or self._guard.drained(self.name, now=now) is not None
        self._looked_at = now
        self._errands.look(
            evidence.instance,
            engine=evidence.engine,
            with_cpu=wants_cpu(evidence, policy=policy, now=now, is_draining=drains),
            gently=looks_gently(evidence, policy=policy, now=now),
        )

    def _send_canary(self, now: float) -> bool:
        evidence, policy = self.evidence, self._policy
        # Only llama.cpp can be asked for one of its slots.
        slot = least_lost(evidence.slots) if evidence.kind is Kind.LLAMA_CPP else None
        way: tuple[str | None, float] | None = (None, policy.canary_limit_s)
        if self._ways is not None:
            way = self._ways.next(evidence.instance)
        if way is None:
            return False
        model, limit_s = way
        attempt = evidence.canary_attempt + 1
        self._see(CanarySent(instance=evidence.instance, attempt=attempt), now=now)
        self._errands.send_canary(evidence.instance, attempt, slot, model=model, limit_s=limit_s)
        return True

    def _is_inspection_due(self, message: Message, *, now: float) -> bool:
        is_old = self._inspected_at is None or now - self._inspected_at >= RECONCILE_S
        return isinstance(message, Due) and (is_old or self.state.phase not in WELL)
