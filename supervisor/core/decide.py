"""Choose what to do: pure functions from what is known to ordered actions, and to what to ask next."""

from enum import StrEnum

from supervisor.core.actions import Act, Action, Announce, Note, Record
from supervisor.core.events import Verb
from supervisor.core.evidence import Evidence
from supervisor.core.observations import Kind, Life, Reply, Slot
from supervisor.core.policy import Policy
from supervisor.core.state import NOT_NEEDED, Phase, State, transition
from supervisor.core.verdict import CUT_OFF_BY_PROBES, SIGNALLED, STALE_GAUGES, Verdict, is_left_to_work, quiet

# What a canary meets before its server is up; once the counters can be read, the next one need not wait.
NOT_YET_THERE = (Reply.REFUSED, Reply.RESET, Reply.LOADING)
# Their cache is one for all requests, and pages of it; a few tokens more push nobody's out.
SHARE_THEIR_CACHE = frozenset({Kind.VLLM, Kind.SGLANG, Kind.TGI})
SHOWS_WORK_SHARE = 0.05  # of a core; a question every two seconds costs a loaded machine up to a hundredth
NOT_MISSED = 64  # tokens; a canary takes about half of that, a conversation far more
SETTLED_S = 0.5  # routers have read the news by then, and what they had sent before has arrived
GONE = frozenset({Life.EXITED, Life.CREATED, Life.MISSING})
OVERSTAYED_TICKS = 2  # a server may need a moment to put its model away


class Hindrance(StrEnum):
    """Why no canary may be sent, in words for people."""

    NOT_RUNNING = "it does not run"
    BEING_ENDED = "it is being stopped or restarted"
    ASLEEP = "it is asleep, and a canary would wake it"
    BUSY = "every slot is at work, and a canary would only wait behind its users"
    MAY_CUT_OFF = "it may be at work, and a canary would cut that user off"
    NO_WAY = "nothing is worth asking it for at the moment: see why"


def decide(before: State, after: State, *, policy: Policy) -> tuple[Action, ...]:
    """Return what follows from a step, in order: tell, write down, then do."""
    actions: list[Action] = []
    change = transition(before, after)
    if change or before.judgement != after.judgement:
        actions.append(Announce())
    if change:
        actions.append(Record(transition=change))
        if after.phase is Phase.RESTARTING:
            actions.append(_restart(before, after, policy=policy))
        if after.phase is Phase.STOPPING:
            actions.append(_asked(after, Verb.STOP, policy=policy))
    if after.noted_at != before.noted_at:
        actions.append(Note(act=_restart(before, after, policy=policy)))
    return tuple(actions)


def _restart(before: State, state: State, *, policy: Policy) -> Act:
    if state.asked is not None:
        return _asked(state, state.asked, policy=policy)
    graces_s = {Verdict.HUNG: policy.hung_grace_s, Verdict.FAILING: policy.failing_grace_s}
    grace_s = graces_s.get(state.judgement.verdict, policy.stop_grace_s)
    # Whoever is tried out of FATAL was looked into before; this time the attempt itself will tell.
    insists = state.insists or before.phase is Phase.FAILED
    # Once, and then the whole server: other models live in it too.
    eases = state.judgement.verdict in graces_s and state.in_a_row == 1
    spends = state.judgement.reason != SIGNALLED
    return Act(verb=Verb.RESTART, grace_s=grace_s, by_operator=False, insists=insists, eases=eases, spends=spends)


def _asked(state: State, verb: Verb, *, policy: Policy) -> Act:
    return Act(verb=verb, grace_s=policy.stop_grace_s, by_operator=state.judgement.reason != NOT_NEEDED)


def wants_canary(
    evidence: Evidence, *, policy: Policy, now: float, is_well: bool = True, is_called: bool = False
) -> bool:
    """Whether a canary should be sent now.

    At most one is on its way, none wakes a sleeping server or keeps one up that is meant to sleep, and none is sent to
    one whose slots are all at work: it would only queue behind its users. Otherwise one goes out for a first proof, on
    every doubt that it could settle, a router's doubt too (`is_called`), while the target has yet to be well again, and
    when proof has grown old and no user is likely to come back.
    """
    if evidence.canary_since is not None or not can_be_asked(evidence):
        return False
    if evidence.is_asleep and evidence.traffic_failures < policy.failure_threshold:
        return False  # unless its users cannot wake it
    if _would_hurt(evidence, policy=policy, now=now) or not _may_ask_again(evidence, policy=policy, now=now):
        return False
    proof_at = evidence.last_proof_at
    if is_called or proof_at is None or not is_well or _can_settle_a_doubt(evidence, policy=policy, now=now):
        return True
    if evidence.sleeps_after_s is not None or _is_spared(evidence, policy=policy, now=now):
        return False
    return now - proof_at >= policy.canary_every_s


