"""A recording that is judged once more comes to what was done then, or to what another policy would have done."""

import json
from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.observations import EngineSeen, EngineSilent, Life, Observation, Reply, Slot
from supervisor.core.policy import Policy
from supervisor.core.recording import Belief, Entry, Recording, from_json, to_json
from supervisor.core.replay import Step, replay
from supervisor.core.state import Phase, State
from supervisor.core.verdict import Verdict
from tests.core.recorded import Recorded, record
from tests.core.test_properties import chaos, healthy, unrolled
from tests.core.timeline import (
    FROZEN_AT_WORK,
    FROZEN_IDLE,
    IDLE,
    KILLED,
    LIVELOCKED,
    NOW,
    TICK_S,
    WORKING,
    Moment,
)

POLICY = Policy()
READ_AT = 1e6
HOUR_S = 3600.0
FAILING = Moment(canary=Reply.FAILED)
LOADING = Moment(counters=Reply.LOADING, canary=Reply.LOADING)


def reread(world: Recorded) -> Recording:
    """Return the recording as another program reads it from a file."""
    return from_json(json.loads(json.dumps(to_json(world.recording, now=world.until))), now=READ_AT)


def restarts(steps: tuple[Step, ...]) -> list[float]:
    """Return when it would have been restarted."""
    return [step.at_s for step in steps if step.restarts]


def phases(steps: tuple[Step, ...]) -> list[tuple[float, Phase]]:
    """Return each change of phase and when it came."""
    return [(step.at_s, step.after) for step in steps if step.after is not step.before]


# --- by the same policy -----------------------------------------------------------------------------------------------


@given(chaos)
def test_by_the_same_policy_it_comes_to_the_same_restart_or_to_none(spells: list[Any]) -> None:
    world = record([IDLE, *unrolled(spells)])

    told = [replay(world.recording, policy=POLICY), replay(reread(world), policy=POLICY, until=READ_AT)]

    for steps in told:
        assert len(restarts(steps)) == len(world.restarted_at)
        assert all(abs(at_s + world.until - world.restarted_at[0]) <= TICK_S for at_s in restarts(steps))


@given(healthy, st.sampled_from([FROZEN_IDLE, FROZEN_AT_WORK, KILLED]))
def test_however_long_it_was_well_before_it_comes_to_the_same(spells: list[Any], fault: Moment) -> None:
    world = record([IDLE, *unrolled(spells)[:250], WORKING, *[fault] * 12])

    steps = replay(reread(world), policy=POLICY)

    assert len(world.restarted_at) == 1
    assert restarts(steps) == [0.0]


def test_what_lasted_for_longer_than_is_recorded_comes_to_the_same_too() -> None:
    world = record([IDLE, WORKING, *[LIVELOCKED] * 700])

    assert world.until - world.recording.entries[0].at < POLICY.prefill_limit_s
    assert restarts(replay(reread(world), policy=POLICY)) == [0.0]


def test_the_phases_on_the_way_are_those_that_were_believed_then() -> None:
    world = record([*[IDLE] * 20, *[FROZEN_IDLE] * 10])

    steps = replay(reread(world), policy=POLICY)

    assert phases(steps) == [(-28.0, Phase.UP), (-8.0, Phase.SUSPECT), (0.0, Phase.RESTARTING)]
    assert steps[-1] == Step(
        at_s=0.0,
        before=Phase.SUSPECT,
        after=Phase.RESTARTING,
        verdict=Verdict.HUNG,
        reason="CountersSilent",
        message="counters silent, cpu idle",
        restarts=True,
    )


def test_a_second_restart_waits_for_its_backoff_as_it_did_then() -> None:
    world = record([*[IDLE] * 20, *[KILLED] * 3])
    last = world.until - 4.0
    begun = world.recording.entries[0].before
    assert begun is not None
    again = replace(begun, state=replace(begun.state, restarts=(last,), in_a_row=1))
    first, *rest = world.recording.entries
    recording = Recording(entries=(replace(first, before=again), *rest))

    steps = replay(recording, policy=POLICY, onward_s=60.0)

    assert [(each.at_s, each.restarts) for each in steps][-2:] == [(0.0, False), (6.0, True)]


