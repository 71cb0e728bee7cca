"""Fold observations into what we know about a target's present life.

Pure bookkeeping: it remembers what was seen and when, and interprets nothing; `verdict.py` does that.
Every time is monotonic seconds, given as an argument.
"""

from dataclasses import dataclass, replace

from supervisor.core.observations import (
    CanaryEnded,
    CanarySent,
    CpuSeen,
    EngineSeen,
    EngineSilent,
    Life,
    Observation,
    ProgressSeen,
    Reply,
    Slot,
)

GOOD = frozenset({Reply.ANSWERED})
# The server spoke, so it lives; whether it can infer is another question.
UNREACHED = frozenset({Reply.REFUSED, Reply.RESET})
BLIND = "for a reason we do not know"
BAD = frozenset({Reply.FAILED, Reply.INVALID})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about one instance of a target, since we first saw it at `seen_at`."""

    seen_at: float
    engine: EngineSeen | None = None  # None: the engine has not told us yet
    engine_detail: str = ""  # why it could not be asked, if the last question failed
    instance: str | None = None
    old_instance: str | None = None  # the life we ended ourselves; what it still says counts no more
    started_at: float = 0.0  # when the instance began, as far as anyone can say

    loading_since: float | None = None  # every reply since then was "Loading model"
    slots: tuple[Slot, ...] = ()  # the last readable counters
    leaked: frozenset[Slot] = frozenset()  # stood at work while another slot answered: they say nothing of the rest
    readable_ever: bool = False  # this instance has shown us its counters
    changed_at: float | None = None  # the last look at which nothing stood still
    worked_at: float | None = None  # the last look at which work was under way and moved
    silent_since: float | None = None  # counters that should be readable are not
    standing_since: float | None = None  # work is under way and counters do not move

    cpu_idle_since: float | None = None  # every sample since then showed nothing
    cpu_burned: bool | None = None  # what the last sample showed; None: not asked since the last progress

    canary_since: float | None = None  # one is on its way
    canary_attempt: int = 0
    unanswered_since: float | None = None  # an earlier one was sent then and let go, and none was answered since
    canary_ended_at: float | None = None
    answered_at: float | None = None  # the last good answer of this instance
    first_token_s: float | None = None
    last_reply: Reply | None = None  # of the last canary
    last_detail: str = ""
    refusals: int = 0  # in a row, by any probe
    refused_since: float | None = None  # the first of them
    failures: int = 0  # bad answers in a row

    is_asleep: bool = False  # it said so at the last look
    blind_detail: str = ""  # we ourselves could not look; empty: we can

    @property
    def is_working(self) -> bool:
        """Whether any slot had a request at the last readable look."""
        return any(slot.busy for slot in self.slots)

    @property
    def is_saturated(self) -> bool:
        """Whether every slot had a request at the last readable look."""
        return bool(self.slots) and all(slot.busy for slot in self.slots)

    @property
    def waiting_since(self) -> float | None:
        """When the first canary was sent that has not been answered; one that was let go counts on."""
        return self.canary_since if self.unanswered_since is None else self.unanswered_since

    @property
    def is_moving(self) -> bool:
        """Whether the last look saw work under way and moving."""
        return self.is_working and self.silent_since is None and self.standing_since is None

    @property
    def has_proven_itself(self) -> bool:
        """Whether this instance has ever answered or been seen at work: its startup is over."""
        return self.answered_at is not None or self.worked_at is not None

    @property
    def last_proof_at(self) -> float | None:
        """When inference was last proven, by an answer or by slots that moved; idle slots prove nothing."""
        proofs = [at for at in (self.answered_at, self.worked_at) if at is not None]
        return max(proofs, default=None)


def new_life(evidence: Evidence, *, instance: str | None, started_at: float, now: float) -> Evidence:
    """Forget everything about the last instance; attempts go on counting so that late answers are told apart."""
    return Evidence(
        seen_at=now,
        instance=instance,
        started_at=started_at,
        engine=evidence.engine,
        canary_attempt=evidence.canary_attempt,
        old_instance=evidence.old_instance,
    )


def end_life(evidence: Evidence, *, now: float) -> Evidence:
    """Mark the present instance as ended by us: until another is seen, nothing is judged."""
    old = evidence.instance if evidence.instance is not None else evidence.old_instance
    return replace(new_life(evidence, instance=None, started_at=now, now=now), engine=None, old_instance=old)


def take(evidence: Evidence, seen: Observation, *, now: float, cpu_idle_share: float) -> Evidence:
    """Return what is known after `seen`; an observation of another instance changes nothing."""
    match seen:
        case EngineSeen():
            return _take_engine(evidence, seen, now=now)
        case EngineSilent():
            return replace(evidence, engine_detail=seen.detail)
        case ProgressSeen() | CpuSeen() | CanarySent() | CanaryEnded() if seen.instance != evidence.instance:
            return evidence
        case ProgressSeen():
            return _take_progress(evidence, seen, now=now)
        case CpuSeen():
            return _take_cpu(evidence, seen, now=now, cpu_idle_share=cpu_idle_share)
        case CanarySent():
            return _take_sending(evidence, seen, now=now)
        case CanaryEnded():
            return _take_canary(evidence, seen, now=now)


def forgive(evidence: Evidence, *, now: float) -> Evidence:
    """Start every measure of silence anew: we ourselves stood still, so the gap says nothing about the target."""
    return replace(
        evidence,
        seen_at=now,
        silent_since=now if evidence.silent_since is not None else None,
        standing_since=now if evidence.standing_since is not None else None,
        canary_since=now if evidence.canary_since is not None else None,
        unanswered_since=now if evidence.unanswered_since is not None else None,
        loading_since=now if evidence.loading_since is not None else None,
        cpu_idle_since=None,
        cpu_burned=None,
        refusals=0,
        refused_since=None,
    )


def _take_engine(evidence: Evidence, seen: EngineSeen, *, now: float) -> Evidence:
    known = replace(evidence, engine=seen, engine_detail="")
    if evidence.engine is not None and evidence.engine.life is Life.PAUSED and seen.life is Life.RUNNING:
        known = forgive(known, now=now)  # what it could not do while it was paused is not held against it
    if seen.life is not Life.RUNNING or seen.instance in (known.instance, known.old_instance):
        return known
    return new_life(known, instance=seen.instance, started_at=now - (seen.age_s or 0.0), now=now)


def _take_progress(evidence: Evidence, seen: ProgressSeen, *, now: float) -> Evidence:
    if seen.reply is Reply.NOT_RUN:
        return replace(evidence, blind_detail=seen.detail or BLIND)
    before = replace(
        evidence,
        blind_detail="",
        is_asleep=seen.reply is Reply.ASLEEP,
        loading_since=_loading_since(evidence, seen.reply, now=now),
    )
    if seen.reply is Reply.ANSWERED:
        return _take_slots(before, seen.slots, now=now)
    before = _count_refusal(before, seen.reply, now=now)
    if seen.reply in (Reply.SILENT, Reply.RESET, Reply.REFUSED):
        since = now - seen.took_s if evidence.silent_since is None else evidence.silent_since
        return replace(before, silent_since=since, standing_since=None)
    # Asleep, loading, no such endpoint, no leave to ask, not slots at all: it spoke, and told nothing of progress.
    return replace(before, silent_since=None, standing_since=None, slots=())


def _count_refusal(evidence: Evidence, reply: Reply, *, now: float) -> Evidence:
    if reply not in UNREACHED:
        return replace(evidence, refusals=0, refused_since=None)
    since = now if evidence.refused_since is None else evidence.refused_since
    return replace(evidence, refusals=evidence.refusals + 1, refused_since=since)


def _take_slots(evidence: Evidence, slots: tuple[Slot, ...], *, now: float) -> Evidence:
    leaked = evidence.leaked.intersection(slots)
    alive = [slot for slot in slots if slot not in leaked]
    at_work = any(slot.busy for slot in alive)
    unchanged = alive == [slot for slot in evidence.slots if slot not in leaked]
    stands = at_work and unchanged
    moved = at_work and bool(evidence.slots) and not unchanged
    evidence = replace(
        evidence,
        slots=slots,
        leaked=leaked,
        refusals=0,
        refused_since=None,
        silent_since=None,
        readable_ever=True,
        worked_at=now if moved else evidence.worked_at,
        unanswered_since=None if moved else evidence.unanswered_since,
        standing_since=(evidence.standing_since or evidence.changed_at or now) if stands else None,
        changed_at=evidence.changed_at if stands else now,
    )
    # Idle slots end a spell of silence, unless a canary is out there that none of them has taken up.
    return _still_cpu(evidence) if moved or (not at_work and evidence.canary_since is None) else evidence


def _take_cpu(evidence: Evidence, seen: CpuSeen, *, now: float, cpu_idle_share: float) -> Evidence:
    if seen.burned_s / seen.over_s >= cpu_idle_share:
        return replace(evidence, cpu_burned=True, cpu_idle_since=None)
    since = now - seen.over_s if evidence.cpu_idle_since is None else evidence.cpu_idle_since
    return replace(evidence, cpu_burned=False, cpu_idle_since=since)


def _take_sending(evidence: Evidence, seen: CanarySent, *, now: float) -> Evidence:
    sent = replace(evidence, canary_since=now, canary_attempt=seen.attempt)
    in_a_spell = evidence.silent_since is not None or evidence.standing_since is not None
    return sent if in_a_spell else _still_cpu(sent)


def _take_canary(evidence: Evidence, seen: CanaryEnded, *, now: float) -> Evidence:
    if seen.attempt != evidence.canary_attempt:
        return evidence
    if seen.reply is Reply.NOT_RUN:
        return replace(evidence, canary_since=None, canary_ended_at=now, blind_detail=seen.detail or BLIND)
    ended = replace(
        evidence,
        canary_since=None,
        canary_ended_at=now,
        last_reply=seen.reply,
        last_detail=seen.detail,
        blind_detail="",
        loading_since=_loading_since(evidence, seen.reply, now=now),
        failures=evidence.failures + 1 if seen.reply in BAD else 0,
        unanswered_since=evidence.waiting_since if seen.reply is Reply.SILENT else None,
    )
    ended = _count_refusal(ended, seen.reply, now=now)
    if seen.reply not in GOOD:
        return ended
    stood = {slot for slot in evidence.slots if slot.busy} if evidence.standing_since is not None else set()
    proven = replace(ended, answered_at=now, first_token_s=seen.first_token_s, leaked=evidence.leaked | stood)
    return _still_cpu(replace(proven, silent_since=None, standing_since=None, changed_at=now))


def _loading_since(evidence: Evidence, reply: Reply, *, now: float) -> float | None:
    if reply is not Reply.LOADING:
        return None
    return now if evidence.loading_since is None else evidence.loading_since


def _still_cpu(evidence: Evidence) -> Evidence:
    """Drop what CPU samples said: they count only within one spell without progress."""
    return replace(evidence, cpu_idle_since=None, cpu_burned=None)
