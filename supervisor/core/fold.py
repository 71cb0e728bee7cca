"""Fold observations into what we know about a target's present life: bookkeeping, and no opinion.

Pure: it remembers what was seen and when; `verdict.py` says what that means. Every time is monotonic seconds, given as
an argument.
"""

from dataclasses import replace

from supervisor.core.evidence import LATELY, STILLBORN, Evidence
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
    TrafficSeen,
)
from supervisor.core.policy import Policy

GOOD = frozenset({Reply.ANSWERED})
# The server spoke, so it lives; whether it can infer is another question.
UNREACHED = frozenset({Reply.REFUSED, Reply.RESET})
UNHEARD = frozenset({Reply.SILENT, *UNREACHED})
BLIND = "for a reason we do not know"
BAD = frozenset({Reply.FAILED, Reply.INVALID})
TURNED_ROUND_S = 5.0  # counters silent for so long, and then there again: the loop that answers them has come round
LONE_BURST_S = 0.15  # of CPU: what a health check burns that runs in its server's container
LONE_EVERY_S = 4.0  # more often than this, it is work
UNMEASURED_S = 5.0  # between two samples; after more, idleness is measured anew
STILL_UP_S = 5.0  # counters read so lately: a connection that breaks is no server that is gone


def new_life(evidence: Evidence, *, instance: str | None, started_at: float, now: float) -> Evidence:
    """Forget everything about the last instance; attempts go on counting so that late answers are told apart."""
    return Evidence(
        seen_at=now,
        relays=evidence.relays,
        instance=instance,
        started_at=started_at,
        engine=evidence.engine,
        engine_at=evidence.engine_at,
        canary_attempt=evidence.canary_attempt,
        old_instance=evidence.old_instance,
        has_slept=evidence.has_slept,
        stillborn=0 if evidence.has_proven_itself else evidence.stillborn + (evidence.instance is not None),
        is_looping=evidence.is_looping and not evidence.has_proven_itself,
    )


def end_life(evidence: Evidence, *, now: float) -> Evidence:
    """Mark the present instance as ended by us: until another is seen, nothing is judged."""
    old = evidence.instance if evidence.instance is not None else evidence.old_instance
    return replace(new_life(evidence, instance=None, started_at=now, now=now), engine=None, old_instance=old)


def ease(evidence: Evidence, *, policy: Policy, now: float) -> Evidence:
    """Begin anew with the same instance: its model was ended alone, and has so long to show that this has helped."""
    began_at = now - max(0.0, policy.startup_limit_s - policy.ease_proof_s)
    return replace(new_life(evidence, instance=evidence.instance, started_at=began_at, now=now), engine=None)


def take(evidence: Evidence, seen: Observation, *, policy: Policy, now: float) -> Evidence:
    """Return what is known after `seen`; an observation of another instance changes nothing."""
    match seen:
        case EngineSeen():
            return _take_engine(evidence, seen, now=now)
        case EngineSilent():
            return replace(evidence, engine_detail=seen.detail)
        case TrafficSeen():
            return _take_traffic(evidence, seen, now=now)
        case ProgressSeen() | CpuSeen() | CanarySent() | CanaryEnded() if seen.instance != evidence.instance:
            return evidence
        case ProgressSeen():
            return _take_progress(evidence, seen, policy=policy, now=now)
        case CpuSeen():
            return _take_cpu(evidence, seen, policy=policy, now=now)
        case CanarySent():
            return _take_sending(evidence, seen, now=now)
        case CanaryEnded():
            return _take_canary(evidence, seen, now=now)


def is_awaited(evidence: Evidence, seen: CanaryEnded) -> bool:
    """Whether this is the end of the canary that is out, and not of one to an earlier life."""
    return seen.instance == evidence.instance and seen.attempt == evidence.canary_attempt


def forgive(evidence: Evidence, *, now: float, detail: str = "") -> Evidence:
    """Start every measure of silence anew: we ourselves stood still, so the gap says nothing about the target.

    With `detail`, we are blind for that reason until the next look.
    """
    return replace(
        evidence,
        seen_at=now,
        silent_since=now if evidence.silent_since is not None else None,
        standing_since=now if evidence.standing_since is not None else None,
        canary_since=now if evidence.canary_since is not None else None,
        unanswered_since=now if evidence.unanswered_since is not None else None,
        loading_since=now if evidence.loading_since is not None else None,
        idle_since=now if evidence.idle_since is not None else None,
        changed_at=now if evidence.changed_at is not None else None,
        burning_since=None,
        cpu_idle_since=None,
        cpu_burned=None,
        burned_s=0.0,
        measured_s=0.0,
        refusals=0,
        refused_since=None,
        blind_detail=detail or evidence.blind_detail,
    )