def test_what_only_time_brought_about_is_judged_too() -> None:
    entries = (Entry(at=NOW, seen=EngineSeen(life=Life.RUNNING, instance="one", age_s=0.0)),)

    steps = replay(Recording(entries=entries), policy=POLICY, until=NOW + 1000.0)

    assert [(each.at_s, each.after, each.reason) for each in steps] == [
        (-1000.0, Phase.STARTING, "Starting"),
        (-700.0, Phase.STARTING, "NotYetKnown"),
    ]


def test_without_a_belief_it_begins_with_nothing_known() -> None:
    world = record([*[IDLE] * 5, *[FROZEN_IDLE] * 10])
    first, *rest = world.recording.entries
    recording = Recording(entries=(replace(first, before=None), *rest))

    assert restarts(replay(recording, policy=POLICY)) == [0.0]


def test_how_it_began_is_told_even_where_nothing_changes_afterwards() -> None:
    world = record([*[IDLE] * 5, *[FROZEN_IDLE] * 5])
    *_, last = world.recording.entries
    belief = Belief(evidence=world.evidence, state=world.state, baseline=world.baseline)
    recording = Recording(entries=(replace(last, before=belief),))

    steps = replay(recording, policy=POLICY)

    assert [(step.before, step.after, step.reason) for step in steps] == [
        (Phase.SUSPECT, Phase.SUSPECT, "CountersSilent")
    ]


def test_an_empty_recording_tells_nothing() -> None:
    assert replay(Recording(), policy=POLICY) == ()


def test_one_that_we_may_only_watch_is_not_restarted() -> None:
    world = Recorded(state=State(since=NOW, restartable=False))
    world.play([*[IDLE] * 5, *[FROZEN_IDLE] * 10])

    steps = replay(reread(world), policy=POLICY, onward_s=60.0)

    assert steps[-1].after is Phase.FAILED
    assert restarts(steps) == []


# --- by another -------------------------------------------------------------------------------------------------------


def test_a_hang_is_restarted_later_by_a_policy_that_is_more_patient() -> None:
    world = record([*[IDLE] * 20, *[FROZEN_IDLE] * 10])

    steps = replay(reread(world), policy=Policy(hung_after_s=20.0), onward_s=HOUR_S)

    assert restarts(steps) == [12.0]


def test_without_going_on_one_that_is_more_patient_has_not_restarted_it_yet() -> None:
    world = record([*[IDLE] * 20, *[FROZEN_IDLE] * 10])

    steps = replay(reread(world), policy=Policy(hung_after_s=20.0))

    assert phases(steps)[-1] == (-8.0, Phase.SUSPECT)
    assert restarts(steps) == []


def test_a_hang_is_restarted_earlier_by_a_policy_that_is_less_patient_and_nothing_after_that_is_told() -> None:
    world = record([*[IDLE] * 20, *[FROZEN_IDLE] * 10])

    steps = replay(reread(world), policy=Policy(hung_after_s=3.0), onward_s=HOUR_S)

    assert restarts(steps) == [-5.0]
    assert steps[-1].restarts


def test_a_batch_that_took_long_is_restarted_by_a_policy_that_does_not_wait_for_it() -> None:
    stalled = replace(WORKING, decoded=0)
    world = record([IDLE, WORKING, WORKING, *[stalled] * 100, *[WORKING] * 5])

    assert restarts(replay(reread(world), policy=POLICY)) == []
    assert restarts(replay(reread(world), policy=Policy(stall_after_s=30.0, confirm_s=20.0))) == [-55.0]


def test_a_livelock_is_borne_by_a_policy_that_gives_it_longer_and_then_restarted() -> None:
    world = record([IDLE, WORKING, *[LIVELOCKED] * 700])

    steps = replay(reread(world), policy=Policy(prefill_limit_s=900.0), onward_s=HOUR_S)

    assert restarts(steps) == [300.0]


