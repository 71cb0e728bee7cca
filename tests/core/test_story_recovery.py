"""What the story and the status line say of a cause, of what holds us back, and of a recovery."""

from dataclasses import replace

import pytest

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.events import Failed
from supervisor.core.liveness import summary, weight
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase, step
from supervisor.core.story import story
from supervisor.core.verdict import Judgement, Verdict
from tests.core.telling import HUNG, NOW, POLICY, READY, snapshot, told

DOWN = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited with code 1")
MISSING = Diagnosis(
    cause=Cause.MODEL_MISSING,
    says="the model file does not exist: /models/phi-3.gguf",
    cure="correct the model's name or path, or download it first",
    helps_restart=False,
)
HELD = Restraint(curb=Curb.HELD, message="held by the operator: new driver", until=NOW + 90.0, since=NOW - 43.0)


def test_a_cause_that_outlasts_a_restart_is_told_with_its_cure_and_what_is_waited_for() -> None:
    paragraph = told(Phase.FAILED, DOWN, diagnosis=MISSING, retry_at=NOW + 840.0)

    assert "The cause, as far as can be told: the model file does not exist: /models/phi-3.gguf." in paragraph
    assert "The cure: correct the model's name or path, or download it first." in paragraph
    assert "A restart would not help, so it is tried again in 14 min, or as soon as something about it changes." in (
        paragraph
    )


def test_the_status_line_tells_the_cause_and_when_it_is_tried_again() -> None:
    failed = snapshot(Phase.FAILED, DOWN, diagnosis=MISSING, retry_at=NOW + 840.0)

    assert summary(failed, now=NOW) == (
        "down: exited with code 1 (the model file does not exist: /models/phi-3.gguf); slow retry in 14m"
    )


def test_a_cause_that_says_no_more_than_the_verdict_is_not_told_twice() -> None:
    hung = Diagnosis(cause=Cause.HUNG, says="counters silent, cpu idle", cure="", helps_restart=True)

    assert "The cause" not in told(Phase.BACKOFF, HUNG, diagnosis=hung, retry_at=NOW + 5.0)
    assert "(" not in summary(snapshot(Phase.BACKOFF, HUNG, diagnosis=hung, retry_at=NOW + 5.0), now=NOW)


def test_a_hold_is_shown_beside_a_target_that_is_well() -> None:
    well = replace(snapshot(Phase.UP, READY, answered_at=NOW - 3.0, first_token_s=0.41), restraint=HELD)

    assert summary(well, now=NOW) == (
        "ready, first token 0.41s, 3s ago; held by the operator: new driver (for another 90s)"
    )
    assert (
        "It is held by the operator: new driver (said 43 s ago) for another 1 min 30 s: whatever becomes of it"
        in story(well, now=NOW)
    )


def test_a_hold_that_keeps_a_restart_waiting_is_told_once() -> None:
    waiting = replace(snapshot(Phase.BACKOFF, HUNG, restraint=HELD, retry_at=NOW), restraint=HELD)

    assert summary(waiting, now=NOW) == (
        "hung: counters silent, cpu idle; held by the operator: new driver (for another 90s)"
    )
    assert story(waiting, now=NOW).count("new driver") == 1
    assert "but it is held by the operator: new driver (said 43 s ago) for another 1 min 30 s." in story(
        waiting, now=NOW
    )


def test_a_held_target_is_not_said_to_be_tried_again_meanwhile() -> None:
    planned = snapshot(Phase.FAILED, DOWN, diagnosis=MISSING, retry_at=NOW + 840.0)
    held = replace(planned, restraint=replace(HELD, until=None))

    assert "tried again" not in story(held, now=NOW)
    assert "whatever becomes of it, we do nothing to it. To end the hold: benchai-supervisorctl release general." in (
        story(held, now=NOW)
    )
    assert summary(held, now=NOW).endswith("; left alone; held by the operator: new driver")
    assert summary(replace(held, restraint=replace(HELD, until=NOW + 900.0)), now=NOW).count("left alone") == 1


def test_a_hold_that_is_over_by_then_changes_no_plan() -> None:
    planned = snapshot(Phase.FAILED, DOWN, diagnosis=MISSING, retry_at=NOW + 840.0)
    held = replace(planned, restraint=HELD)

    assert "so it is tried again in 14 min" in story(held, now=NOW)
    assert "; slow retry in 14m; held by the operator: new driver (for another 90s)" in summary(held, now=NOW)


def test_the_way_out_of_a_pause_is_named() -> None:
    paused = Restraint(curb=Curb.PAUSED, message="paused by the operator")

    assert "To end the pause: benchai-supervisorctl resume." in story(
        replace(snapshot(Phase.UP, READY), restraint=paused), now=NOW
    )


def test_an_act_that_failed_is_told_whole() -> None:
    failed = Failed(reason="EngineRefused", message="start failed: Docker has no such container; create it first")
    state = step(snapshot(Phase.RESTARTING, DOWN).state, failed, policy=POLICY, now=NOW)

    line = summary(replace(snapshot(Phase.UP, READY), state=state), now=NOW + 30.0)

    assert "create it first; restart" in line


@pytest.mark.parametrize("curb", Curb)
def test_whatever_holds_us_back_has_its_words(curb: Curb) -> None:
    restraint = Restraint(curb=curb, message="the reason")

    paragraph = told(Phase.BACKOFF, HUNG, restraint=restraint, retry_at=NOW)

    assert "restarted" in paragraph
    assert ("the reason" in paragraph) is (curb is not Curb.OBSERVING)


def test_what_was_only_noted_is_not_told_as_done() -> None:
    paragraph = told(Phase.BACKOFF, HUNG, restarts=(NOW - 60.0,), noted_at=NOW - 60.0, retry_at=NOW + 5.0)

    assert "We would have restarted it once" in paragraph


def test_one_that_has_just_recovered_is_leant_upon_less_for_a_while() -> None:
    fresh = snapshot(Phase.UP, READY, recovered_at=NOW - 10.0)

    assert weight(fresh, now=NOW) == 0.5
    assert weight(fresh, now=NOW - 10.0 + POLICY.probation_s) == 1.0
    assert "It has only just recovered, so routers use it with weight 0.5 for a while." in story(fresh, now=NOW)


def test_probation_makes_nothing_weigh_more() -> None:
    assert weight(snapshot(Phase.BUSY, READY, recovered_at=NOW - 10.0), now=NOW) == Phase.BUSY.weight
    assert weight(snapshot(Phase.SUSPECT, HUNG, recovered_at=NOW - 10.0), now=NOW) == 0.0


STANDING_BY = Judgement(verdict=Verdict.STOPPED, reason="StandsBy", message="stands by for general")


def test_a_stand_in_that_does_not_run_says_when_it_will() -> None:
    idle = replace(snapshot(Phase.STOPPED, STANDING_BY), stands_in_for="general")

    assert "It is started where general cannot be had." in story(idle, now=NOW)


def test_a_stand_in_that_runs_says_who_comes_before_it() -> None:
    running = replace(snapshot(Phase.UP, READY), stands_in_for="general")

    assert "Routers use it with weight 0.2, and general before it." in story(running, now=NOW)
