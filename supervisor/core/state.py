"""The state machine: (state, event, now) → state. Every rule about phases is in this file.

A phase is what we believe after many verdicts, in one word. The table says where each verdict leads from each phase;
the few things it cannot say (time, budgets, what an operator asked for) are the functions below it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from supervisor.core.cause import Diagnosis
from supervisor.core.events import Asked, Cleared, Drained, Ended, Event, Failed, Judged, Verb
from supervisor.core.policy import Policy
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.verdict import SIGNALLED, Judgement, Verdict


class Phase(StrEnum):
    """What we believe about a target."""

    UNKNOWN = "unknown"  # nobody could say yet
    STARTING = "starting"
    UP = "up"
    BUSY = "busy"
    DEGRADED = "degraded"
    ASLEEP = "asleep"
    SUSPECT = "suspect"
    DRAINING = "draining"  # it gets nothing new, and may finish what it has
    RESTARTING = "restarting"  # we asked the engine, and it has not answered yet
    BACKOFF = "backoff"  # will be restarted by itself, later
    FAILED = "failed"  # waits for a person, or for the slow retry
    STOPPING = "stopping"
    STOPPED = "stopped"  # not running because somebody wanted it so

    @property
    def is_routable(self) -> bool:
        """Whether routers may use a target in this phase; what nobody could judge yet is left as it was."""
        return self in WEIGHTS

    @property
    def weight(self) -> float:
        """How much routers should prefer a target in this phase."""
        return WEIGHTS.get(self, 0.0)

    @property
    def is_ours(self) -> bool:
        """Whether an engine call of ours is under way, so that nothing is judged until it ends."""
        return self in (Phase.RESTARTING, Phase.STOPPING)


WEIGHTS = {Phase.UP: 1.0, Phase.ASLEEP: 0.7, Phase.UNKNOWN: 0.5, Phase.DEGRADED: 0.5, Phase.BUSY: 0.3}
DRAINABLE = frozenset({Phase.UP, Phase.BUSY, Phase.DEGRADED, Phase.ASLEEP, Phase.SUSPECT, Phase.DRAINING})
WELL = frozenset({Phase.UP, Phase.BUSY, Phase.DEGRADED, Phase.ASLEEP})

_V, _P = Verdict, Phase
# Where every verdict leads unless the row below says otherwise. `unknown` leads nowhere: our failure is not theirs.
_USUAL = {
    _V.READY: _P.UP,
    _V.BUSY: _P.BUSY,
    _V.WARMING: _P.STARTING,
    _V.DEGRADED: _P.DEGRADED,
    _V.ASLEEP: _P.ASLEEP,
    _V.SUSPECT: _P.SUSPECT,
    _V.HUNG: _P.BACKOFF,
    _V.FAILING: _P.BACKOFF,
    _V.DOWN: _P.BACKOFF,
    _V.MISCONFIGURED: _P.FAILED,
    _V.STOPPED: _P.STOPPED,
}
_UNLESS: dict[Phase, dict[Verdict, Phase]] = {
    _P.BACKOFF: {_V.SUSPECT: _P.BACKOFF},  # already worse than suspect
    _P.FAILED: dict.fromkeys((_V.SUSPECT, _V.HUNG, _V.FAILING, _V.DOWN), _P.FAILED),  # no loop out of FATAL
    # An operator's stop is never undone; and what refuses or is silent may only not run, as the engine will say.
    _P.STOPPED: dict.fromkeys((_V.DOWN, _V.SUSPECT), _P.STOPPED),
    _P.RESTARTING: dict.fromkeys(_V, _P.RESTARTING),  # nothing is judged until it ends
    _P.STOPPING: dict.fromkeys(_V, _P.STOPPING),
    _P.DRAINING: {verdict: _P.DRAINING for verdict in _V if verdict is not _V.STOPPED},
}
TABLE: dict[Phase, dict[Verdict, Phase]] = {
    phase: {verdict: _UNLESS.get(phase, {}).get(verdict, _USUAL.get(verdict, phase)) for verdict in Verdict}
    for phase in Phase
}
TROUBLED = frozenset({Verdict.HUNG, Verdict.FAILING, Verdict.DOWN})
NO_NEWS_OF_STOPPED = frozenset({Verdict.DOWN, Verdict.SUSPECT, Verdict.UNKNOWN})
TROUBLES_KEPT = 20
STOP_ECHO_S = 120.0  # a stop that the engine could not confirm may come about so much later
STOPPED_BY_HAND = Judgement(verdict=Verdict.STOPPED, reason="Stopped", message="stopped by the operator")
NOT_NEEDED = "NotNeeded"  # the reason of what we do ourselves without a trouble
STANDS_BY = "StandsBy"  # the reason why a stand-in does not run
WILL_NOT_HELP = "WillNotHelp"  # the reason of a restart that was not tried because its cause would outlast it
FIRST = Judgement(verdict=Verdict.UNKNOWN, reason="NotYetKnown", message="not looked at yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A target's phase with its counters and times (monotonic seconds)."""

    phase: Phase = Phase.UNKNOWN
    since: float
    judgement: Judgement = FIRST
    restartable: bool = True  # False: its engine can only watch
    asked: Verb | None = None  # what somebody asked for that no trouble demands, while it is under way
    stop_failed_at: float | None = None  # the engine did not do it, or did not say so; it may still come about
    restarts: tuple[float, ...] = ()  # when we restarted it by ourselves, within the budget's window
    in_a_row: int = 0  # restarts since it was last ready for long
    is_exhausted: bool = False  # the budget is spent; only the slow retry is left, until it was ready for long
    retry_at: float | None = None
    well_since: float | None = None  # up, busy or asleep since
    troubles: tuple[float, ...] = ()  # when it last fell from being well; more than a few in a short time is flapping
    diagnosis: Diagnosis | None = None  # of the present trouble, as far as somebody has looked into it
    restraint: Restraint | None = None  # a restart is due, and this holds us back
    tried_at: float | None = None  # when we last set out to restart it, whatever came of it ...
    tries: int = 0  # ... and how often since it was last well
    insists: bool = False  # it is restarted although that may not help; nothing came of it yet
    noted_at: float | None = None  # observing only, this is when we would have restarted it last
    for_need: bool = False  # we have started it because another could not be had
    recovered_at: float | None = None  # when it was last well again after we had to restart it


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of phase, for the record."""

    before: Phase
    after: Phase
    at: float
    judgement: Judgement


def step(
    state: State,
    event: Event,
    *,
    policy: Policy,
    now: float,
    chance: float = 0.0,
    restraint: Restraint | None = None,
) -> State:
    """Return the state after `event`; `chance` in [0, 1) is where the backoff's jitter comes from.

    `restraint` is what holds back whatever nobody asked for.
    """
    match event:
        case Judged():
            state = _undrained(state, restraint, now=now)
            after = _judged(state, event.judgement, policy=policy, now=now, chance=chance)
            return _restart_if_due(after, policy=policy, now=now, chance=chance, restraint=restraint)
        case Cleared():
            return _cleared(state, policy=policy, now=now)
        case Asked():
            return _asked(state, event, now=now)
        case Drained():
            return _drained(state, now=now)
        case Ended():
            return _ended(state, event, now=now)
        case Failed():
            return _failed(state, event, policy=policy, now=now, chance=chance)


def transition(before: State, after: State) -> Transition | None:
    """Return the change of phase between two states, if there is one."""
    if before.phase is after.phase:
        return None
    return Transition(before=before.phase, after=after.phase, at=after.since, judgement=after.judgement)


def _judged(state: State, judgement: Judgement, *, policy: Policy, now: float, chance: float) -> State:
    if state.phase.is_ours:
        return state
    if state.phase is Phase.DRAINING and judgement.verdict is not Verdict.STOPPED:
        # Whoever hangs serves nobody to the end.
        return _drained(state, now=now) if judgement.verdict in TROUBLED else state
    if state.phase is Phase.STOPPED and judgement.verdict in NO_NEWS_OF_STOPPED:
        return state
    if state.stop_failed_at is not None and judgement.verdict in (Verdict.HUNG, Verdict.FAILING):
        # Somebody wants it stopped. It is not for us to start it anew because it does not even do that.
        stuck = replace(judgement, message=f"{judgement.message}; it could not be stopped")
        return _enter(replace(state, judgement=stuck), Phase.FAILED, now=now)
    if judgement.verdict is Verdict.DOWN and state.stop_failed_at is not None:
        if now - state.stop_failed_at < STOP_ECHO_S:
            return _enter(replace(state, judgement=STOPPED_BY_HAND, stop_failed_at=None), Phase.STOPPED, now=now)
        state = replace(state, stop_failed_at=None)
    phase = TABLE[state.phase][judgement.verdict]
    if phase in WELL and _must_prove_itself_more(state, judgement, policy=policy, now=now):
        phase = state.phase
    after = _enter(replace(state, judgement=judgement, asked=None), phase, now=now)
    after = _forgive(after, policy=policy, now=now)
    if judgement.verdict in TROUBLED and after.phase in (Phase.BACKOFF, Phase.FAILED) and after.retry_at is None:
        after = _plan_restart(after, policy=policy, now=now, chance=chance)
    return after


def is_flapping(state: State, *, policy: Policy, now: float) -> bool:
    """Whether it has been in and out of trouble so often lately that one good answer proves little."""
    recent = [at for at in state.troubles if now - at < policy.flap_window_s]
    return len(recent) >= policy.flap_limit


def _must_prove_itself_more(state: State, judgement: Judgement, *, policy: Policy, now: float) -> bool:
    if state.phase not in (Phase.STARTING, Phase.SUSPECT, Phase.BACKOFF, Phase.FAILED):
        return False
    if judgement.verdict is Verdict.ASLEEP:
        return False  # it cannot be asked for more
    return judgement.answers < policy.flap_answers and is_flapping(state, policy=policy, now=now)


def _plan_restart(state: State, *, policy: Policy, now: float, chance: float) -> State:
    """Say when the next restart is due, counted from the last one; past the budget only the slow retry is left."""
    if not state.restartable:
        return _enter(state, Phase.FAILED, now=now)
    recent = tuple(at for at in state.restarts if now - at < policy.budget_window_s)
    # Whoever sends a signal wants it to go on: that is no trouble of its own, and waits for nothing.
    last = recent[-1] if recent and _is_own_trouble(state) else None
    if state.is_exhausted or (len(recent) >= policy.budget_restarts and _is_own_trouble(state)):
        spent = _enter(replace(state, restarts=recent, is_exhausted=True), Phase.FAILED, now=now)
        return replace(spent, retry_at=now + policy.fatal_retry_s)
    due_at = now if last is None else max(now, last + policy.backoff_s(state.in_a_row, chance=chance))
    return replace(_enter(replace(state, restarts=recent), Phase.BACKOFF, now=now), retry_at=due_at)


def _restart_if_due(state: State, *, policy: Policy, now: float, chance: float, restraint: Restraint | None) -> State:
    due = state.retry_at is not None and now >= state.retry_at and state.judgement.verdict in TROUBLED
    if not due or state.phase not in (Phase.BACKOFF, Phase.FAILED):
        return replace(state, restraint=None)
    if restraint is not None and restraint.curb is not Curb.OBSERVING:
        return replace(state, restraint=restraint)
    recent = tuple(at for at in state.restarts if now - at < policy.budget_window_s)
    spends = _is_own_trouble(state)
    counted = replace(
        state,
        restarts=(*recent, now) if spends else recent,
        in_a_row=state.in_a_row + spends,
        retry_at=None,
        tried_at=now,
        tries=state.tries + 1,
        insists=state.insists or state.phase is Phase.FAILED,
        restraint=restraint,
    )
    if restraint is not None:  # what is only noted spends the budget too, so that all goes on as it would have
        return _plan_restart(replace(counted, noted_at=now), policy=policy, now=now, chance=chance)
    return _enter(counted, Phase.RESTARTING, now=now)


def _is_own_trouble(state: State) -> bool:
    """Whether a restart counts as one for a trouble of its own."""
    return state.judgement.reason != SIGNALLED


def _cleared(state: State, *, policy: Policy, now: float) -> State:
    """Try again soon: what stood in the way of every restart may be gone, and the next one will tell."""
    if state.phase is not Phase.FAILED or state.retry_at is None:
        return state
    if state.tried_at is None:
        return replace(state, retry_at=now)
    soon = max(now, state.tried_at + policy.backoff_s(state.tries, chance=0.0))
    return replace(state, retry_at=min(state.retry_at, soon))


def _forgive(state: State, *, policy: Policy, now: float) -> State:
    if state.well_since is None or now - state.well_since < policy.forgive_after_s:
        return state
    # The budget is not given back: restarts leave its window by age alone, or one that works for ten minutes between
    # two crashes would be restarted for ever.
    return replace(state, in_a_row=0, is_exhausted=False, recovered_at=None)


def _asked(state: State, asked: Asked, *, now: float) -> State:
    if state.phase.is_ours:
        return state  # one engine call at a time; the asker is told
    reason, by = (NOT_NEEDED, asked.why) if asked.why else ("OperatorAsked", "asked for by the operator")
    why = replace(state.judgement, reason=reason, message=f"{asked.verb} {by}", since=None)
    # What a person starts is a person's from then on; what one stops, we had started all the same.
    for_need = bool(asked.why) if asked.verb is not Verb.STOP else state.for_need
    wanted = replace(state, asked=asked.verb, judgement=why, stop_failed_at=None, for_need=for_need)
    if asked.drains and asked.verb is not Verb.START and state.phase in DRAINABLE:
        return _enter(wanted, Phase.DRAINING, now=now)
    return _go_on(wanted, now=now)


def _drained(state: State, *, now: float) -> State:
    return _go_on(state, now=now) if state.phase is Phase.DRAINING else state


def _undrained(state: State, restraint: Restraint | None, *, now: float) -> State:
    """Let it go on after all, where it was we who wanted it stopped and a person holds it now."""
    is_ours = state.phase is Phase.DRAINING and state.judgement.reason == NOT_NEEDED
    if not is_ours or restraint is None or not restraint.curb.is_by_a_person:
        return state
    return _enter(replace(state, asked=None), Phase.UNKNOWN, now=now)


def _go_on(state: State, *, now: float) -> State:
    return _enter(state, Phase.STOPPING if state.asked is Verb.STOP else Phase.RESTARTING, now=now)


def _ended(state: State, event: Ended, *, now: float) -> State:
    state = replace(state, diagnosis=event.diagnosis or state.diagnosis)
    match state.phase:
        case Phase.RESTARTING:
            fresh = Judgement(verdict=Verdict.WARMING, reason="Restarted", message="waiting for its first answer")
            return _enter(replace(state, asked=None, judgement=fresh), Phase.STARTING, now=now)
        case Phase.STOPPING:
            by_us = state.judgement.reason == NOT_NEEDED
            told = replace(STOPPED_BY_HAND, reason=NOT_NEEDED, message="not needed") if by_us else STOPPED_BY_HAND
            for_need = state.for_need and not by_us
            return _enter(replace(state, asked=None, judgement=told, for_need=for_need), Phase.STOPPED, now=now)
        case _:
            return state


def _failed(state: State, event: Failed, *, policy: Policy, now: float, chance: float) -> State:
    trouble = replace(state.judgement, reason=event.reason, message=event.message, since=None)
    failed = replace(
        state,
        asked=None,
        judgement=trouble,
        diagnosis=event.diagnosis or state.diagnosis,
        insists=state.insists and not event.counts,
    )
    match state.phase:
        case Phase.RESTARTING:
            down = replace(failed, judgement=replace(trouble, verdict=Verdict.DOWN))
            if not event.counts and state.asked is None and _is_own_trouble(state):
                down = replace(down, restarts=down.restarts[:-1], in_a_row=max(0, down.in_a_row - 1))
            if event.diagnosis is not None and not event.diagnosis.helps_restart:
                # Where nothing was tried the verdict stands, and new is only that somebody must mend the cause.
                told = state.judgement if event.reason == WILL_NOT_HELP else down.judgement
                stuck = _enter(replace(down, judgement=told), Phase.FAILED, now=now)
                return replace(stuck, retry_at=now + policy.fatal_retry_s)
            if not event.counts and state.asked is None:
                return replace(_enter(down, Phase.BACKOFF, now=now), retry_at=now + policy.backoff_first_s)
            return _plan_restart(down, policy=policy, now=now, chance=chance)
        case Phase.STOPPING:
            # Whatever it is now, the next look says.
            return _enter(replace(failed, stop_failed_at=now), Phase.SUSPECT, now=now)
        case _:
            return state


def _enter(state: State, phase: Phase, *, now: float) -> State:
    """Move to `phase`, keeping what does not end by it."""
    well_since = state.well_since
    if phase in (Phase.UP, Phase.BUSY, Phase.ASLEEP):
        well_since = now if well_since is None else well_since
    elif phase not in (Phase.SUSPECT, Phase.DEGRADED):
        well_since = None
    troubles = state.troubles
    if state.phase in WELL and phase in (Phase.SUSPECT, Phase.BACKOFF):
        troubles = (*troubles, now)[-TROUBLES_KEPT:]
    retry_at = state.retry_at if phase in (Phase.BACKOFF, Phase.FAILED) else None
    since = state.since if phase is state.phase else now
    is_well = phase in WELL
    comes_back = is_well and state.phase in (Phase.STARTING, Phase.BACKOFF, Phase.FAILED) and state.in_a_row > 0
    return replace(
        state,
        phase=phase,
        since=since,
        well_since=well_since,
        troubles=troubles,
        retry_at=retry_at,
        recovered_at=now if comes_back else state.recovered_at,
        tries=0 if is_well or phase is Phase.STOPPED else state.tries,
        diagnosis=None if is_well or phase is Phase.STOPPED else state.diagnosis,
        restraint=state.restraint if phase in (Phase.BACKOFF, Phase.FAILED) else None,
        insists=state.insists and phase in (Phase.RESTARTING, Phase.BACKOFF),
    )