def _take_engine(evidence: Evidence, seen: EngineSeen, *, now: float) -> Evidence:
    stillborn = evidence.stillborn >= STILLBORN and not evidence.has_proven_itself
    loops = evidence.is_looping or (stillborn and seen.life is Life.RESTARTING)
    known = replace(evidence, engine=seen, engine_at=now, engine_detail="", is_looping=loops)
    if evidence.engine is not None and evidence.engine.life is Life.PAUSED and seen.life is Life.RUNNING:
        known = forgive(known, now=now)  # what it could not do while it was paused is not held against it
    if seen.instance in (None, known.instance, known.old_instance):
        return known
    had_a_life = evidence.instance is not None or evidence.old_instance is not None
    if seen.life is Life.EXITED and had_a_life:
        return new_life(known, instance=seen.instance, started_at=now, now=now)  # it lived for too short to be seen
    if seen.life is not Life.RUNNING:
        return known
    age_s = seen.age_s or 0.0
    if had_a_life:
        # It began after we saw its predecessor, whatever a wall clock that was set says.
        age_s = min(age_s, now - evidence.seen_at)
    return new_life(known, instance=seen.instance, started_at=now - age_s, now=now)


def _take_traffic(evidence: Evidence, seen: TrafficSeen, *, now: float) -> Evidence:
    at = now - seen.age_s
    known_until = (evidence.traffic_ok_at if seen.ok else evidence.last_proof_at) or 0.0
    if seen.instance not in (None, evidence.instance) or at < max(evidence.seen_at, known_until):
        return evidence  # of another life, or older than what is known
    if not seen.ok:
        return replace(
            evidence,
            traffic_failed_at=at,
            traffic_failures=evidence.traffic_failures + 1,
            traffic_detail=seen.detail,
        )
    evidence = replace(evidence, traffic_ok_at=at, traffic_first_token_s=seen.first_token_s)
    proven = replace(evidence, served_at=max(at, evidence.served_at or at), failures=0)
    began_at = min(_known(proven.silent_since, proven.standing_since, proven.unanswered_since), default=at)
    return _proven(proven, now=now) if began_at < at else replace(proven, traffic_failures=0, traffic_detail="")


def _take_progress(evidence: Evidence, seen: ProgressSeen, *, policy: Policy, now: float) -> Evidence:
    if seen.reply is Reply.NOT_RUN:
        return replace(evidence, blind_detail=seen.detail or BLIND)
    is_asleep = seen.reply is Reply.ASLEEP
    before = replace(
        evidence,
        blind_detail="",
        kind=seen.kind or evidence.kind,
        queued=seen.queued,
        is_asleep=is_asleep,
        has_slept=evidence.has_slept or seen.sleeps,
        closely_at=evidence.closely_at if seen.gently and not is_asleep else now,
        loading_since=_loading_since(evidence, seen.reply, now=now),
    )
    if seen.reply is Reply.ANSWERED:
        return _take_slots(before, seen, policy=policy, now=now)
    before = _count_refusal(before, seen.reply, now=now)
    if seen.reply in UNHEARD:
        since = now - seen.took_s if evidence.silent_since is None else evidence.silent_since
        return replace(before, silent_since=since, idle_since=None)
    # Asleep, loading, no such endpoint, no leave to ask, not slots at all: it spoke, and told nothing of progress.
    return replace(before, silent_since=None, standing_since=None, idle_since=None, slots=())


def _count_refusal(evidence: Evidence, reply: Reply, *, now: float) -> Evidence:
    if reply not in UNREACHED:
        return replace(evidence, refusals=0, refused_since=None)
    since = now if evidence.refused_since is None else evidence.refused_since
    return replace(evidence, refusals=evidence.refusals + 1, refused_since=since)


