"""Say what the evidence means: is this target ready, busy, hung, or down?

Pure: no clock, no I/O, no logging. Every fact arrives as an argument, and the table is DESIGN's: a timeout alone
proves nothing, progress is proof of life, and our own failure is no evidence about anyone.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from supervisor.core.baseline import Baseline, slow_after_s
from supervisor.core.durations import took
from supervisor.core.evidence import LATELY, Evidence
from supervisor.core.observations import EngineSeen, Kind, Life, Reply
from supervisor.core.policy import Policy
from supervisor.core.statements import Statement, statements

# Once every client has hung up, they may show requests at work until the next one comes (vllm#22545, #29928).
STALE_GAUGES = frozenset({Kind.VLLM, Kind.SGLANG})
# Asked for anything while it is at work, it cuts off whoever it was working for.
CUT_OFF_BY_PROBES = frozenset({Kind.LLAMA_CPP_PYTHON})


class Verdict(StrEnum):
    """What the evidence says about a target, alone."""

    READY = "ready"
    BUSY = "busy"
    WARMING = "warming"
    DEGRADED = "degraded"  # it answers, but far later than it used to, or not with all of its slots
    ASLEEP = "asleep"
    SUSPECT = "suspect"
    HUNG = "hung"
    FAILING = "failing"
    DOWN = "down"
    MISCONFIGURED = "misconfigured"
    STOPPED = "stopped"  # not running, and not ours to start: an operator wanted it so, or it does not exist
    UNKNOWN = "unknown"


SIGNALLED = "Signalled"  # the reason of one that ended by a signal which an operator had us send
NOT_STARTED = "NotStarted"  # the reason of one that its engine has never run


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and why: `reason` is one CamelCase word for machines, `message` a phrase for people.

    Neither holds a duration, so that nothing published changes merely because time goes by; `since` (monotonic
    seconds) is when what the message tells of began, where that matters. `answers` is how often in a row inference was
    proven, and `statements` are what it all rests on: both change with every look, and make no new judgement.
    """

    verdict: Verdict
    reason: str
    message: str
    since: float | None = None
    answers: int = field(default=0, compare=False)
    statements: tuple[Statement, ...] = field(default=(), compare=False)


NOTHING_LEARNED = Baseline()
TELLS_FOR_S = 600.0  # an older answer tells nothing of how it is today


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """A spell without proof of life although something ought to move."""

    since: float
    reason: str
    message: str


def judge(evidence: Evidence, *, policy: Policy, now: float, baseline: Baseline = NOTHING_LEARNED) -> Judgement:
    """Return the verdict on everything known about one target; `policy` is fitted to its baseline already."""
    judgement = _weigh_all(evidence, policy=policy, baseline=baseline, now=now)
    if evidence.is_looping and judgement.verdict is Verdict.WARMING:
        # One more life of many that died young: no reason for new hope before it answers.
        judgement = replace(judgement, verdict=Verdict.SUSPECT)
    return replace(judgement, answers=evidence.answers, statements=statements(evidence, now=now))


def _weigh_all(evidence: Evidence, *, policy: Policy, baseline: Baseline, now: float) -> Judgement:
    certain = (
        _by_engine(evidence, policy=policy, now=now)
        or _by_ourselves(evidence)
        or _by_refusals(evidence, policy=policy, now=now)
        or _by_loading(evidence, policy=policy, now=now)
        or _by_sleep(evidence, policy=policy)
    )
    if certain:
        return certain
    starting = _by_starting(evidence, policy=policy, now=now)
    silence = None if starting else _by_silence(evidence, policy=policy, now=now)
    if silence and silence.verdict is not Verdict.BUSY:
        return silence
    if starting and evidence.relays:
        # Its backends may be known to it only in a while; a wrong key stays wrong.
        is_settled = now - evidence.started_at >= policy.canary_deadline_s
        return (_by_denial(evidence) if is_settled else None) or starting
    return (
        _by_answers(evidence, policy=policy)
        or starting
        or silence
        or _by_slowness(evidence, policy=policy, baseline=baseline, now=now)
        or _by_proof(evidence, policy=policy, now=now)
    )


def quiet(evidence: Evidence, *, policy: Policy, now: float) -> Quiet | None:
    """Return the present spell without proof of life, or None while things are as they should be.

    Four signs, the oldest counts: counters are silent, counters stand while work is under way, idle slots have not
    taken up the canary, or the canary is overdue although no slot is at work.
    """
    signs = []
    # Counters that were never there say nothing by their absence, once the server has proven that it answers.
    counters_matter = evidence.readable_ever or evidence.last_proof_at is None
    if evidence.silent_since is not None and counters_matter:
        signs.append(Quiet(since=evidence.silent_since, reason="CountersSilent", message="counters silent"))
    if (standing_since := _standing_since(evidence)) is not None:
        signs.append(Quiet(since=standing_since, reason="CountersStanding", message="no progress"))
    if swallowed := _swallowed(evidence, policy=policy):
        signs.append(swallowed)
    if evidence.waiting_since is not None and not evidence.is_moving and not evidence.relays:
        overdue_at = max(evidence.waiting_since, evidence.last_proof_at or 0.0) + policy.canary_deadline_s
        if now >= overdue_at:
            signs.append(Quiet(since=overdue_at, reason="CanaryOverdue", message="canary unanswered"))
    return min(signs, key=lambda sign: sign.since, default=None)


