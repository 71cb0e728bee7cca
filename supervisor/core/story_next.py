"""Say what is being done about a target, and what will be if nothing changes: the next part of its story.

Pure words; the thresholds decide elsewhere, and what is said of the future is theirs.
"""

from supervisor.core.durations import ago, lasting
from supervisor.core.events import Verb
from supervisor.core.liveness import Snapshot
from supervisor.core.policy import Policy
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import NOT_NEEDED, STANDS_BY, Phase, State, is_flapping
from supervisor.core.story_why import spell
from supervisor.core.verdict import Quiet, Verdict, patience_s

WELL_VERDICTS = (Verdict.READY, Verdict.BUSY, Verdict.DEGRADED, Verdict.ASLEEP)
UNWELL = (Phase.STARTING, Phase.SUSPECT, Phase.BACKOFF, Phase.FAILED)
WATCHED = 'It is watched only (engine = "none")'


def coming(snapshot: Snapshot, *, now: float) -> str:
    """Return what happens next, in a sentence or two; nothing where nothing needs to."""
    state = snapshot.state
    if state.phase.is_ours:
        return _under_way(state)
    if state.judgement.verdict is Verdict.UNKNOWN and state.phase is not Phase.UNKNOWN:
        return "Nobody is restarted on such grounds."
    if state.judgement.verdict in WELL_VERDICTS and state.phase in UNWELL:
        return _probation(snapshot, now=now)
    return _by_phase(snapshot, now=now)


def _by_phase(snapshot: Snapshot, *, now: float) -> str:
    present = spell(snapshot, now=now)
    match snapshot.state.phase:
        case Phase.BACKOFF | Phase.FAILED if snapshot.is_left_alone:
            return ""  # by whom, and that nothing is done, is told with the hold
        case Phase.BACKOFF | Phase.FAILED:
            return _recovery(snapshot.state, policy=snapshot.policy, now=now)
        case Phase.STARTING:
            return _starting(snapshot, now=now)
        case Phase.SUSPECT:
            return _escalation(snapshot, present, now=now)
        case Phase.BUSY if present:
            return _patience(snapshot, present, now=now)
        case Phase.DRAINING:
            left_s = snapshot.state.since + snapshot.policy.drain_limit_s - now
            verb = "stopped" if snapshot.state.asked is Verb.STOP else "restarted"
            return f"It is {verb} once nobody is being served any more, in {lasting(left_s)} at the latest."
        case Phase.STOPPED if snapshot.state.judgement.reason in (STANDS_BY, NOT_NEEDED):
            return f"It is started where {snapshot.stands_in_for or 'its first choice'} cannot be had."
        case Phase.STOPPED if snapshot.state.judgement.reason == "Missing":
            return "It is watched as soon as it is there."
        case Phase.STOPPED:
            return "We leave it so: what somebody stopped, only somebody starts."
        case _:
            return ""


def _probation(snapshot: Snapshot, *, now: float) -> str:
    policy = snapshot.policy
    if not is_flapping(snapshot.state, policy=policy, now=now):
        return ""
    return (
        f"It has been in and out of trouble in the last {lasting(policy.flap_window_s)}, so it must answer"
        f" {policy.flap_answers} times in a row before it is trusted again."
    )


def _under_way(state: State) -> str:
    by_operator = state.asked is not None and state.judgement.reason != NOT_NEEDED
    asked = "the operator asked for it" if by_operator else "we decided it"
    return f"That is under way ({asked}), and nothing is judged until it ends."


def _recovery(state: State, *, policy: Policy, now: float) -> str:
    if not state.restartable:
        return f"{WATCHED}, so nobody here can restart it."
    if state.restraint is not None:
        return _held_back(state.restraint, now=now)
    if state.retry_at is None:
        return "Nothing more is tried until that changes."
    left_s = state.retry_at - now
    due = "now" if left_s < 1 else f"in {lasting(left_s)}"
    if state.diagnosis is not None and not state.diagnosis.helps_restart:
        return f"A restart would not help, so it is tried again {due}, or as soon as something about it changes."
    if state.is_exhausted:
        return f"Restarts have not helped, so it is tried only every {lasting(policy.fatal_retry_s)} now: next {due}."
    window = lasting(policy.budget_window_s)
    number = len(state.restarts) + 1
    return (
        f"It is restarted {due} if it is not well by then (restart {number} of {policy.budget_restarts} in {window})."
    )


def word_of(restraint: Restraint, *, now: float) -> str:
    """Return what a person has said, when, and for how much longer it holds."""
    said = f" (said {ago(now - restraint.since)})" if restraint.since else ""
    return f"{restraint.message}{said}{_until(restraint, now=now)}"


def _until(restraint: Restraint, *, now: float) -> str:
    return "" if restraint.until is None else f" for another {lasting(restraint.until - now)}"


def _held_back(restraint: Restraint, *, now: float) -> str:
    """Say why a restart that is due is not done."""
    match restraint.curb:
        case Curb.OBSERVING:
            return 'It would be restarted now, but mode = "observe": that is only written down.'
        case Curb.HELD | Curb.DRAINED | Curb.PAUSED | Curb.MAINTENANCE:
            return f"It would be restarted now, but it is {word_of(restraint, now=now)}."
        case Curb.SHARED_CAUSE | Curb.ONE_AT_A_TIME:
            waits = f"waits{_until(restraint, now=now)}"
            return f"It is to be restarted, and that {waits}: {restraint.message}."


def _starting(snapshot: Snapshot, *, now: float) -> str:
    evidence, policy = snapshot.evidence, snapshot.policy
    awaited = evidence.instance is None and evidence.old_instance is not None
    left_s = (evidence.seen_at if awaited else evidence.started_at) + policy.startup_limit_s - now
    limit = f"its startup limit of {lasting(policy.startup_limit_s)}"
    if left_s < 1:
        return f"It is past {limit}."
    return f"It has {lasting(left_s)} left of {limit}; without an answer by then it counts as hung."


def _escalation(snapshot: Snapshot, present: Quiet | None, *, now: float) -> str:
    """Say when suspicion becomes a restart."""
    evidence = snapshot.evidence
    if evidence.engine_detail:
        return f"Its engine cannot be asked ({evidence.engine_detail}), so it is not restarted."
    if not snapshot.state.restartable:
        return f"{WATCHED}, so nobody here would restart it."
    if present is not None and not evidence.refusals:
        return f"If nothing moves {_for_another(_until_hung_s(snapshot, present, now=now))}, it is restarted as hung."
    if evidence.failures:
        return f"After {snapshot.policy.failure_threshold} bad answers in a row it is restarted."
    return "A closer look follows at once."


def _patience(snapshot: Snapshot, present: Quiet, *, now: float) -> str:
    policy = snapshot.policy
    doubted_s = present.since + policy.stall_after_s - now
    return (
        f"Nothing is done to it. If nothing moves {_for_another(doubted_s)}, routers stop sending to it, and after"
        f" {lasting(max(doubted_s, _until_hung_s(snapshot, present, now=now)))} it is restarted; should its CPU fall"
        f" idle, {lasting(policy.hung_after_s)} of that are enough."
    )


def _until_hung_s(snapshot: Snapshot, present: Quiet, *, now: float) -> float:
    evidence, policy = snapshot.evidence, snapshot.policy
    if evidence.cpu_idle_since is not None:
        return max(present.since, evidence.cpu_idle_since) + policy.hung_after_s - now
    return present.since + patience_s(evidence, policy=policy) + policy.confirm_s - now


def _for_another(seconds: float) -> str:
    return f"for another {lasting(seconds)}" if seconds >= 1 else "at the next look"
