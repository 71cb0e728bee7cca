"""The table, and the rules about phases that a table cannot say."""

from dataclasses import replace

import pytest

from supervisor.core.events import Asked, Ended, Failed, Judged, Verb
from supervisor.core.policy import Policy
from supervisor.core.state import TABLE, TROUBLED, WELL, Phase, State, step, transition
from supervisor.core.verdict import Judgement, Verdict

POLICY = Policy()
NOW = 1000.0


def judged(verdict: Verdict) -> Judged:
    return Judged(judgement=Judgement(verdict=verdict, reason="Test", message="as the test says"))


def in_phase(phase: Phase, **known: object) -> State:
    return replace(State(phase=phase, since=NOW - 50.0), **known)  # type: ignore[arg-type]


RESTARTED = "restarting restarting restarting"  # at once, since nothing has been tried yet
# The columns: ready busy warming degraded asleep suspect, hung failing down, misconfigured stopped unknown.
EXPECTED = {
    "unknown": f"up busy starting degraded asleep suspect {RESTARTED} failed stopped unknown",
    "starting": f"up busy starting degraded asleep suspect {RESTARTED} failed stopped starting",
    "up": f"up busy starting degraded asleep suspect {RESTARTED} failed stopped up",
    "busy": f"up busy starting degraded asleep suspect {RESTARTED} failed stopped busy",
    "asleep": f"up busy starting degraded asleep suspect {RESTARTED} failed stopped asleep",
    "degraded": f"up busy starting degraded asleep suspect {RESTARTED} failed stopped degraded",
    "suspect": f"up busy starting degraded asleep suspect {RESTARTED} failed stopped suspect",
    "draining": f"{' '.join(['draining'] * 6)} {RESTARTED} draining stopped draining",
    "restarting": " ".join(["restarting"] * 12),
    "backoff": "up busy starting degraded asleep backoff backoff backoff backoff failed stopped backoff",
    "failed": "up busy starting degraded asleep failed failed failed failed failed stopped failed",
    "stopping": " ".join(["stopping"] * 12),
    "stopped": "up busy starting degraded asleep stopped restarting restarting stopped failed stopped stopped",
}
EVERY = [
    pytest.param(Phase(phase), verdict, Phase(after), id=f"{phase}-{verdict}")
    for phase, row in EXPECTED.items()
    for verdict, after in zip(Verdict, row.split(), strict=True)
]


@pytest.mark.parametrize(("phase", "verdict", "expected"), EVERY)
def test_every_verdict_leads_from_every_phase_where_the_table_says(
    phase: Phase, verdict: Verdict, expected: Phase
) -> None:
    # Whatever waits, waits on: its time has not come.
    before = in_phase(phase, retry_at=NOW + 60.0 if phase in (Phase.BACKOFF, Phase.FAILED) else None)

    after = step(before, judged(verdict), policy=POLICY, now=NOW)

    assert after.phase is expected


def test_the_table_knows_every_phase_and_every_verdict() -> None:
    assert set(TABLE) == set(Phase)
    assert all(set(row) == set(Verdict) for row in TABLE.values())
    assert len(EVERY) == len(Phase) * len(Verdict)


@pytest.mark.parametrize("verdict", sorted(TROUBLED))
def test_the_first_restart_does_not_wait(verdict: Verdict) -> None:
    after = step(in_phase(Phase.UP), judged(verdict), policy=POLICY, now=NOW)

    assert after.phase is Phase.RESTARTING
    assert after.restarts == (NOW,)
    assert after.in_a_row == 1


def test_the_second_restart_waits_from_the_first_one_on() -> None:
    before = in_phase(Phase.STARTING, restarts=(NOW - 4.0,), in_a_row=1)

    waiting = step(before, judged(Verdict.DOWN), policy=POLICY, now=NOW)
    still_waiting = step(waiting, judged(Verdict.DOWN), policy=POLICY, now=NOW + 5.9)
    restarted = step(still_waiting, judged(Verdict.DOWN), policy=POLICY, now=NOW + 6.0)

    assert (waiting.phase, waiting.retry_at) == (Phase.BACKOFF, NOW + 6.0)
    assert still_waiting.phase is Phase.BACKOFF
    assert restarted.phase is Phase.RESTARTING


def test_what_recovers_while_it_waits_is_not_restarted() -> None:
    waiting = in_phase(Phase.BACKOFF, retry_at=NOW, judgement=judged(Verdict.HUNG).judgement)

    after = step(waiting, judged(Verdict.READY), policy=POLICY, now=NOW + 1.0)

    assert after.phase is Phase.UP
    assert after.retry_at is None


def test_a_wait_that_has_ended_needs_a_reason_that_still_holds() -> None:
    waiting = in_phase(Phase.BACKOFF, retry_at=NOW - 1.0)

    after = step(waiting, judged(Verdict.UNKNOWN), policy=POLICY, now=NOW)

    assert after.phase is Phase.BACKOFF