def hindrance(evidence: Evidence, *, policy: Policy, now: float, wakes: bool) -> Hindrance | None:
    """Return why no canary may be sent now although somebody asks for one; None: one may.

    What it costs a user's cache is for whoever asks to weigh. `wakes`: a sleeper may be woken.
    """
    if not can_be_asked(evidence):
        return Hindrance.NOT_RUNNING
    if evidence.is_asleep and not wakes:
        return Hindrance.ASLEEP
    if _would_hurt(evidence, policy=policy, now=now):
        return Hindrance.MAY_CUT_OFF if evidence.kind in CUT_OFF_BY_PROBES else Hindrance.BUSY
    return None


def is_in_doubt(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether anything speaks against it."""
    return _has_disappointed(evidence) or quiet(evidence, policy=policy, now=now) is not None


def _has_disappointed(evidence: Evidence) -> bool:
    return evidence.last_reply not in (None, Reply.ANSWERED, Reply.EXCUSED) or evidence.has_failed_users


def _can_settle_a_doubt(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether there is a doubt, and not merely a long prompt being read: a canary would wait until its end."""
    spell = quiet(evidence, policy=policy, now=now)
    if spell is None:
        answered_lately = evidence.last_reply is Reply.ANSWERED and not evidence.blind_detail
        if answered_lately and now - (evidence.answered_at or 0.0) < policy.canary_every_s:
            return False  # users may ask what nobody could answer, many times a second
        return _has_disappointed(evidence) or bool(evidence.blind_detail) or _may_be_stale(evidence)
    return not evidence.cpu_burned or now - spell.since >= policy.stall_after_s


def _is_spared(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether a user may come back to what the server keeps of the last request, which any canary would push out.

    Where users' requests prove nothing by themselves, that is no reason for ever.
    """
    if evidence.served_at is None or not keeps_a_conversation(evidence):
        return False
    return now - min(evidence.served_at, evidence.last_proof_at or 0.0) < policy.spare_s


def keeps_a_conversation(evidence: Evidence) -> bool:
    """Whether whatever is asked of the server next may push out what it keeps of a user's conversation."""
    return evidence.kind not in SHARE_THEIR_CACHE and not _has_a_slot_to_spare(evidence.slots)


def _would_hurt(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether a canary would take something from a user."""
    if evidence.kind in CUT_OFF_BY_PROBES:
        return _would_cut_off(evidence, policy=policy, now=now)
    if not evidence.is_saturated or evidence.silent_since is not None:
        return False
    if evidence.standing_since is not None:
        return not _may_be_stale(evidence)
    # Requests that come and go without a token of an answer keep the slots at work too.
    return now - (evidence.last_proof_at or evidence.seen_at) < policy.canary_every_s


def _would_cut_off(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether somebody may be being served who would lose the answer; none is where all of them fail."""
    if evidence.burning_since is not None:
        return is_left_to_work(evidence, policy=policy, now=now)
    if evidence.traffic_failures >= policy.failure_threshold:
        return False
    return evidence.cpu_idle_since is None or now - evidence.cpu_idle_since < policy.tick_s


def _may_be_stale(evidence: Evidence) -> bool:
    """Whether counters that stand may only be left over; a canary brings them up to date."""
    return evidence.kind in STALE_GAUGES and evidence.standing_since is not None


def _may_ask_again(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether the last canary is long enough ago, or its server has come up since."""
    ended_at = evidence.canary_ended_at
    # What a person must mend, or a restart that is not due yet, is not hurried by asking.
    is_known = evidence.last_reply in (Reply.DENIED, Reply.EXCUSED) or evidence.failures > policy.failure_threshold
    if ended_at is None or now - ended_at >= (policy.canary_every_s if is_known else policy.canary_retry_s):
        return True
    was_read_since = bool(evidence.slots) and evidence.changed_at is not None and evidence.changed_at > ended_at
    return was_read_since and evidence.last_reply in NOT_YET_THERE


def wants_cpu(evidence: Evidence, *, policy: Policy, now: float, is_draining: bool = False) -> bool:
    """Whether a look should ask the engine for CPU time too: while work is under way, or something is half overdue.

    A slot at work may stand still for minutes in a long prefill; what its CPU did meanwhile must be known by then, or
    every long prompt would be suspected first. Where nothing else may be asked, the CPU tells of work.
    """
    if is_draining:
        return True
    is_only_witness = evidence.kind in CUT_OFF_BY_PROBES or evidence.sleeps_after_s is not None
    if evidence.is_working or (is_only_witness and not evidence.is_asleep):
        return True
    if evidence.waiting_since is not None and now - evidence.waiting_since >= policy.canary_deadline_s / 2:
        return True  # without counters, a queue is told from a hang by this, the moment the canary is overdue
    return quiet(evidence, policy=policy, now=now) is not None


def looks_gently(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether a look must not keep the server from falling asleep: it is meant to, and nothing is known to be wrong.

    One that is at work is not kept up by being looked at. One that has been up and idle for longer than it should is
    looked at once: it may be hung, and if it is not, it has only been given as long again.
    """
    sleeps_after_s = evidence.sleeps_after_s
    if sleeps_after_s is None:
        return False
    if evidence.is_asleep:
        return True
    if evidence.is_working or _shows_work(evidence) or evidence.canary_since is not None:
        return False
    if is_in_doubt(evidence, policy=policy, now=now):
        return False
    awake_since = max(evidence.seen_at, evidence.closely_at or 0.0, evidence.last_proof_at or 0.0)
    return now - awake_since < sleeps_after_s + OVERSTAYED_TICKS * policy.tick_s


def look_every_s(phase: Phase, *, policy: Policy) -> float:
    """Return how often to look at a target in this phase: closer and faster while in doubt."""
    match phase:
        case Phase.STARTING | Phase.RESTARTING:
            return policy.starting_tick_s
        case Phase.SUSPECT | Phase.BACKOFF | Phase.DRAINING:
            return policy.close_tick_s
        case _:
            return policy.tick_s


def is_drained(evidence: Evidence, *, since: float, policy: Policy, now: float) -> bool:
    """Whether a target that has got nothing new since `since` serves nobody any more, or it took too long."""
    return now - since >= policy.drain_limit_s or serves_nobody(evidence, since=since, policy=policy)


def serves_nobody(evidence: Evidence, *, since: float, policy: Policy) -> bool:
    """Whether a target that has got nothing new since `since` is known to serve nobody any more.

    A look begun after that must have seen it: what had been sent just before takes a moment to arrive. Where there are
    no counters, idle CPU tells.
    """
    if evidence.is_asleep or (evidence.engine is not None and evidence.engine.life in GONE):
        return True
    if evidence.readable_ever and evidence.kind not in STALE_GAUGES:
        looked = evidence.looked_at is not None and evidence.looked_at - since >= SETTLED_S
        return looked and evidence.silent_since is None and not _is_working_for_others(evidence)
    idle_since = evidence.cpu_idle_since
    return (
        idle_since is not None
        and evidence.cpu_seen_at is not None
        and evidence.cpu_seen_at - max(idle_since, since) >= policy.tick_s
    )


def _is_working_for_others(evidence: Evidence) -> bool:
    """Whether the last look saw more slots at work than our own canary takes; where it takes the last, others wait."""
    is_out = evidence.canary_since is not None or (evidence.looked_at or 0.0) < (evidence.canary_ended_at or 0.0)
    ours = 1 if is_out and evidence.is_alone and _idle(evidence.slots) else 0
    return sum(slot.busy for slot in evidence.slots) > ours


def can_be_asked(evidence: Evidence) -> bool:
    """Whether there is a live instance to ask: not a stopped one, nor the one that we have just ended."""
    if evidence.engine is not None and evidence.engine.life is not Life.RUNNING:
        return False
    return evidence.instance is not None or evidence.old_instance is None


def _shows_work(evidence: Evidence) -> bool:
    """Whether it burns more CPU at the moment than our own questions cost it, however long it did nothing before."""
    return bool(evidence.cpu_burned) and evidence.work_share >= SHOWS_WORK_SHARE


def least_lost(slots: tuple[Slot, ...]) -> int | None:
    """Return the idle slot that a canary costs least: it keeps the fewest tokens; None where none is idle.

    What a gentle look shows as a slot is none.
    """
    idle = _idle(slots)
    return min(idle, key=lambda slot: (slot.cached or 0, slot.id)).id if idle else None


def _has_a_slot_to_spare(slots: tuple[Slot, ...]) -> bool:
    """Whether an idle slot keeps nothing that a user would miss: nothing at all, or our own last canary."""
    return any(slot.cached is not None and slot.cached <= NOT_MISSED for slot in _idle(slots))


def _idle(slots: tuple[Slot, ...]) -> list[Slot]:
    return [slot for slot in slots if not slot.busy and slot.id >= 0]
