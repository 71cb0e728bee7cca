"""When a stand-in comes and goes, and when it is left alone."""

from dataclasses import replace

import pytest

from supervisor.core.observations import EngineSeen, Life
from supervisor.core.standby import STOP_AGAIN_S, Need, need, standing_by, wants_start, wants_stop
from supervisor.core.state import Phase, State
from supervisor.core.verdict import Judgement, Verdict

NOW = 1000.0
BACK_S = 60.0
EXITED = EngineSeen(life=Life.EXITED, instance="a")
RUNNING = EngineSeen(life=Life.RUNNING, instance="a")
DOWN = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited with code 0")
READY = Judgement(verdict=Verdict.READY, reason="CanaryAnswered", message="answered")


def state(phase: Phase, **known: object) -> State:
    return replace(State(phase=phase, since=NOW - 5.0), **known)  # type: ignore[arg-type]


def needed(first: State) -> Need:
    return need(first, return_after_s=BACK_S, now=NOW)


def test_it_is_needed_where_restarts_do_not_help() -> None:
    assert needed(state(Phase.FAILED)) is Need.NEEDED


@pytest.mark.parametrize(
    "phase", [Phase.UNKNOWN, Phase.STARTING, Phase.SUSPECT, Phase.RESTARTING, Phase.BACKOFF, Phase.STOPPING]
)
def test_while_the_first_choice_may_come_back_nothing_changes(phase: Phase) -> None:
    assert needed(state(phase)) is Need.UNDECIDED


@pytest.mark.parametrize(("for_s", "over"), [(0.0, False), (59.9, False), (60.0, True)])
def test_the_first_choice_must_have_been_well_for_a_while(for_s: float, over: bool) -> None:
    first = state(Phase.UP, well_since=NOW - for_s)

    assert needed(first) is (Need.OVER if over else Need.UNDECIDED)


def test_where_somebody_stopped_the_first_choice_nobody_stands_in() -> None:
    assert needed(state(Phase.STOPPED)) is Need.OVER


@pytest.mark.parametrize("life", [Life.EXITED, Life.CREATED])
@pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.STOPPED])
def test_that_it_does_not_run_is_as_it_should_be(life: Life, phase: Phase) -> None:
    told = standing_by(DOWN, state(phase), EngineSeen(life=life), Need.UNDECIDED, first="general")

    assert (told.verdict, told.reason, told.message) == (Verdict.STOPPED, "StandsBy", "stands by for general")


def test_one_that_runs_is_judged_like_any_other() -> None:
    assert standing_by(READY, state(Phase.UP), RUNNING, Need.OVER, first="general") == READY


def test_one_that_died_while_it_was_needed_is_judged_like_any_other() -> None:
    assert standing_by(DOWN, state(Phase.UP, for_need=True), EXITED, Need.NEEDED, first="general") == DOWN


def test_it_is_started_once_it_is_needed() -> None:
    assert wants_start(state(Phase.STOPPED), EXITED, Need.NEEDED)
    assert not wants_start(state(Phase.STOPPED), EXITED, Need.UNDECIDED)
    assert not wants_start(state(Phase.UP), RUNNING, Need.NEEDED)
    assert not wants_start(state(Phase.STOPPED), None, Need.NEEDED)  # nobody knows yet


def test_what_somebody_stopped_although_it_was_needed_is_left_so() -> None:
    declined = state(Phase.STOPPED, for_need=True)

    assert not wants_start(declined, EXITED, Need.NEEDED)
    assert standing_by(DOWN, declined, EXITED, Need.OVER, first="general").reason == "StandsBy"


@pytest.mark.parametrize("needed", [Need.NEEDED, Need.UNDECIDED])
@pytest.mark.parametrize("phase", [Phase.UP, Phase.UNKNOWN, Phase.BACKOFF])
def test_one_that_dies_while_the_first_choice_is_only_tried_again_is_needed_all_the_same(
    needed: Need, phase: Phase
) -> None:
    dead = state(phase, for_need=True)

    assert standing_by(DOWN, dead, EXITED, needed, first="general") == DOWN


def test_a_stop_that_the_engine_did_not_do_is_not_asked_for_all_the_time() -> None:
    refused = state(Phase.UP, for_need=True, stop_failed_at=NOW - STOP_AGAIN_S + 1.0)

    assert not wants_stop(refused, RUNNING, Need.OVER, now=NOW)
    assert wants_stop(refused, RUNNING, Need.OVER, now=NOW + 1.0)


def test_it_is_stopped_once_it_is_needed_no_more() -> None:
    assert wants_stop(state(Phase.UP, for_need=True), RUNNING, Need.OVER, now=NOW)
    assert wants_stop(state(Phase.BUSY, for_need=True), RUNNING, Need.OVER, now=NOW)
    assert not wants_stop(state(Phase.UP, for_need=True), RUNNING, Need.UNDECIDED, now=NOW)


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.STOPPING, Phase.RESTARTING])
def test_it_is_not_stopped_twice(phase: Phase) -> None:
    assert not wants_stop(state(phase, for_need=True), RUNNING, Need.OVER, now=NOW)


def test_what_a_person_started_only_a_person_stops() -> None:
    assert not wants_stop(state(Phase.UP), RUNNING, Need.OVER, now=NOW)