def _standing_since(evidence: Evidence) -> float | None:
    """Return since when work stands still; where the counters may be stale, since when our own canary stands too."""
    if evidence.standing_since is None or evidence.kind not in STALE_GAUGES:
        return evidence.standing_since
    return None if evidence.waiting_since is None else max(evidence.standing_since, evidence.waiting_since)


def _swallowed(evidence: Evidence, *, policy: Policy) -> Quiet | None:
    """Tell a canary that no idle slot has taken up: look after look saw them idle while it waited."""
    real = bool(evidence.slots) and evidence.queued is None
    if not real or evidence.canary_since is None or evidence.idle_since is None or evidence.looked_at is None:
        return None
    since = max(evidence.canary_since, evidence.idle_since)
    if evidence.looked_at - since < policy.tick_s:
        return None
    return Quiet(since=since, reason="CanarySwallowed", message="idle slots do not take up the canary")


def _by_engine(evidence: Evidence, *, policy: Policy, now: float) -> Judgement | None:
    if evidence.engine is None:
        return _awaited(evidence, policy=policy, now=now) if evidence.old_instance is not None else None
    match evidence.engine.life:
        case Life.MISSING:
            return Judgement(verdict=Verdict.STOPPED, reason="Missing", message="its engine has nothing of that name")
        case Life.CREATED:
            return Judgement(verdict=Verdict.STOPPED, reason="Created", message="created, and not started yet")
        case Life.PAUSED:
            return Judgement(verdict=Verdict.STOPPED, reason="Paused", message="paused by the operator")
        case Life.RESTARTING:
            return _restarted_by_engine(evidence)
        case Life.EXITED if evidence.engine.stopped_by_operator:
            return Judgement(verdict=Verdict.STOPPED, reason="Stopped", message="stopped by the operator")
        case Life.EXITED:
            return Judgement(verdict=Verdict.DOWN, reason=_exit_reason(evidence.engine), message=_exit(evidence.engine))
        case Life.RUNNING if evidence.engine.stopped_by_operator:
            return Judgement(verdict=Verdict.STOPPED, reason="Stopping", message="being stopped by the operator")
        case Life.RUNNING:
            awaiting = evidence.instance is None and evidence.old_instance is not None
            return _awaited(evidence, policy=policy, now=now) if awaiting else None


def _restarted_by_engine(evidence: Evidence) -> Judgement:
    if evidence.is_looping:
        message = "its engine restarts it again and again, and it never answers"
        return Judgement(verdict=Verdict.DOWN, reason="CrashLoop", message=message)
    message = "its engine is restarting it by its own policy"
    return Judgement(verdict=Verdict.WARMING, reason="EngineRestarting", message=message)


def _awaited(evidence: Evidence, *, policy: Policy, now: float) -> Judgement:
    """Judge the wait for a new instance after our own restart."""
    if now - evidence.seen_at < policy.startup_limit_s:
        return Judgement(verdict=Verdict.WARMING, reason="AwaitingInstance", message="waiting for its new instance")
    message = "restarted, and no new instance was seen"
    return Judgement(verdict=Verdict.HUNG, reason="NoNewInstance", message=message, since=evidence.seen_at)


def _by_ourselves(evidence: Evidence) -> Judgement | None:
    if not evidence.blind_detail:
        return None
    return Judgement(verdict=Verdict.UNKNOWN, reason="CannotLook", message=f"we cannot look: {evidence.blind_detail}")


def _by_denial(evidence: Evidence) -> Judgement | None:
    if evidence.last_reply is not Reply.DENIED:
        return None
    message = f"the canary is refused: {evidence.last_detail}"
    return Judgement(verdict=Verdict.MISCONFIGURED, reason="CanaryDenied", message=message)


def _by_answers(evidence: Evidence, *, policy: Policy) -> Judgement | None:
    if denied := _by_denial(evidence):
        return denied
    if evidence.last_reply is Reply.EXCUSED:
        return None
    if evidence.failures >= policy.failure_threshold:
        if evidence.last_reply is Reply.SILENT:
            return Judgement(verdict=Verdict.HUNG, reason="RoutedSilent", message=evidence.last_detail)
        return Judgement(verdict=Verdict.FAILING, reason="BadAnswers", message=evidence.last_detail)
    if evidence.failures:
        return Judgement(verdict=Verdict.SUSPECT, reason="BadAnswer", message=evidence.last_detail)
    return None