def test_a_spent_budget_is_fatal_and_fatal_is_tried_again_slowly() -> None:
    before = in_phase(
        Phase.STARTING, restarts=tuple(NOW - at for at in (900.0, 700.0, 500.0, 300.0, 100.0)), in_a_row=5
    )

    fatal = step(before, judged(Verdict.DOWN), policy=POLICY, now=NOW)
    retried = step(fatal, judged(Verdict.DOWN), policy=POLICY, now=NOW + POLICY.fatal_retry_s)
    again = step(replace(retried, phase=Phase.STARTING), judged(Verdict.DOWN), policy=POLICY, now=NOW + 1500.0)

    assert (fatal.phase, fatal.retry_at) == (Phase.FAILED, NOW + POLICY.fatal_retry_s)
    assert retried.phase is Phase.RESTARTING
    assert (again.phase, again.retry_at) == (Phase.FAILED, NOW + 1500.0 + POLICY.fatal_retry_s)


def test_the_backoff_begins_anew_once_it_was_well_for_long_and_the_budget_does_not() -> None:
    before = in_phase(Phase.UP, well_since=NOW - 600.0, restarts=(NOW - 700.0,), in_a_row=3, is_exhausted=True)

    after = step(before, judged(Verdict.READY), policy=POLICY, now=NOW)

    assert (after.in_a_row, after.restarts, after.is_exhausted) == (0, (NOW - 700.0,), False)


def test_suspicion_alone_does_not_begin_the_time_of_being_well_anew() -> None:
    before = in_phase(Phase.UP, well_since=NOW - 300.0)

    suspected = step(before, judged(Verdict.SUSPECT), policy=POLICY, now=NOW)
    after = step(suspected, judged(Verdict.READY), policy=POLICY, now=NOW + 1.0)

    assert after.well_since == NOW - 300.0


def test_a_misconfigured_target_that_hangs_is_restarted_all_the_same() -> None:
    before = in_phase(Phase.FAILED, retry_at=None)

    after = step(before, judged(Verdict.HUNG), policy=POLICY, now=NOW)

    assert after.phase is Phase.RESTARTING


def test_what_is_only_watched_waits_for_a_person() -> None:
    before = in_phase(Phase.UP, restartable=False)

    after = step(before, judged(Verdict.HUNG), policy=POLICY, now=NOW)
    much_later = step(after, judged(Verdict.HUNG), policy=POLICY, now=NOW + 10_000.0)

    assert (after.phase, much_later.phase) == (Phase.FAILED, Phase.FAILED)
    assert much_later.since == NOW


@pytest.mark.parametrize(
    ("verb", "under_way", "at_last"),
    [
        (Verb.STOP, Phase.STOPPING, Phase.STOPPED),
        (Verb.START, Phase.RESTARTING, Phase.STARTING),
        (Verb.RESTART, Phase.RESTARTING, Phase.STARTING),
    ],
)
def test_what_an_operator_asks_for_is_done_and_costs_no_budget(verb: Verb, under_way: Phase, at_last: Phase) -> None:
    asked = step(in_phase(Phase.UP), Asked(verb=verb), policy=POLICY, now=NOW)
    done = step(asked, Ended(), policy=POLICY, now=NOW + 1.0)

    assert (asked.phase, asked.asked) == (under_way, verb)
    assert (done.phase, done.asked) == (at_last, None)
    assert done.restarts == ()


@pytest.mark.parametrize("phase", [Phase.RESTARTING, Phase.STOPPING])
def test_nothing_is_asked_of_an_engine_that_is_still_at_work(phase: Phase) -> None:
    before = in_phase(phase)

    assert step(before, Asked(verb=Verb.STOP), policy=POLICY, now=NOW) == before


@pytest.mark.parametrize("event", [Ended(), Failed(reason="EngineRefused", message="no")])
@pytest.mark.parametrize("phase", [Phase.UP, Phase.BACKOFF])
def test_the_end_of_a_call_that_nobody_waits_for_moves_nothing(event: Ended | Failed, phase: Phase) -> None:
    before = in_phase(phase)

    assert step(before, event, policy=POLICY, now=NOW).phase is phase


def test_a_restart_that_failed_is_tried_again_after_the_backoff() -> None:
    before = in_phase(Phase.RESTARTING, restarts=(NOW - 1.0,), in_a_row=1)

    after = step(before, Failed(reason="EngineRefused", message="port is taken"), policy=POLICY, now=NOW)

    assert (after.phase, after.retry_at) == (Phase.BACKOFF, NOW + 9.0)
    assert after.judgement.message == "port is taken"


def test_a_restart_that_never_reached_its_engine_spends_no_budget() -> None:
    before = in_phase(Phase.RESTARTING, restarts=(NOW - 1.0,), in_a_row=1)

    after = step(before, Failed(reason="EngineUnreachable", message="no", counts=False), policy=POLICY, now=NOW)

    assert (after.phase, after.restarts, after.in_a_row) == (Phase.BACKOFF, (), 0)
    assert after.retry_at == NOW + POLICY.backoff_first_s