def test_bad_answers_go_on_until_there_are_as_many_as_it_takes() -> None:
    world = record([*[IDLE] * 20, *[FAILING] * 40])

    assert world.restarted_at
    assert restarts(replay(reread(world), policy=Policy(failure_threshold=5), onward_s=HOUR_S)) == [4.0]


def test_a_slow_start_is_given_up_by_a_policy_that_does_not_wait_for_it() -> None:
    world = record([*[LOADING] * 100, *[IDLE] * 3])

    assert restarts(replay(reread(world), policy=POLICY, onward_s=HOUR_S)) == []
    assert restarts(replay(reread(world), policy=Policy(startup_limit_s=60.0))) == [-42.0]


def test_what_was_well_at_the_end_is_not_taken_to_go_on() -> None:
    world = record([*[IDLE] * 5, *[FROZEN_IDLE] * 5, *[IDLE] * 5])

    steps = replay(reread(world), policy=POLICY, onward_s=HOUR_S)

    assert steps[-1].at_s <= 0.0
    assert steps[-1].after is Phase.UP


def test_what_was_learned_before_still_holds() -> None:
    stalled = replace(WORKING, decoded=0)
    batches = [WORKING, *[stalled] * 150, WORKING]
    world = record([IDLE, WORKING, *batches, *[stalled] * 320])

    steps = replay(reread(world), policy=Policy(stall_after_s=30.0), onward_s=HOUR_S)

    # Twice the longest batch, and the time to confirm.
    assert world.baseline.gaps_s == (151.0,)
    assert restarts(steps) == [2 * 151.0 + POLICY.confirm_s - 320.0]


@pytest.mark.parametrize("pace_s", [0.0, 1e-9])
def test_a_replay_ends_whatever_pace_it_is_asked_for(pace_s: float) -> None:
    restless = Policy(tick_s=pace_s, close_tick_s=pace_s, starting_tick_s=pace_s)
    entries = (Entry(at=NOW, seen=EngineSilent(detail="")), Entry(at=NOW + 10, seen=EngineSilent(detail="")))

    steps = replay(Recording(entries=entries), policy=restless)

    assert [(step.at_s, step.after) for step in steps] == [(-10.0, Phase.UNKNOWN)]


# --- whatever there is ------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
numbers = st.sampled_from([0, 1, 3, -1, 0.5, 1e-300, 1e7, -1e7, 2**52, -(2**52)])
words = st.sampled_from([*Reply, *Life, *Phase, *Verdict, "one", "llama.cpp"])
slots = st.fixed_dictionaries({each.name: numbers | st.booleans() for each in fields(Slot)})
likely = st.one_of(numbers, words, st.booleans(), st.none(), st.lists(slots, max_size=3), values)


def told(kind: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return what may stand where something of that kind is expected."""
    return st.fixed_dictionaries({}, optional={each.name: likely for each in fields(kind)})


entries = st.one_of(
    *[
        st.tuples(st.just({"seen": kind.__name__}), st.fixed_dictionaries({"at_s": st.floats(-30, 0)}), told(kind)).map(
            lambda parts: {**parts[0], **parts[2], **parts[1]}
        )
        for kind in get_args(Observation)
    ]
)
beliefs = st.tuples(told(fields(Belief)[0].type), told(State)).map(  # type: ignore[arg-type]
    lambda parts: {"before": {"evidence": {"seen_at": -50, **parts[0]}, "state": {"since": -50, **parts[1]}}}
)


@given(values)
def test_any_json_whatever_can_be_read_and_replayed(told: Any) -> None:
    replay(from_json(told, now=READ_AT), policy=POLICY, until=READ_AT, onward_s=60.0)


@given(beliefs | st.just({}), st.lists(entries, max_size=12))
def test_anything_that_looks_like_a_recording_can_be_replayed(first: dict[str, Any], rest: list[Any]) -> None:
    replay(from_json([first, *rest], now=READ_AT), policy=POLICY, until=READ_AT, onward_s=60.0)
