"""What ends by a signal that an operator has sent through us: no stop, no crash, and started again at once."""

from dataclasses import replace

import pytest

from supervisor.core.actions import Act
from supervisor.core.cause import Cause
from supervisor.core.decide import decide
from supervisor.core.diagnose import diagnose
from supervisor.core.events import Failed, Judged
from supervisor.core.evidence import Evidence
from supervisor.core.observations import EngineSeen, Life
from supervisor.core.policy import Policy
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase, State, step
from supervisor.core.verdict import SIGNALLED, Judgement, Verdict, judge

POLICY = Policy()
NOW = 1000.0
KILLED = EngineSeen(life=Life.EXITED, instance="one", exit_code=137, signalled="SIGKILL")
RECENT = tuple(NOW - age for age in (50.0, 40.0, 30.0, 20.0, 10.0))
ENDED = Judgement(verdict=Verdict.DOWN, reason=SIGNALLED, message="ended by the operator's SIGKILL")
CRASHED = replace(ENDED, reason="Exited", message="exited with code 139")


def judged(state: State, judgement: Judgement = ENDED, *, restraint: Restraint | None = None) -> State:
    return step(state, Judged(judgement=judgement), policy=POLICY, now=NOW, restraint=restraint)


def test_it_is_down_and_says_by_whose_signal() -> None:
    evidence = Evidence(seen_at=0.0, instance="one", engine=KILLED, engine_at=NOW)

    said = judge(evidence, policy=POLICY, now=NOW)

    assert (said.verdict, said.reason, said.message) == (ENDED.verdict, ENDED.reason, ENDED.message)


def test_its_cause_is_the_operators_signal_and_a_restart_helps() -> None:
    told = diagnose(judgement=ENDED, engine=KILLED, engine_error="", log_tail="")

    assert (told.cause, told.helps_restart, told.is_news) == (Cause.SIGNALLED, True, False)
    assert told.says == "ended by SIGKILL (137), which the operator had us send"


def test_it_is_restarted_at_once_and_nothing_of_the_budget_is_spent() -> None:
    up = State(phase=Phase.UP, since=0.0, restarts=RECENT, in_a_row=3)

    after = judged(up)

    (act,) = [each for each in decide(up, after, policy=POLICY) if isinstance(each, Act)]
    assert (after.phase, after.restarts, after.in_a_row) == (Phase.RESTARTING, RECENT, 3)
    assert (act.by_operator, act.spends) == (False, False)


def test_a_crash_in_its_place_would_have_spent_the_last_of_it() -> None:
    up = State(phase=Phase.UP, since=0.0, restarts=RECENT, in_a_row=3)

    assert judged(up, CRASHED).phase is Phase.FAILED


def test_what_has_been_given_up_is_not_taken_up_for_it() -> None:
    spent = State(phase=Phase.UP, since=0.0, restarts=RECENT, is_exhausted=True)

    assert judged(spent).phase is Phase.FAILED


def test_one_that_is_held_stays_down() -> None:
    held = Restraint(curb=Curb.HELD, message="held by the operator")

    after = judged(State(phase=Phase.UP, since=0.0), restraint=held)

    assert (after.phase, after.restraint) == (Phase.BACKOFF, held)


@pytest.mark.parametrize(("judgement", "left"), [(ENDED, RECENT), (CRASHED, RECENT[:-1])])
def test_where_nothing_was_tried_after_all_only_what_was_spent_is_given_back(
    judgement: Judgement, left: tuple[float, ...]
) -> None:
    restarting = State(phase=Phase.RESTARTING, since=NOW, judgement=judgement, restarts=RECENT)
    left_alone = Failed(reason="Leaving", message="left alone", counts=False)

    assert step(restarting, left_alone, policy=POLICY, now=NOW).restarts == left