def test_a_restart_that_an_operator_asked_for_and_that_failed_is_not_forgotten() -> None:
    asked = step(in_phase(Phase.STOPPED), Asked(verb=Verb.START), policy=POLICY, now=NOW)

    after = step(asked, Failed(reason="EngineUnreachable", message="no", counts=False), policy=POLICY, now=NOW)

    assert (after.phase, after.asked) == (Phase.BACKOFF, None)
    assert after.retry_at is not None


def test_a_stop_that_failed_leaves_it_to_the_next_look() -> None:
    asked = step(in_phase(Phase.UP), Asked(verb=Verb.STOP), policy=POLICY, now=NOW)

    after = step(asked, Failed(reason="EngineRefused", message="cannot be killed"), policy=POLICY, now=NOW)

    assert after.phase is Phase.SUSPECT


def test_a_stop_that_the_engine_could_not_confirm_and_that_comes_about_later_is_an_operators_stop() -> None:
    asked = step(in_phase(Phase.UP), Asked(verb=Verb.STOP), policy=POLICY, now=NOW)
    failed = step(asked, Failed(reason="EngineUnreachable", message="no answer"), policy=POLICY, now=NOW + 10.0)

    gone = step(failed, judged(Verdict.DOWN), policy=POLICY, now=NOW + 30.0)
    much_later = step(failed, judged(Verdict.DOWN), policy=POLICY, now=NOW + 1000.0)

    assert gone.phase is Phase.STOPPED
    assert much_later.phase is Phase.RESTARTING


def test_a_restart_that_timed_out_counts_since_it_may_have_been_done() -> None:
    before = in_phase(Phase.RESTARTING, restarts=(NOW - 12.0,), in_a_row=1)

    after = step(before, Failed(reason="EngineUnreachable", message="timed out"), policy=POLICY, now=NOW)

    assert (after.restarts, after.in_a_row) == ((NOW - 12.0,), 1)


def test_an_operators_failed_restart_costs_none_of_ours() -> None:
    before = in_phase(Phase.UP, restarts=(NOW - 12.0,), in_a_row=1)
    asked = step(before, Asked(verb=Verb.RESTART), policy=POLICY, now=NOW)

    after = step(asked, Failed(reason="EngineUnreachable", message="no", counts=False), policy=POLICY, now=NOW)

    assert (after.restarts, after.in_a_row) == ((NOW - 12.0,), 1)


def test_a_transition_is_a_change_of_phase_and_nothing_else() -> None:
    up = in_phase(Phase.UP)
    told = step(up, judged(Verdict.READY), policy=POLICY, now=NOW)
    busy = step(up, judged(Verdict.BUSY), policy=POLICY, now=NOW)

    change = transition(up, busy)

    assert transition(up, told) is None
    assert change is not None
    assert (change.before, change.after, change.at) == (Phase.UP, Phase.BUSY, NOW)


@pytest.mark.parametrize("phase", Phase)
def test_routers_are_sent_only_where_somebody_answers_or_nobody_could_say(phase: Phase) -> None:
    assert phase.is_routable == (phase in (*WELL, Phase.UNKNOWN))
    assert (phase.weight > 0) == phase.is_routable


def flapping(phase: Phase = Phase.SUSPECT) -> State:
    """Return a state that has been in trouble three times within ten minutes."""
    return in_phase(phase, troubles=(NOW - 500.0, NOW - 200.0, NOW - 10.0))


def proven(answers: int) -> Judged:
    return Judged(judgement=Judgement(verdict=Verdict.READY, reason="Test", message="answered", answers=answers))


def test_one_good_answer_is_enough_unless_it_flaps() -> None:
    calm = replace(flapping(), troubles=(NOW - 700.0, NOW - 200.0, NOW - 10.0))

    assert step(calm, proven(1), policy=POLICY, now=NOW).phase is Phase.UP
    assert step(flapping(), proven(1), policy=POLICY, now=NOW).phase is Phase.SUSPECT
    assert step(flapping(), proven(2), policy=POLICY, now=NOW).phase is Phase.UP


def test_a_flapping_target_that_is_well_stays_so() -> None:
    assert step(flapping(Phase.BUSY), proven(0), policy=POLICY, now=NOW).phase is Phase.UP


def test_every_fall_from_being_well_is_remembered_and_no_more_than_a_few() -> None:
    state = State(phase=Phase.UP, since=NOW)
    for number in range(30):
        state = step(state, judged(Verdict.SUSPECT), policy=POLICY, now=NOW + number)
        state = step(state, proven(2), policy=POLICY, now=NOW + number)

    assert state.troubles[-1] == NOW + 29
    assert len(state.troubles) == 20


def test_degraded_does_not_begin_a_time_of_being_well_and_does_not_end_one() -> None:
    well = step(in_phase(Phase.UP, well_since=NOW - 30.0), judged(Verdict.DEGRADED), policy=POLICY, now=NOW)
    fresh = step(in_phase(Phase.STARTING), judged(Verdict.DEGRADED), policy=POLICY, now=NOW)

    assert (well.phase, well.well_since) == (Phase.DEGRADED, NOW - 30.0)
    assert (fresh.phase, fresh.well_since) == (Phase.DEGRADED, None)
