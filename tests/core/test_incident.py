"""A trouble is followed from its first sign to its end, and what ended it is told."""

from dataclasses import replace

import pytest

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.events import Verb
from supervisor.core.incident import Ending, Incident, follow
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import NOT_NEEDED, STANDS_BY, Phase, State
from supervisor.core.verdict import Judgement, Verdict

NOW = 1000.0
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersStanding", message="no progress, cpu idle")
UP = State(phase=Phase.UP, since=NOW - 60.0)
BACKOFF = State(phase=Phase.BACKOFF, since=NOW, judgement=HUNG)
RESTARTING = State(phase=Phase.RESTARTING, since=NOW, judgement=HUNG)
STARTING = State(phase=Phase.STARTING, since=NOW)
HELD = Restraint(curb=Curb.HELD, message="held by the operator")
CORRUPT = Diagnosis(cause=Cause.MODEL_CORRUPT, says="its model is cut off", cure="fetch it again", helps_restart=False)


def followed(*states: State, instances: str = "", before: State = UP) -> Incident | None:
    """Follow states, one a second; `instances` has a letter for each, one life after the other."""
    incident: Incident | None = None
    for number, after in enumerate(states):
        instance = instances[number] if instances else "a"
        incident = follow(
            incident, before, after, target="general", instance=instance, new_id=f"i{number}", now=NOW + number
        )
        before = after
    return incident


def opened(*states: State, instances: str = "", before: State = UP) -> Incident:
    incident = followed(*states, instances=instances, before=before)
    assert incident is not None
    return incident


def test_it_opens_where_help_is_needed() -> None:
    incident = opened(BACKOFF)

    assert (incident.id, incident.target, incident.instance) == ("i0", "general", "a")
    assert (incident.judgement, incident.opened_at, incident.closed_at) == (HUNG, NOW, None)


def test_no_suspicion_opens_one() -> None:
    assert followed(replace(UP, phase=Phase.SUSPECT), UP) is None


def test_what_an_operator_asked_for_opens_none() -> None:
    assert followed(replace(RESTARTING, asked=Verb.RESTART), STARTING, UP) is None


def test_it_goes_by_its_name_until_it_ends() -> None:
    incident = opened(BACKOFF, RESTARTING, STARTING, BACKOFF, RESTARTING, STARTING)

    assert incident.id == "i0"
    assert incident.acted_at == (NOW + 2, NOW + 5)  # when it was done


def test_what_was_left_undone_in_the_end_was_not_done() -> None:
    incident = opened(RESTARTING, BACKOFF, STARTING, UP, instances="aabb")

    assert (incident.acted_at, incident.ending) == ((), Ending.SOMEBODY)


def test_a_model_that_was_ended_alone_was_our_doing_though_its_server_went_on() -> None:
    incident = opened(RESTARTING, STARTING, UP, instances="aaa")

    assert incident.ending is Ending.OUR_RESTART


@pytest.mark.parametrize("reason", [NOT_NEEDED, STANDS_BY])
def test_a_stand_in_that_is_needed_no_more_is_not_the_operators_doing(reason: str) -> None:
    stopped = replace(UP, phase=Phase.STOPPED, judgement=replace(HUNG, reason=reason))

    assert opened(BACKOFF, stopped).ending is Ending.NOT_NEEDED


def test_what_we_ask_for_ourselves_does_not_make_it_the_operators() -> None:
    called = replace(RESTARTING, asked=Verb.START, judgement=replace(HUNG, reason=NOT_NEEDED))

    assert not opened(BACKOFF, called).asked


def test_a_new_life_that_is_well_after_our_restart_is_our_doing() -> None:
    incident = opened(RESTARTING, STARTING, UP, instances="aab")

    assert (incident.ending, incident.closed_at, incident.acted_at) == (Ending.OUR_RESTART, NOW + 2, (NOW + 1,))


def test_the_same_life_that_is_well_again_has_recovered_by_itself() -> None:
    incident = opened(BACKOFF, UP)

    assert incident.ending is Ending.ITSELF


def test_a_new_life_that_we_did_not_start_is_somebody_elses_doing() -> None:
    incident = opened(BACKOFF, STARTING, UP, instances="abb")

    assert incident.ending is Ending.SOMEBODY


def test_a_restart_that_an_operator_asked_for_in_its_midst_is_the_operators() -> None:
    incident = opened(BACKOFF, replace(RESTARTING, asked=Verb.RESTART), STARTING, UP, instances="aabb")

    assert (incident.ending, incident.acted_at) == (Ending.OPERATOR, ())


def test_one_that_is_stopped_is_the_operators_from_then_on() -> None:
    incident = opened(BACKOFF, replace(UP, phase=Phase.STOPPED))

    assert incident.ending is Ending.OPERATOR


def test_the_next_trouble_is_another_incident() -> None:
    incident = opened(BACKOFF, UP, BACKOFF)

    assert (incident.id, incident.closed_at) == ("i2", None)


def test_a_closed_one_is_returned_once() -> None:
    assert followed(BACKOFF, UP, UP) is None


def test_the_cause_is_kept_once_somebody_has_looked() -> None:
    incident = opened(RESTARTING, replace(BACKOFF, phase=Phase.FAILED, diagnosis=CORRUPT), UP)

    assert incident.diagnosis == CORRUPT


def test_what_was_held_back_and_proved_needless_is_told() -> None:
    incident = opened(replace(BACKOFF, restraint=HELD), replace(BACKOFF, restraint=HELD), UP)

    assert incident.would_act_at == NOW
    assert incident.was_right_to_wait is True


def test_what_was_held_back_and_needed_somebody_else_is_told() -> None:
    incident = opened(replace(BACKOFF, restraint=HELD), STARTING, UP, instances="abb")

    assert incident.was_right_to_wait is False


def test_of_what_was_done_in_the_end_nobody_can_say_whether_waiting_was_right() -> None:
    incident = opened(replace(BACKOFF, restraint=HELD), RESTARTING, STARTING, UP, instances="aabb")

    assert incident.was_right_to_wait is None
    assert opened(BACKOFF, UP).was_right_to_wait is None
    assert opened(replace(BACKOFF, restraint=HELD)).was_right_to_wait is None
