"""Say what the evidence means: is this target ready, busy, hung, or down?

Pure: no clock, no I/O, no logging. Every fact arrives as an argument, and the table is DESIGN's: a timeout alone
proves nothing, progress is proof of life, and our own failure is no evidence about anyone.
"""

from dataclasses import dataclass
from enum import StrEnum

from supervisor.core.evidence import Evidence
from supervisor.core.observations import EngineSeen, Life, Reply
from supervisor.core.policy import Policy


class Verdict(StrEnum):
    """What the evidence says about a target, alone."""

    READY = "ready"
    BUSY = "busy"
    WARMING = "warming"
    ASLEEP = "asleep"
    SUSPECT = "suspect"
    HUNG = "hung"
    FAILING = "failing"
    DOWN = "down"
    MISCONFIGURED = "misconfigured"
    STOPPED = "stopped"  # not running, and not ours to start: an operator wanted it so, or it does not exist
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and why: `reason` is one CamelCase word for machines, `message` a phrase for people.

    Neither holds a duration, so that nothing published changes merely because time goes by; `since` (monotonic
    seconds) is when what the message tells of began, where that matters.
    """

    verdict: Verdict
    reason: str
    message: str
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """A spell without proof of life although something ought to move."""

    since: float
    reason: str
    message: str


def judge(evidence: Evidence, *, policy: Policy, now: float) -> Judgement:
    """Return the verdict on everything known about one target."""
    certain = (
        _by_engine(evidence, policy=policy, now=now)
        or _by_ourselves(evidence)
        or _by_refusals(evidence, policy=policy, now=now)
        or _by_loading(evidence, policy=policy, now=now)
        or _by_sleep(evidence)
    )
    if certain:
        return certain
    starting = _by_starting(evidence, policy=policy, now=now)
    silence = None if starting else _by_silence(evidence, policy=policy, now=now)
    if silence and silence.verdict is not Verdict.BUSY:
        return silence
    return _by_answers(evidence, policy=policy) or starting or silence or _by_proof(evidence, policy=policy, now=now)


def quiet(evidence: Evidence, *, policy: Policy, now: float) -> Quiet | None:
    """Return the present spell without proof of life, or None while things are as they should be.

    Three signs, the oldest counts: counters are silent, counters stand while work is under way, or the canary is
    overdue although no slot is at work.
    """
    signs = []
    # Counters that were never there say nothing by their absence, once the server has proven that it answers.
    counters_matter = evidence.readable_ever or evidence.answered_at is None
    if evidence.silent_since is not None and counters_matter:
        signs.append(Quiet(since=evidence.silent_since, reason="CountersSilent", message="counters silent"))
    if evidence.standing_since is not None:
        signs.append(Quiet(since=evidence.standing_since, reason="CountersStanding", message="no progress"))
    if evidence.waiting_since is not None and not evidence.is_moving:
        overdue_at = max(evidence.waiting_since, evidence.worked_at or 0.0) + policy.canary_deadline_s
        if now >= overdue_at:
            signs.append(Quiet(since=overdue_at, reason="CanaryOverdue", message="canary unanswered"))
    return min(signs, key=lambda sign: sign.since, default=None)


def _by_engine(evidence: Evidence, *, policy: Policy, now: float) -> Judgement | None:
    if evidence.engine is None:
        return _awaited(evidence, policy=policy, now=now) if evidence.old_instance is not None else None
    match evidence.engine.life:
        case Life.MISSING:
            return Judgement(verdict=Verdict.STOPPED, reason="Missing", message="its engine has nothing of that name")
        case Life.PAUSED:
            return Judgement(verdict=Verdict.STOPPED, reason="Paused", message="paused by the operator")
        case Life.RESTARTING:
            message = "its engine is restarting it by its own policy"
            return Judgement(verdict=Verdict.WARMING, reason="EngineRestarting", message=message)
        case Life.EXITED if evidence.engine.stopped_by_operator:
            return Judgement(verdict=Verdict.STOPPED, reason="Stopped", message="stopped by the operator")
        case Life.EXITED:
            return Judgement(verdict=Verdict.DOWN, reason=_exit_reason(evidence.engine), message=_exit(evidence.engine))
        case Life.RUNNING if evidence.engine.stopped_by_operator:
            return Judgement(verdict=Verdict.STOPPED, reason="Stopping", message="being stopped by the operator")
        case Life.RUNNING:
            awaiting = evidence.instance is None and evidence.old_instance is not None
            return _awaited(evidence, policy=policy, now=now) if awaiting else None


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


def _by_answers(evidence: Evidence, *, policy: Policy) -> Judgement | None:
    if evidence.last_reply is Reply.DENIED:
        message = f"the canary is refused: {evidence.last_detail}"
        return Judgement(verdict=Verdict.MISCONFIGURED, reason="CanaryDenied", message=message)
    if evidence.failures >= policy.failure_threshold:
        return Judgement(verdict=Verdict.FAILING, reason="BadAnswers", message=evidence.last_detail)
    if evidence.failures:
        return Judgement(verdict=Verdict.SUSPECT, reason="BadAnswer", message=evidence.last_detail)
    return None


def _by_refusals(evidence: Evidence, *, policy: Policy, now: float) -> Judgement | None:
    if not evidence.refusals or _is_starting(evidence, policy=policy, now=now):
        return None
    # Two probes may be refused in one blip of a few milliseconds: that is one refusal still.
    is_brief = evidence.refused_since is None or now - evidence.refused_since < policy.close_tick_s
    engine_is_unsure = evidence.engine is None or bool(evidence.engine_detail)
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
    began_at = evidence.loading_since if evidence.has_proven_itself else evidence.started_at
    limit_at = began_at + policy.startup_limit_s
    # What we have only just met is never judged at first sight, however long it says it has been there.
    watched_s = now - max(evidence.seen_at, evidence.loading_since)
    if now < limit_at or watched_s < policy.hung_after_s or evidence.engine_detail:
        return Judgement(verdict=Verdict.WARMING, reason="Loading", message="loading its model")
    message = "still loading its model after its startup limit"
    return Judgement(verdict=Verdict.HUNG, reason="NeverReady", message=message, since=began_at)


def _by_sleep(evidence: Evidence) -> Judgement | None:
    if not evidence.is_asleep:
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
    if evidence.cpu_idle_since is not None:
        idle_s = now - max(spell.since, evidence.cpu_idle_since)
        return (Verdict.HUNG if idle_s >= policy.hung_after_s else Verdict.SUSPECT), "cpu idle"
    cpu = "cpu burning" if evidence.cpu_burned else "cpu unknown"
    quiet_s = now - spell.since
    patience_s = policy.stall_after_s + policy.confirm_s
    if not evidence.readable_ever:
        # Without counters a queue of long answers looks the same from outside.
        patience_s = max(patience_s, policy.canary_limit_s)
    if quiet_s >= patience_s:
        return Verdict.HUNG, cpu
    if quiet_s < policy.stall_after_s and evidence.cpu_burned:
        return Verdict.BUSY, cpu
    return Verdict.SUSPECT, cpu


def _by_proof(evidence: Evidence, *, policy: Policy, now: float) -> Judgement:
    if _is_at_work_for_others(evidence, policy=policy, now=now):
        return Judgement(verdict=Verdict.BUSY, reason="SlotsMoving", message="every slot at work")
    if evidence.last_reply is Reply.OVERLOADED:
        since = evidence.last_proof_at or evidence.seen_at
        verdict = Verdict.BUSY if now - since < policy.stall_after_s else Verdict.SUSPECT
        return Judgement(verdict=verdict, reason="Overloaded", message="says that it has too much to do", since=since)
    if evidence.answered_at is not None:
        return Judgement(verdict=Verdict.READY, reason="CanaryAnswered", message=_first_token(evidence.first_token_s))
    if evidence.worked_at is not None:
        return Judgement(verdict=Verdict.READY, reason="SlotsMoved", message="seen at work")
    return Judgement(verdict=Verdict.UNKNOWN, reason="NotYetKnown", message="no answer yet")


def _is_at_work_for_others(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether every slot is busy and moving, and not merely with our own canary."""
    if not (evidence.is_saturated and evidence.is_moving) or evidence.worked_at is None:
        return False
    if evidence.canary_since is not None and now - evidence.canary_since < policy.tick_s:
        return False
    return evidence.answered_at is None or evidence.worked_at > evidence.answered_at


def _first_token(first_token_s: float | None) -> str:
    if first_token_s is None:
        return "answered"
    return (
        f"first token after {first_token_s * 1000:.0f} ms"
        if first_token_s < 1
        else f"first token after {first_token_s:.1f} s"
    )


def _exit_reason(engine: EngineSeen) -> str:
    if engine.oom_killed:
        return "OomKilled"
    if engine.instance is None:
        return "NotStarted"
    return "Exited"


def _exit(engine: EngineSeen) -> str:
    if engine.oom_killed:
        return "killed for using too much memory"
    if engine.instance is None:
        return f"not started: {engine.detail}" if engine.detail else "not started"
    code = "" if engine.exit_code is None else f" with code {engine.exit_code}"
    return f"exited{code}: {engine.detail}" if engine.detail else f"exited{code}"