def _by_refusals(evidence: Evidence, *, policy: Policy, now: float) -> Judgement | None:
    if not evidence.refusals or _is_starting(evidence, policy=policy, now=now):
        return None
    # Two probes may be refused in one blip of a few milliseconds: that is one refusal still.
    is_brief = evidence.refused_since is None or now - evidence.refused_since < policy.close_tick_s
    # What the engine said before the first refusal may be true no more: an exit comes with refusals too.
    is_old_news = evidence.engine_at is None or evidence.engine_at < (evidence.refused_since or now)
    engine_is_unsure = evidence.engine is None or bool(evidence.engine_detail) or is_old_news
    if evidence.refusals < policy.refusal_threshold or is_brief or engine_is_unsure:
        return Judgement(verdict=Verdict.SUSPECT, reason="Refused", message="its port does not answer")
    return Judgement(verdict=Verdict.DOWN, reason="NotListening", message="running, but nothing listens on its port")


def _by_starting(evidence: Evidence, *, policy: Policy, now: float) -> Judgement | None:
    if _is_starting(evidence, policy=policy, now=now):
        return Judgement(verdict=Verdict.WARMING, reason="Starting", message="starting")
    return None


def _by_loading(evidence: Evidence, *, policy: Policy, now: float) -> Judgement | None:
    """Judge a server that says it loads: for the first time since its start, or again in the midst of its life."""
    if evidence.loading_since is None:
        return None
    # Counted from what we have seen ourselves: the engine's times are wall times, and a wall clock may be set.
    began_at = evidence.loading_since if evidence.has_proven_itself else max(evidence.started_at, evidence.seen_at)
    if now < began_at + policy.startup_limit_s or evidence.engine_detail:
        return Judgement(verdict=Verdict.WARMING, reason="Loading", message="loading its model")
    message = "still loading its model after its startup limit"
    return Judgement(verdict=Verdict.HUNG, reason="NeverReady", message=message, since=began_at)


def _by_sleep(evidence: Evidence, *, policy: Policy) -> Judgement | None:
    if not evidence.is_asleep or evidence.traffic_failures >= policy.failure_threshold:
        return None
    return Judgement(verdict=Verdict.ASLEEP, reason="Asleep", message="asleep until somebody asks")


