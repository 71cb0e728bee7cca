"""When a restart that is due is not done, and what becomes of one that could not help."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.actions import Act, Note
from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.decide import decide
from supervisor.core.events import Asked, Cleared, Ended, Failed, Judged, Verb
from supervisor.core.policy import Policy
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import STOPPED_BY_HAND, WILL_NOT_HELP, Phase, State, step
from supervisor.core.verdict import Judgement, Verdict

POLICY = Policy()
NOW = 10_000.0
UP = State(phase=Phase.UP, since=NOW - 60.0)
HELD = Restraint(curb=Curb.HELD, message="held by the operator")
OBSERVING = Restraint(curb=Curb.OBSERVING, message="only observing")
CORRUPT = Diagnosis(cause=Cause.MODEL_CORRUPT, says="its model is cut off", cure="fetch it again", helps_restart=False)
CRASHED = Diagnosis(cause=Cause.CRASHED, says="exited with SIGSEGV (139)", cure="", helps_restart=True)
UNHELPFUL = Failed(reason=WILL_NOT_HELP, message=CORRUPT.says, counts=False, diagnosis=CORRUPT)


def judged(verdict: Verdict) -> Judged:
    return Judged(judgement=Judgement(verdict=verdict, reason="Test", message="as the test says"))


def stepped(state: State, verdict: Verdict, *, at: float = NOW, restraint: Restraint | None = None) -> State:
    return step(state, judged(verdict), policy=POLICY, now=at, restraint=restraint)


def failed_for_good(at: float = NOW) -> State:
    restarting = stepped(UP, Verdict.DOWN, at=at)
    return step(restarting, UNHELPFUL, policy=POLICY, now=at)


# --- held back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curb", [curb for curb in Curb if curb is not Curb.OBSERVING])
@pytest.mark.parametrize("verdict", [Verdict.HUNG, Verdict.FAILING, Verdict.DOWN])
def test_whatever_holds_us_back_keeps_it_waiting_and_spends_nothing(curb: Curb, verdict: Verdict) -> None:
    restraint = Restraint(curb=curb, message="wait")

    waiting = stepped(UP, verdict, restraint=restraint)

    assert (waiting.phase, waiting.restraint) == (Phase.BACKOFF, restraint)
    assert (waiting.restarts, waiting.in_a_row) == ((), 0)


def test_once_nothing_holds_us_back_it_is_restarted_at_once() -> None:
    waiting = stepped(UP, Verdict.HUNG, restraint=HELD)

    restarted = stepped(waiting, Verdict.HUNG, at=NOW + 3600.0)

    assert (restarted.phase, restarted.restraint) == (Phase.RESTARTING, None)


def test_one_that_got_well_while_it_was_held_is_up_and_owes_nothing() -> None:
    waiting = stepped(UP, Verdict.HUNG, restraint=HELD)

    well = stepped(waiting, Verdict.READY, at=NOW + 5.0, restraint=HELD)

    assert (well.phase, well.restraint, well.restarts) == (Phase.UP, None, ())


@pytest.mark.parametrize("curb", Curb)
@pytest.mark.parametrize("verb", Verb)
def test_what_an_operator_asks_for_nothing_holds_back(curb: Curb, verb: Verb) -> None:
    restraint = Restraint(curb=curb, message="wait")
    waiting = stepped(UP, Verdict.HUNG, restraint=restraint)

    asked = step(waiting, Asked(verb=verb), policy=POLICY, now=NOW + 1.0, restraint=restraint)

    assert asked.phase is (Phase.STOPPING if verb is Verb.STOP else Phase.RESTARTING)


# --- observing --------------------------------------------------------------------------------------------------------


def test_observing_nothing_is_done_and_everything_noted() -> None:
    noted = stepped(UP, Verdict.HUNG, restraint=OBSERVING)

    actions = decide(UP, noted, policy=POLICY)
    assert noted.phase is Phase.BACKOFF
    assert not [action for action in actions if isinstance(action, Act)]
    assert [action.act.verb for action in actions if isinstance(action, Note)] == [Verb.RESTART]


def test_observing_the_same_backoff_and_budget_hold_as_if_it_were_done() -> None:
    state, noted_at = UP, []
    for second in range(int(POLICY.budget_window_s)):
        after = stepped(state, Verdict.HUNG, at=NOW + second, restraint=OBSERVING)
        if any(isinstance(action, Note) for action in decide(state, after, policy=POLICY)):
            noted_at.append(second)
        state = after

    assert noted_at[:5] == [0, 10, 30, 70, 150]
    assert state.is_exhausted
    assert len(noted_at) <= POLICY.budget_restarts + POLICY.budget_window_s / POLICY.fatal_retry_s


@given(st.lists(st.sampled_from(Verdict), max_size=200))
def test_observing_no_timeline_ever_acts(verdicts: list[Verdict]) -> None:
    state = UP
    for second, verdict in enumerate(verdicts):
        after = stepped(state, verdict, at=NOW + second, restraint=OBSERVING)
        assert not any(isinstance(action, Act) for action in decide(state, after, policy=POLICY))
        state = after


# --- what a restart will not help -------------------------------------------------------------------------------------


def test_what_a_restart_will_not_help_waits_for_a_person_and_spends_nothing() -> None:
    failed = failed_for_good()

    assert (failed.phase, failed.diagnosis) == (Phase.FAILED, CORRUPT)
    assert (failed.restarts, failed.in_a_row) == ((), 0)
    assert failed.judgement.verdict is Verdict.DOWN
    assert failed.retry_at == NOW + POLICY.fatal_retry_s


def test_the_slow_retry_insists_since_only_an_attempt_can_tell() -> None:
    failed = failed_for_good()

    retried = stepped(failed, Verdict.DOWN, at=NOW + POLICY.fatal_retry_s)

    acts = [action for action in decide(failed, retried, policy=POLICY) if isinstance(action, Act)]
    assert [act.insists for act in acts] == [True]


def test_a_slow_retry_that_somebody_elses_act_cut_short_insists_anew() -> None:
    at = NOW + POLICY.fatal_retry_s
    retrying = stepped(failed_for_good(), Verdict.DOWN, at=at)
    in_the_way = Failed(reason="AlreadyRestarted", message="somebody has restarted it", counts=False)
    waiting = step(retrying, in_the_way, policy=POLICY, now=at + 1)

    again = stepped(waiting, Verdict.DOWN, at=at + 1 + POLICY.backoff_first_s)

    assert [act.insists for act in decide(waiting, again, policy=POLICY) if isinstance(act, Act)] == [True]


def test_a_retry_that_was_tried_and_failed_insists_no_more() -> None:
    at = NOW + POLICY.fatal_retry_s
    retrying = stepped(failed_for_good(), Verdict.DOWN, at=at)

    tried = step(retrying, Failed(reason="StartFailed", message="exited"), policy=POLICY, now=at + 1)

    assert not tried.insists


def test_a_first_restart_does_not_insist() -> None:
    acts = [action for action in decide(UP, stepped(UP, Verdict.DOWN), policy=POLICY) if isinstance(action, Act)]

    assert [act.insists for act in acts] == [False]


def test_it_is_tried_at_once_when_something_about_it_has_changed() -> None:
    failed = failed_for_good()

    cleared = step(failed, Cleared(what="/models/phi-3.gguf has changed"), policy=POLICY, now=NOW + 40.0)
    retried = stepped(cleared, Verdict.DOWN, at=NOW + 41.0)

    assert cleared.phase is Phase.FAILED
    assert retried.phase is Phase.RESTARTING


def test_what_was_never_tried_in_this_life_of_ours_is_tried_at_once_too() -> None:
    failed = replace(UP, phase=Phase.FAILED, retry_at=NOW + 800.0)

    assert step(failed, Cleared(what="its image has changed"), policy=POLICY, now=NOW).retry_at == NOW


def test_changes_that_bring_attempts_which_are_left_undone_are_tried_no_faster_than_the_backoff_either() -> None:
    state, tried_at = failed_for_good(), []
    for second in range(1, 400):
        at = NOW + second
        state = step(state, Cleared(what="GPU 0 has changed"), policy=POLICY, now=at)
        state = stepped(state, Verdict.DOWN, at=at)
        if state.phase is Phase.RESTARTING:
            tried_at.append(second)
            state = step(state, UNHELPFUL, policy=POLICY, now=at)

    gaps = [after - before for before, after in pairwise([0, *tried_at])]
    assert gaps[:5] == [10, 20, 40, 80, 160]


def test_what_goes_on_changing_is_tried_no_faster_than_the_backoff() -> None:
    state, tried_at = failed_for_good(), []
    for second in range(1, 600):
        at = NOW + second
        state = step(state, Cleared(what="GPU 0 has changed"), policy=POLICY, now=at)
        state = stepped(state, Verdict.DOWN, at=at)
        if state.phase is Phase.RESTARTING:
            tried_at.append(second)
            state = step(state, Failed(reason="EngineRefused", message="no", diagnosis=CORRUPT), policy=POLICY, now=at)

    gaps = [after - before for before, after in pairwise(tried_at)]
    assert gaps == sorted(gaps)
    assert gaps[:3] == [20, 40, 80]  # the first attempt was the one that failed for good


def test_a_change_does_not_hurry_what_merely_waits_for_its_next_restart() -> None:
    waiting = replace(UP, phase=Phase.BACKOFF, retry_at=NOW + 40.0, restarts=(NOW - 5.0,), in_a_row=1)

    assert step(waiting, Cleared(what="its image has changed"), policy=POLICY, now=NOW) == waiting


def test_a_refusal_that_tells_its_cause_waits_for_a_person_too() -> None:
    taken = replace(CORRUPT, cause=Cause.PORT_TAKEN, says="0.0.0.0:8091 is taken")
    refusal = Failed(reason="EngineRefused", message="restart failed: port is already allocated", diagnosis=taken)

    failed = step(stepped(UP, Verdict.DOWN), refusal, policy=POLICY, now=NOW)

    assert (failed.phase, failed.judgement.message) == (Phase.FAILED, refusal.message)
    assert failed.restarts == (NOW,)  # this one was tried


def test_a_cause_that_a_restart_cures_is_told_and_changes_nothing() -> None:
    restarting = stepped(UP, Verdict.DOWN)

    after = step(restarting, Ended(diagnosis=CRASHED), policy=POLICY, now=NOW + 1.0)

    assert (after.phase, after.diagnosis) == (Phase.STARTING, CRASHED)


@pytest.mark.parametrize("verdict", [Verdict.READY, Verdict.STOPPED])
def test_a_cause_is_forgotten_with_its_trouble(verdict: Verdict) -> None:
    after = stepped(failed_for_good(), verdict, at=NOW + 5.0)

    assert after.diagnosis is None


def test_fatal_always_ends_when_its_cause_does() -> None:
    state = failed_for_good()
    for second in range(1, int(POLICY.fatal_retry_s) + 2):
        state = stepped(state, Verdict.DOWN, at=NOW + second)
    started = step(state, Ended(), policy=POLICY, now=NOW + 902.0)

    well = stepped(started, Verdict.READY, at=NOW + 903.0)

    assert well.phase is Phase.UP


# --- after a recovery -------------------------------------------------------------------------------------------------


def test_a_recovery_is_remembered_for_the_time_of_its_probation() -> None:
    started = step(stepped(UP, Verdict.HUNG), Ended(), policy=POLICY, now=NOW + 1.0)

    well = stepped(started, Verdict.READY, at=NOW + 2.0)

    assert well.recovered_at == NOW + 2.0


def test_one_that_merely_started_has_not_recovered() -> None:
    well = stepped(State(phase=Phase.STARTING, since=NOW), Verdict.READY)

    assert well.recovered_at is None


# --- one model alone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verdict", "eases"), [(Verdict.HUNG, True), (Verdict.FAILING, True), (Verdict.DOWN, False)])
def test_where_a_server_can_end_one_model_alone_that_comes_first(verdict: Verdict, eases: bool) -> None:
    (act,) = [each for each in decide(UP, stepped(UP, verdict), policy=POLICY) if isinstance(each, Act)]

    assert act.eases is eases


def test_what_did_not_help_is_not_tried_twice_in_a_row() -> None:
    eased = step(stepped(UP, Verdict.HUNG), Ended(eased=True), policy=POLICY, now=NOW + 1.0)
    waiting = stepped(eased, Verdict.HUNG, at=NOW + 9.0)

    again = stepped(waiting, Verdict.HUNG, at=NOW + 11.0)

    (act,) = [each for each in decide(waiting, again, policy=POLICY) if isinstance(each, Act)]
    assert not act.eases


# --- what people want -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [Verdict.HUNG, Verdict.FAILING])
def test_what_could_not_be_stopped_is_not_restarted_for_that(verdict: Verdict) -> None:
    stopping = step(UP, Asked(verb=Verb.STOP), policy=POLICY, now=NOW)
    unstopped = step(stopping, Failed(reason="EngineUnreachable", message="too late"), policy=POLICY, now=NOW + 12.0)

    states = [unstopped]
    for second in range(13, 400):
        states.append(stepped(states[-1], verdict, at=NOW + second))

    assert Phase.RESTARTING not in {state.phase for state in states}
    assert states[-1].phase is Phase.FAILED
    assert "could not be stopped" in states[-1].judgement.message


@pytest.mark.parametrize("verdict", [Verdict.SUSPECT, Verdict.UNKNOWN, Verdict.DOWN])
def test_what_somebody_stopped_is_still_told_as_that_while_it_cannot_be_seen(verdict: Verdict) -> None:
    stopped = State(phase=Phase.STOPPED, since=NOW - 60.0, judgement=STOPPED_BY_HAND)

    assert stepped(stopped, verdict) == stopped


def test_what_a_person_starts_is_no_stand_in_of_ours_any_more() -> None:
    called = step(UP, Asked(verb=Verb.START, why="since general cannot be had"), policy=POLICY, now=NOW)

    by_hand = step(replace(called, phase=Phase.STOPPED, asked=None), Asked(verb=Verb.START), policy=POLICY, now=NOW)

    assert (called.for_need, by_hand.for_need) == (True, False)


def test_a_second_wish_cuts_no_drain_short() -> None:
    draining = step(UP, Asked(verb=Verb.RESTART, drains=True), policy=POLICY, now=NOW)

    later = step(draining, Asked(verb=Verb.STOP, drains=True), policy=POLICY, now=NOW + 5.0)
    hurried = step(draining, Asked(verb=Verb.STOP), policy=POLICY, now=NOW + 5.0)

    assert (later.phase, later.since, later.asked) == (Phase.DRAINING, NOW, Verb.STOP)
    assert hurried.phase is Phase.STOPPING


@pytest.mark.parametrize(("curb", "goes_on"), [(Curb.HELD, True), (Curb.PAUSED, True), (Curb.SHARED_CAUSE, False)])
def test_a_hold_ends_a_drain_that_we_began_ourselves(curb: Curb, goes_on: bool) -> None:
    asked = Asked(verb=Verb.STOP, drains=True, why="since general is back")
    draining = step(replace(UP, for_need=True), asked, policy=POLICY, now=NOW)

    after = stepped(draining, Verdict.READY, at=NOW + 1.0, restraint=Restraint(curb=curb, message="for a reason"))

    assert (after.phase is Phase.UP) is goes_on


def test_a_hold_ends_no_drain_that_an_operator_began() -> None:
    draining = step(UP, Asked(verb=Verb.STOP, drains=True), policy=POLICY, now=NOW)

    assert stepped(draining, Verdict.READY, at=NOW + 1.0, restraint=HELD).phase is Phase.DRAINING


def test_one_that_falls_asleep_need_not_prove_itself_twice() -> None:
    flapping = replace(UP, phase=Phase.STARTING, troubles=(NOW - 3.0, NOW - 2.0, NOW - 1.0))

    assert stepped(flapping, Verdict.ASLEEP).phase is Phase.ASLEEP
    assert stepped(flapping, Verdict.READY).phase is Phase.STARTING
