"""What holds for every timeline, whatever the world does."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.actions import Act, Announce
from supervisor.core.events import Verb
from supervisor.core.observations import Life, Reply
from supervisor.core.policy import Policy
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase
from tests.core.timeline import (
    BLIND,
    FROZEN_AT_WORK,
    FROZEN_IDLE,
    IDLE,
    KILLED,
    LIVELOCKED,
    PREFILLING,
    STOPPED,
    TICK_S,
    WORKING,
    Moment,
    Played,
)

POLICY = Policy()
# In the midst of an answer: no prompt is being read, and one token never takes minutes.
SPINNING = Moment(decoded=0, canary=None, cpu_s=0.9)
# Two looks may pass before silence is seen for what it is.
SLACK_S = 2 * TICK_S

lengths = st.integers(min_value=1, max_value=40)
healthy = st.lists(
    st.one_of(
        st.tuples(st.just(IDLE), lengths),
        st.tuples(st.builds(lambda n: replace(WORKING, decoded=n), st.integers(1, 50)), lengths),
        # A long prefill: the counters stand, the CPU burns, and one batch ends before anyone loses patience.
        st.tuples(st.just(PREFILLING), st.integers(1, int(POLICY.stall_after_s + POLICY.confirm_s - SLACK_S))).map(
            lambda spell: (*spell, WORKING)
        ),
    ),
    max_size=4,
)
anything = st.builds(
    Moment,
    counters=st.sampled_from(Reply),
    decoded=st.one_of(st.none(), st.integers(0, 3)),
    canary=st.one_of(st.none(), st.sampled_from(Reply)),
    cpu_s=st.one_of(st.none(), st.sampled_from([0.0, 0.004, 0.9])),
    life=st.sampled_from([Life.RUNNING, Life.RUNNING, Life.RUNNING, *Life]),
    by_operator=st.booleans(),
    engine_answers=st.booleans(),
)
chaos = st.lists(st.tuples(anything, st.integers(1, 30)), max_size=8)


def unrolled(spells: Sequence[tuple[Moment, int] | tuple[Moment, int, Moment]]) -> list[Moment]:
    moments: list[Moment] = []
    for moment, length, *last in spells:
        moments += [moment] * length + list(last)
    return moments


@given(healthy)
def test_progress_is_never_restarted(spells: list[tuple[Moment, int]]) -> None:
    played = Played().play([IDLE, *unrolled(spells)])

    assert played.acts == []


@given(healthy, st.sampled_from([FROZEN_IDLE, FROZEN_AT_WORK]))
def test_no_progress_and_no_cpu_is_always_restarted_within_the_bound(
    spells: list[tuple[Moment, int]], frozen: Moment
) -> None:
    played = Played().play([IDLE, *unrolled(spells), WORKING])
    froze_at = played.now

    played.play([frozen] * int(POLICY.hung_after_s + 2 * SLACK_S))

    assert [act.grace_s for _, act in played.acts] == [POLICY.hung_grace_s]
    assert played.acts[0][0] - froze_at <= POLICY.hung_after_s + SLACK_S


@given(healthy, st.sampled_from([LIVELOCKED, SPINNING]))
def test_no_progress_although_cpu_burns_is_restarted_too_only_much_later(
    spells: list[tuple[Moment, int]], spinning: Moment
) -> None:
    played = Played().play([IDLE, *unrolled(spells), WORKING])
    froze_at = played.now

    fitted = played.fitted
    patience_s = fitted.prefill_limit_s if spinning is LIVELOCKED else fitted.stall_after_s
    played.play([spinning] * int(patience_s + POLICY.confirm_s + 2 * SLACK_S))

    assert len(played.acts) == 1
    assert patience_s <= played.acts[0][0] - froze_at <= patience_s + POLICY.confirm_s + SLACK_S


@given(healthy, st.integers(1, 500))
def test_what_we_cannot_see_is_never_restarted(spells: list[tuple[Moment, int]], length: int) -> None:
    played = Played().play([IDLE, *unrolled(spells), *[BLIND] * length])

    assert played.acts == []


@given(st.lists(st.sampled_from([STOPPED, KILLED, BLIND, replace(STOPPED, life=Life.PAUSED)]), max_size=400))
def test_an_operators_stop_is_never_undone(afterwards: list[Moment]) -> None:
    played = Played().play([IDLE, IDLE, STOPPED, *afterwards])

    assert played.acts == []


@given(chaos)
def test_no_two_restarts_are_closer_than_the_backoff(spells: list[tuple[Moment, int]]) -> None:
    played = Played().play(unrolled(spells))

    times = [at for at, _ in played.acts]
    gaps = [after - before for before, after in pairwise(times)]
    assert all(gap >= POLICY.backoff_s(number, chance=0.0) for number, gap in enumerate(gaps, start=1))


@given(st.lists(st.sampled_from([IDLE, KILLED, FROZEN_IDLE]), max_size=20), st.integers(1, 200))
def test_restarts_are_bounded_in_every_window(pattern: list[Moment], length: int) -> None:
    played = Played().play([moment for moment in pattern for _ in range(length)])

    times = [at for at, _ in played.acts]
    slow_retries = POLICY.budget_window_s / POLICY.fatal_retry_s
    for at in times:
        within = [other for other in times if at <= other < at + POLICY.budget_window_s]
        assert len(within) <= POLICY.budget_restarts + slow_retries


@given(chaos)
def test_whatever_goes_down_is_announced_before_it_is_done(spells: list[tuple[Moment, int]]) -> None:
    played = Played().play([IDLE, KILLED, *unrolled(spells)])

    taken_down = [(state, actions) for state, actions in played.decisions if any(isinstance(a, Act) for a in actions)]
    assert len(taken_down) >= 1
    for state, actions in taken_down:
        assert isinstance(actions[0], Announce)
        assert isinstance(actions[-1], Act)
        assert not state.phase.is_routable


@given(chaos)
def test_a_dead_backend_is_never_routable(spells: list[tuple[Moment, int]]) -> None:
    played = Played().play([IDLE, *unrolled(spells), KILLED])

    assert not played.state.phase.is_routable


@given(chaos)
def test_a_target_that_works_again_is_up_again(spells: list[tuple[Moment, int]]) -> None:
    played = Played().play([*unrolled(spells), *[IDLE] * 20])

    assert played.state.phase is Phase.UP


@given(chaos, st.sampled_from(Curb))
def test_what_is_held_back_is_never_touched(spells: list[tuple[Moment, int]], curb: Curb) -> None:
    restraint = Restraint(curb=curb, message="for a reason")

    played = Played(restraint=restraint).play([IDLE, *unrolled(spells)])

    assert [act for _, act in played.acts if not act.by_operator] == []


@given(chaos, st.sampled_from([KILLED, FROZEN_IDLE]))
def test_what_was_held_back_is_helped_once_nothing_holds_us_back(
    spells: list[tuple[Moment, int]], broken: Moment
) -> None:
    held = Played(restraint=Restraint(curb=Curb.HELD, message="held")).play([IDLE, *unrolled(spells), IDLE, IDLE])
    held.play([broken] * int(POLICY.hung_after_s + 2 * SLACK_S))

    held.restraint = None
    held.play([broken] * int(2 * SLACK_S))

    assert [act.verb for _, act in held.acts if not act.by_operator] == [Verb.RESTART]


@given(chaos)
def test_fatal_always_ends_once_it_works_again(spells: list[tuple[Moment, int]]) -> None:
    played = Played().play([IDLE, *[KILLED] * 400, *unrolled(spells), *[IDLE] * 20])

    assert played.state.phase is Phase.UP
