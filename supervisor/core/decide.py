"""Choose what to do: pure functions from what is known to ordered actions, and to what to ask next."""

from supervisor.core.actions import Act, Action, Announce, Record
from supervisor.core.events import Verb
from supervisor.core.evidence import Evidence
from supervisor.core.observations import Life, Reply
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State, transition
from supervisor.core.verdict import Verdict, quiet

# What a canary meets before its server is up; once the counters can be read, the next one need not wait.
NOT_YET_THERE = (Reply.REFUSED, Reply.RESET, Reply.LOADING)


def decide(before: State, after: State, *, policy: Policy) -> tuple[Action, ...]:
    """Return what follows from a step, in order: tell, write down, then do."""
    actions: list[Action] = []
    change = transition(before, after)
    if change or before.judgement != after.judgement:
        actions.append(Announce())
    if change:
        actions.append(Record(transition=change))
        if after.phase is Phase.RESTARTING:
            actions.append(_restart(after, policy=policy))
        if after.phase is Phase.STOPPING:
            actions.append(Act(verb=Verb.STOP, grace_s=policy.stop_grace_s, by_operator=True))
    return tuple(actions)


def _restart(state: State, *, policy: Policy) -> Act:
    hung = state.asked is None and state.judgement.verdict is Verdict.HUNG
    grace_s = policy.hung_grace_s if hung else policy.stop_grace_s
    return Act(verb=state.asked or Verb.RESTART, grace_s=grace_s, by_operator=state.asked is not None)


def wants_canary(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether a canary should be sent now.

    At most one is on its way, none wakes a sleeping server, and none is sent to one whose slots are all at work and
    moving: it would only queue behind its users. Otherwise one goes out for a first proof, on every doubt, and when
    proof has grown old.
    """
    if evidence.canary_since is not None or evidence.is_asleep or not can_be_asked(evidence):
        return False
    if evidence.is_saturated and evidence.is_moving:
        return False
    if not _may_ask_again(evidence, policy=policy, now=now):
        return False
    doubtful = evidence.last_reply not in (None, Reply.ANSWERED) or quiet(evidence, policy=policy, now=now) is not None
    if not evidence.has_proven_itself or doubtful:
        return True
    proof_at = evidence.last_proof_at
    return proof_at is None or now - proof_at >= policy.canary_every_s


def _may_ask_again(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether the last canary is long enough ago, or its server has come up since."""
    ended_at = evidence.canary_ended_at
    if ended_at is None or now - ended_at >= policy.canary_retry_s:
        return True
    was_read_since = bool(evidence.slots) and evidence.changed_at is not None and evidence.changed_at > ended_at
    return was_read_since and evidence.last_reply in NOT_YET_THERE


def wants_cpu(evidence: Evidence, *, policy: Policy, now: float) -> bool:
    """Whether a look should ask the engine for CPU time too: while work is under way, or once something is overdue.

    A slot at work may stand still for minutes in a long prefill; what its CPU did meanwhile must be known by then, or
    every long prompt would be suspected first.
    """
    return evidence.is_working or quiet(evidence, policy=policy, now=now) is not None


def look_every_s(phase: Phase, *, policy: Policy) -> float:
    """Return how often to look at a target in this phase: closer and faster while in doubt."""
    match phase:
        case Phase.STARTING | Phase.RESTARTING:
            return policy.starting_tick_s
        case Phase.SUSPECT | Phase.BACKOFF:
            return policy.close_tick_s
        case _:
            return policy.tick_s


def can_be_asked(evidence: Evidence) -> bool:
    """Whether there is a live instance to ask: not a stopped one, nor the one that we have just ended."""
    if evidence.engine is not None and evidence.engine.life is not Life.RUNNING:
        return False
    return evidence.instance is not None or evidence.old_instance is None
