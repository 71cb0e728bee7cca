"""A planned stop lets whoever is being served be served to the end, and waits no longer than it may."""

from dataclasses import replace

import pytest

from supervisor.core.actions import Act
from supervisor.core.decide import SETTLED_S, decide, is_drained, wants_cpu
from supervisor.core.events import Asked, Drained, Judged, Verb
from supervisor.core.evidence import Evidence
from supervisor.core.liveness import summary
from supervisor.core.observations import Kind, Slot
from supervisor.core.policy import Policy
from supervisor.core.state import DRAINABLE, Phase, State, step
from supervisor.core.verdict import Judgement, Verdict
from tests.core.telling import READY, snapshot

POLICY = Policy()
SINCE = 1000.0
IDLE = Slot(id=0, busy=False, task=7, decoded=0, prefilled=0)
BUSY = Slot(id=0, busy=True, task=7, decoded=12, prefilled=0)


def asked(verb: Verb, phase: Phase = Phase.BUSY, *, drains: bool = True) -> State:
    before = State(phase=phase, since=SINCE - 60.0)
    return step(before, Asked(verb=verb, drains=drains), policy=POLICY, now=SINCE)


def judged(state: State, verdict: Verdict, *, at: float = SINCE + 1.0) -> State:
    judgement = Judgement(verdict=verdict, reason="Test", message="as the test says")
    return step(state, Judged(judgement=judgement), policy=POLICY, now=at)


def seen(*slots: Slot, looked_s: float = SETTLED_S, **known: object) -> Evidence:
    evidence = Evidence(seen_at=0.0, slots=slots, readable_ever=bool(slots), looked_at=SINCE + looked_s)
    return replace(evidence, **known)  # type: ignore[arg-type]


def drained(evidence: Evidence, *, after_s: float = 2.0) -> bool:
    return is_drained(evidence, since=SINCE, policy=POLICY, now=SINCE + after_s)


@pytest.mark.parametrize("phase", sorted(DRAINABLE))
@pytest.mark.parametrize("verb", [Verb.RESTART, Verb.STOP])
def test_one_that_may_be_serving_somebody_is_drained_first_and_not_routable_meanwhile(phase: Phase, verb: Verb) -> None:
    draining = asked(verb, phase)

    assert draining.phase is Phase.DRAINING
    assert not draining.phase.is_routable
    assert not [action for action in decide(State(since=0.0), draining, policy=POLICY) if isinstance(action, Act)]


@pytest.mark.parametrize("phase", sorted(set(Phase) - DRAINABLE - {Phase.RESTARTING, Phase.STOPPING}))
def test_one_that_serves_nobody_is_not_waited_for(phase: Phase) -> None:
    assert asked(Verb.RESTART, phase).phase is Phase.RESTARTING


def test_whoever_cannot_wait_says_so() -> None:
    assert asked(Verb.STOP, drains=False).phase is Phase.STOPPING


def test_a_start_drains_nobody() -> None:
    assert asked(Verb.START).phase is Phase.RESTARTING


@pytest.mark.parametrize(("verb", "phase"), [(Verb.RESTART, Phase.RESTARTING), (Verb.STOP, Phase.STOPPING)])
def test_once_drained_what_was_asked_for_is_done(verb: Verb, phase: Phase) -> None:
    draining = asked(verb)

    after = step(draining, Drained(), policy=POLICY, now=SINCE + 3.0)

    acts = [action for action in decide(draining, after, policy=POLICY) if isinstance(action, Act)]
    assert (after.phase, after.asked) == (phase, verb)
    assert [(act.verb, act.by_operator) for act in acts] == [(verb, True)]


@pytest.mark.parametrize("verdict", [Verdict.HUNG, Verdict.FAILING, Verdict.DOWN])
def test_one_that_hangs_meanwhile_is_waited_for_no_longer(verdict: Verdict) -> None:
    assert judged(asked(Verb.RESTART), verdict).phase is Phase.RESTARTING


@pytest.mark.parametrize("verdict", [Verdict.READY, Verdict.BUSY, Verdict.SUSPECT, Verdict.UNKNOWN, Verdict.WARMING])
def test_nothing_else_that_is_seen_ends_it(verdict: Verdict) -> None:
    draining = asked(Verb.RESTART)

    assert judged(draining, verdict) == draining


def test_one_that_somebody_stops_meanwhile_is_stopped_and_nothing_is_asked_any_more() -> None:
    stopped = judged(asked(Verb.RESTART), Verdict.STOPPED)

    assert (stopped.phase, stopped.asked) == (Phase.STOPPED, None)


def test_drained_means_nothing_where_nothing_drains() -> None:
    up = State(phase=Phase.UP, since=SINCE)

    assert step(up, Drained(), policy=POLICY, now=SINCE) == up


def test_idle_slots_seen_by_a_look_that_began_late_enough_are_drained() -> None:
    assert drained(seen(IDLE))
    assert not drained(seen(IDLE, looked_s=SETTLED_S - 0.1))


def test_a_slot_at_work_or_counters_that_are_silent_are_not() -> None:
    assert not drained(seen(IDLE, BUSY))
    assert not drained(seen(IDLE, silent_since=SINCE + 1.0))


def test_without_counters_idle_cpu_tells() -> None:
    idle = seen(cpu_idle_since=SINCE - 30.0, cpu_seen_at=SINCE + POLICY.tick_s)

    assert drained(idle)
    assert not drained(replace(idle, cpu_seen_at=SINCE + POLICY.tick_s - 0.1))
    assert not drained(replace(idle, cpu_idle_since=None))


def test_counters_that_may_be_left_over_are_not_asked() -> None:
    stale = seen(BUSY, kind=Kind.VLLM, cpu_idle_since=SINCE - 30.0, cpu_seen_at=SINCE + POLICY.tick_s)

    assert drained(stale)


def test_one_that_is_asleep_serves_nobody() -> None:
    assert drained(seen(is_asleep=True))


def test_it_is_waited_for_no_longer_than_the_limit() -> None:
    assert not drained(seen(BUSY), after_s=POLICY.drain_limit_s - 0.1)
    assert drained(seen(BUSY), after_s=POLICY.drain_limit_s)


def test_while_it_drains_its_cpu_is_asked_for() -> None:
    idle = seen(IDLE)

    assert wants_cpu(idle, policy=POLICY, now=SINCE + 1.0, is_draining=True)
    assert not wants_cpu(idle, policy=POLICY, now=SINCE + 1.0)


def test_the_status_line_says_what_is_waited_for() -> None:
    draining = asked(Verb.RESTART)

    assert summary(replace(snapshot(Phase.UP, READY), state=draining), now=SINCE) == (
        "restart asked for by the operator; whoever is being served may finish"
    )