def _take_slots(evidence: Evidence, seen: ProgressSeen, *, policy: Policy, now: float) -> Evidence:
    slots = seen.slots
    still = _still_at_work(evidence, slots, now=now)
    leaked = evidence.leaked.intersection(slots)
    if len(still) < len(slots) and evidence.slots != slots:
        # Others come and go, or move; one that has stood all the while will not.
        leaked |= {slot for slot, since in still if now - since >= policy.stall_after_s}
    alive = [slot for slot in slots if slot not in leaked]
    at_work = any(slot.busy for slot in alive)
    before = {slot.id: slot for slot in evidence.slots if slot not in leaked}
    # Slots by another name were read elsewhere, by a gentler look, and cannot be compared.
    unchanged = {slot.id: slot for slot in alive} == before
    pairs = [(before[slot.id], slot) for slot in alive if slot.id in before]
    moved = any(_has_moved(*pair) for pair in pairs)
    touched = sum(_was_touched(*pair) for pair in pairs)
    is_served = touched > _may_be_our_own(evidence)
    came_round = at_work and unchanged and _has_come_round(evidence, now=now)
    stands = at_work and unchanged and not came_round
    evidence = replace(
        evidence,
        slots=slots,
        leaked=leaked,
        leaked_since=(evidence.leaked_since or now) if leaked else None,
        still=still,
        refusals=0,
        refused_since=None,
        silent_since=None,
        readable_ever=True,
        looked_at=now - seen.took_s,
        idle_since=None if at_work else now if evidence.idle_since is None else evidence.idle_since,
        worked_at=now if moved else evidence.worked_at,
        served_at=now if is_served else evidence.served_at,
        unanswered_since=None if moved else evidence.unanswered_since,
        answers=evidence.answers + moved,
        traffic_failures=0 if moved else evidence.traffic_failures,
        standing_since=(evidence.standing_since or evidence.changed_at or now) if stands else None,
        changed_at=evidence.changed_at if stands else now,
    )
    # Idle slots end a spell of silence, unless a canary is out there that none of them has taken up.
    ends = moved or came_round or (not at_work and evidence.canary_since is None)
    return _still_cpu(evidence) if ends else evidence


def _still_at_work(evidence: Evidence, slots: tuple[Slot, ...], *, now: float) -> tuple[tuple[Slot, float], ...]:
    """Return the slots at work that are as they were, each with the time since when."""
    known = dict(evidence.still)
    before = set(evidence.slots)
    return tuple((slot, known.get(slot, now)) for slot in slots if slot.busy and slot in before)


def _has_moved(before: Slot, after: Slot) -> bool:
    """Whether a slot has inferred anything between two looks; that another request has taken it proves nothing yet."""
    if before.task == after.task and (before.busy or after.task is None):
        counts = (before.decoded, before.prefilled, before.drafted)
        return after.busy and (after.decoded, after.prefilled, after.drafted) > counts
    # What failed inside leaves nothing in the cache.
    return after.decoded > 0 if after.busy else before.task != after.task and bool(after.cached)


def _was_touched(before: Slot, after: Slot) -> bool:
    """Whether anybody's request has been served by a slot between two looks, or may have been."""
    if after.busy:
        return _has_moved(before, after)
    return before.task != after.task and after.cached != 0


def _may_be_our_own(evidence: Evidence) -> bool:
    """Whether a slot at work, or one that has been since the last look, may only have had our canary."""
    ended_at, looked_at = evidence.canary_ended_at, evidence.looked_at
    return evidence.canary_since is not None or (ended_at is not None and (looked_at is None or ended_at > looked_at))


def _has_come_round(evidence: Evidence, *, now: float) -> bool:
    """Whether counters that are there again show that the loop behind them was at work all the time.

    Builds without a count of the prompt show the same after each batch of it, and nothing at all in its midst.
    """
    since = evidence.silent_since
    may_show_the_same = any(slot.is_reading and not slot.prefilled for slot in evidence.slots)
    was_silent = since is not None and now - since >= TURNED_ROUND_S
    return was_silent and may_show_the_same and bool(evidence.cpu_burned)


def _take_cpu(evidence: Evidence, seen: CpuSeen, *, policy: Policy, now: float) -> Evidence:
    gpu_share = seen.gpu_share or 0.0
    cpu_is_idle = seen.burned_s / seen.over_s < policy.cpu_idle_share
    works = not cpu_is_idle or gpu_share >= policy.gpu_idle_share or seen.waits_for_disk
    known = replace(
        evidence,
        gpu_share=seen.gpu_share,
        gpu_is_unknown=seen.gpu_is_unknown,
        waits_for_disk=seen.waits_for_disk,
        burned_s=evidence.burned_s + max(seen.burned_s, gpu_share * seen.over_s),
        measured_s=evidence.measured_s + seen.over_s,
        work_share=max(seen.burned_s / seen.over_s, gpu_share),
        cpu_seen_at=now,
    )
    if works:
        since = now - seen.over_s if evidence.burning_since is None else evidence.burning_since
        known = replace(known, burst_at=now, burning_since=since)
        is_more_than_cpu = gpu_share >= policy.gpu_idle_share or seen.waits_for_disk
        if _is_lone_burst(evidence, now=now) and seen.burned_s < LONE_BURST_S and not is_more_than_cpu:
            return known  # it stays idle
        return replace(known, cpu_burned=True, cpu_idle_since=None)
    if seen.gpu_is_unknown:
        return replace(known, cpu_burned=None, burning_since=None, cpu_idle_since=None)
    is_gap = evidence.cpu_seen_at is None or now - seen.over_s - evidence.cpu_seen_at > UNMEASURED_S
    since = now - seen.over_s if evidence.cpu_idle_since is None or is_gap else evidence.cpu_idle_since
    return replace(known, cpu_burned=False, burning_since=None, cpu_idle_since=since)