def _is_starting(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether its engine says it is young, and it has yet to show what it can do."""
    if evidence.engine is None or evidence.has_proven_itself:
        return False
    return now - evidence.started_at < policy.startup_limit_s


def _by_silence(evidence: Evidence, *, policy: Policy, now: float) -> Judgement | None:
    spell = quiet(evidence, policy=policy, now=now)
    if spell is None:
        return None
    verdict, cpu = _weigh(evidence, spell, policy=policy, now=now)
    if verdict is Verdict.HUNG and evidence.engine_detail:
        # Without its engine nobody can be restarted, and its CPU cannot be known either.
        verdict, cpu = Verdict.SUSPECT, "its engine cannot be asked"
    return Judgement(verdict=verdict, reason=spell.reason, message=f"{spell.message}, {cpu}", since=spell.since)


def _weigh(evidence: Evidence, spell: Quiet, *, policy: Policy, now: float) -> tuple[Verdict, str]:
    """Weigh a quiet spell by what the CPU says: idle is strong evidence, burning may be a long prefill."""
    if evidence.cpu_idle_since is not None and not evidence.relays:
        idle_s = (evidence.cpu_seen_at or now) - max(spell.since, evidence.cpu_idle_since)
        return (Verdict.HUNG if idle_s >= policy.hung_after_s else Verdict.SUSPECT), "cpu idle"
    quiet_s = now - spell.since
    works = _what_works(evidence)
    if quiet_s >= patience_s(evidence, policy=policy) + policy.confirm_s:
        return Verdict.HUNG, works
    if quiet_s < policy.stall_after_s and evidence.cpu_burned:
        return Verdict.BUSY, works
    return Verdict.SUSPECT, works


def _what_works(evidence: Evidence) -> str:
    if evidence.relays:
        return "perhaps waiting for another server"
    if not evidence.cpu_burned:
        return "cpu idle, gpu unknown" if evidence.gpu_is_unknown else "cpu unknown"
    return "waiting for its disk" if evidence.waits_for_disk else "cpu burning"


def patience_s(evidence: Evidence, *, policy: Policy) -> float:
    """Return how long a spell without progress is borne while its CPU burns, or while nobody knows.

    A batch of a long prompt may rightly take minutes. One that got little of a core is given longer in proportion,
    since it needs so much work and not so much time.
    """
    patience = policy.stall_after_s
    if evidence.may_be_reading:
        patience = max(patience, policy.prefill_limit_s)
    if not evidence.readable_ever:
        # Without counters a queue of long answers looks the same from outside.
        patience = max(patience, policy.canary_limit_s)
    if evidence.cpu_burned:
        share = evidence.burned_s / evidence.measured_s
        starved_s = patience * policy.cpu_full_share / share if share else math.inf
        patience = max(patience, min(starved_s, policy.stall_limit_s))
    return patience


def _by_slowness(evidence: Evidence, *, policy: Policy, baseline: Baseline, now: float) -> Judgement | None:
    """Judge a server that works, and not as well as it should."""
    if evidence.leaked_since is not None and now - evidence.leaked_since >= policy.hung_after_s:
        stuck = ", ".join(str(slot.id) for slot in sorted(evidence.leaked, key=lambda slot: slot.id))
        message = f"slot {stuck} of {len(evidence.slots)} is stuck, others answer"
        return Judgement(verdict=Verdict.DEGRADED, reason="SlotStuck", message=message)
    limit_s = None if evidence.relays else slow_after_s(baseline, policy=policy)  # it has several models to be slow
    # Nothing was asked of it for long, since its users keep it at work: then they tell best how it is.
    lately_s = evidence.lately_s if now - (evidence.answered_at or now) < TELLS_FOR_S else ()
    if limit_s is None or len(lately_s) < LATELY or min(lately_s) <= limit_s:
        return None
    message = f"{_first_token(lately_s[-1])}, usually after {took(baseline.usual_first_token_s or 0.0)}"
    return Judgement(verdict=Verdict.DEGRADED, reason="Slow", message=message)


def _by_proof(evidence: Evidence, *, policy: Policy, now: float) -> Judgement:
    if _is_at_work_for_others(evidence, policy=policy, now=now):
        return Judgement(verdict=Verdict.BUSY, reason="SlotsMoving", message="every slot at work")
    if is_left_to_work(evidence, policy=policy, now=now):
        return Judgement(verdict=Verdict.BUSY, reason="CpuBurning", message="at work, says its cpu")
    if evidence.traffic_failures >= policy.failure_threshold:
        message = f"its users fail: {evidence.traffic_detail or 'nobody said why'}"
        return Judgement(verdict=Verdict.SUSPECT, reason="UsersFail", message=message)
    if evidence.last_reply is Reply.OVERLOADED:
        since = evidence.last_proof_at or evidence.seen_at
        verdict = Verdict.BUSY if now - since < policy.stall_after_s else Verdict.SUSPECT
        return Judgement(verdict=verdict, reason="Overloaded", message="says that it has too much to do", since=since)
    if evidence.answered_at is not None:
        return Judgement(verdict=Verdict.READY, reason="CanaryAnswered", message=_first_token(evidence.first_token_s))
    if evidence.traffic_ok_at is not None:
        return Judgement(verdict=Verdict.READY, reason="TrafficAnswered", message="answers its users")
    if evidence.worked_at is not None:
        return Judgement(verdict=Verdict.READY, reason="SlotsMoved", message="seen at work")
    return Judgement(verdict=Verdict.UNKNOWN, reason="NotYetKnown", message="no answer yet")


def is_left_to_work(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether a server that our canary would cut off is at work for somebody, as far as its CPU tells.

    That is believed for so long as anything is: a livelock burns CPU too.
    """
    since = evidence.burning_since
    return evidence.kind in CUT_OFF_BY_PROBES and since is not None and now - since < policy.stall_limit_s


def _is_at_work_for_others(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether every slot is busy and moving, and not merely with our own canary."""
    if not (evidence.is_saturated and evidence.is_moving) or evidence.worked_at is None:
        return False
    if evidence.canary_since is not None and now - evidence.canary_since < policy.tick_s:
        return False
    return evidence.answered_at is None or evidence.worked_at > evidence.answered_at


def _first_token(first_token_s: float | None) -> str:
    return "answered" if first_token_s is None else f"first token after {took(first_token_s)}"


def _exit_reason(engine: EngineSeen) -> str:
    if engine.signalled:
        return SIGNALLED
    if engine.oom_killed:
        return "OomKilled"
    if engine.instance is None:
        return NOT_STARTED
    return "Exited"


def _exit(engine: EngineSeen) -> str:
    if engine.signalled:
        return f"ended by the operator's {engine.signalled}"
    if engine.oom_killed:
        return "killed for using too much memory"
    if engine.instance is None:
        return f"not started: {engine.detail}" if engine.detail else "not started"
    code = "" if engine.exit_code is None else f" with code {engine.exit_code}"
    return f"exited{code}: {engine.detail}" if engine.detail else f"exited{code}"