def _is_lone_burst(evidence: Evidence, *, now: float) -> bool:
    """Whether a burst of CPU stands alone: a health check in the container comes and goes, work goes on."""
    return evidence.cpu_burned is False and (evidence.burst_at is None or now - evidence.burst_at >= LONE_EVERY_S)


def _take_sending(evidence: Evidence, seen: CanarySent, *, now: float) -> Evidence:
    sent = replace(evidence, canary_since=now, canary_attempt=seen.attempt, is_alone=not evidence.is_working)
    in_a_spell = evidence.silent_since is not None or evidence.standing_since is not None
    return sent if in_a_spell else _still_cpu(sent)


def _take_canary(evidence: Evidence, seen: CanaryEnded, *, now: float) -> Evidence:
    if seen.attempt != evidence.canary_attempt:
        return evidence
    if seen.reply is Reply.NOT_RUN:
        return replace(evidence, canary_since=None, canary_ended_at=now, blind_detail=seen.detail or BLIND)
    # A router is held to what its backends answer directly: its silence is an answer too, and a bad one, and so is a
    # connection that it drops. Of what may be a backend's fault nothing is held against it, nor forgiven.
    is_bad = seen.reply in BAD or (evidence.relays and seen.reply in (Reply.SILENT, Reply.RESET))
    kept = evidence.failures if seen.reply is Reply.EXCUSED else 0
    waits_on = seen.reply is Reply.SILENT and not evidence.relays
    ended = replace(
        evidence,
        canary_since=None,
        canary_ended_at=now,
        last_reply=seen.reply,
        last_detail=seen.detail,
        blind_detail="",
        loading_since=_loading_since(evidence, seen.reply, now=now),
        failures=evidence.failures + 1 if is_bad else kept,
        answers=evidence.answers if seen.reply in GOOD else 0,
        unanswered_since=evidence.waiting_since if waits_on else None,
    )
    if seen.reply is Reply.RESET and evidence.relays:
        ended = _count_refusal(ended, Reply.FAILED, now=now)
    elif seen.reply is Reply.RESET and _is_still_up(evidence, now=now):
        ended = replace(ended, failures=evidence.failures + 1, last_detail=f"hung up on the canary: {seen.detail}")
    else:
        ended = _count_refusal(ended, seen.reply, now=now)
    if seen.reply not in GOOD:
        return ended
    lately_s = ended.lately_s
    if ended.is_alone and seen.first_token_s is not None:
        lately_s = (*lately_s, seen.first_token_s)[-LATELY:]
    return _proven(replace(ended, answered_at=now, first_token_s=seen.first_token_s, lately_s=lately_s), now=now)


def _is_still_up(evidence: Evidence, *, now: float) -> bool:
    looked_at = evidence.looked_at
    return evidence.silent_since is None and looked_at is not None and now - looked_at < STILL_UP_S


def _proven(evidence: Evidence, *, now: float) -> Evidence:
    """End every spell: somebody has had a whole answer. A slot that stands all the same says nothing of the rest."""
    has_slots = evidence.standing_since is not None and evidence.queued is None
    stood = {slot for slot in evidence.slots if slot.busy} if has_slots else set()
    if len(stood) == len(evidence.slots):
        stood = set()  # then it was one of them that answered
    leaked = evidence.leaked | stood
    proven = replace(
        evidence,
        leaked=leaked,
        leaked_since=(evidence.leaked_since or now) if leaked else None,
        silent_since=None,
        standing_since=None,
        unanswered_since=None,
        idle_since=None,
        changed_at=now,
        burning_since=None if evidence.burning_since is None else now,
        answers=evidence.answers + 1,
        traffic_failures=0,
        traffic_detail="",
    )
    return _still_cpu(proven)


def _known(*times: float | None) -> list[float]:
    return [at for at in times if at is not None]


def _loading_since(evidence: Evidence, reply: Reply, *, now: float) -> float | None:
    if reply is not Reply.LOADING:
        return None
    return now if evidence.loading_since is None else evidence.loading_since


def _still_cpu(evidence: Evidence) -> Evidence:
    """Drop what CPU samples said: they count only within one spell without progress."""
    return replace(evidence, cpu_idle_since=None, cpu_burned=None, burned_s=0.0, measured_s=0.0)
