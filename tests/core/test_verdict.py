"""What the evidence means: stories from the field, played through the pure core with the default patience."""

from dataclasses import replace

import pytest

from supervisor.core.actions import Act
from supervisor.core.decide import wants_canary
from supervisor.core.events import Verb
from supervisor.core.observations import (
    CanaryEnded,
    CanarySent,
    CpuSeen,
    Life,
    ProgressSeen,
    Reply,
    Slot,
)
from supervisor.core.policy import Policy
from supervisor.core.state import Phase
from supervisor.core.verdict import Verdict, judge
from tests.core.timeline import (
    BLIND,
    FROZEN_AT_WORK,
    FROZEN_IDLE,
    IDLE,
    KILLED,
    LIVELOCKED,
    NOW,
    PREFILLING,
    STOPPED,
    WORKING,
    Moment,
    Played,
)

POLICY = Policy()
LOADING = Moment(counters=Reply.LOADING, canary=Reply.LOADING)
NOT_BOUND = Moment(counters=Reply.RESET, canary=Reply.RESET)
SWALLOWED = Moment(canary=None)
NO_COUNTERS = Moment(counters=Reply.UNSUPPORTED)


def verdict(played: Played) -> Verdict:
    return played.state.judgement.verdict


def reason(played: Played) -> str:
    return played.state.judgement.reason


def told_at(played: Played) -> float:
    """Return when routers were first told not to go there, after having been sent there."""
    up_at = next(at for at, phase in played.phases if phase.is_routable)
    return next(at for at, phase in played.phases if at > up_at and not phase.is_routable)


@pytest.mark.parametrize(
    ("moment", "expected", "why"),
    [
        pytest.param(IDLE, Verdict.READY, "CanaryAnswered", id="answers"),
        pytest.param(WORKING, Verdict.BUSY, "SlotsMoving", id="every-slot-at-work"),
        pytest.param(PREFILLING, Verdict.BUSY, "CountersStanding", id="long-prefill"),
        pytest.param(FROZEN_IDLE, Verdict.SUSPECT, "CountersSilent", id="frozen-idle"),
        pytest.param(FROZEN_AT_WORK, Verdict.SUSPECT, "CountersStanding", id="frozen-at-work"),
        pytest.param(LIVELOCKED, Verdict.BUSY, "CountersSilent", id="silent-but-burning"),
        pytest.param(replace(FROZEN_IDLE, cpu_s=None), Verdict.SUSPECT, "CountersSilent", id="silent-cpu-unknown"),
        pytest.param(BLIND, Verdict.UNKNOWN, "CannotLook", id="we-are-blind"),
        pytest.param(LOADING, Verdict.WARMING, "Loading", id="loading-again"),
        pytest.param(Moment(counters=Reply.ASLEEP), Verdict.ASLEEP, "Asleep", id="asleep"),
        pytest.param(STOPPED, Verdict.STOPPED, "Stopped", id="stopped-by-hand"),
        pytest.param(Moment(life=Life.PAUSED, by_operator=True), Verdict.STOPPED, "Paused", id="paused"),
        pytest.param(Moment(by_operator=True), Verdict.STOPPED, "Stopping", id="on-its-way-out-by-hand"),
        pytest.param(Moment(life=Life.MISSING), Verdict.STOPPED, "Missing", id="removed"),
        pytest.param(Moment(life=Life.CREATED), Verdict.STOPPED, "Created", id="created-by-somebody-who-will-start-it"),
        pytest.param(Moment(life=Life.RESTARTING), Verdict.WARMING, "EngineRestarting", id="engine-restarts-it"),
        pytest.param(Moment(decoded=1, canary=Reply.DENIED), Verdict.BUSY, "SlotsMoving", id="no-canary-while-busy"),
    ],
)
def test_one_look_later(moment: Moment, expected: Verdict, why: str) -> None:
    # Work has gone on before, so that a slot that stands still can be seen to.
    played = Played().play([IDLE, IDLE, WORKING, moment, replace(moment, asked=None)])

    assert (verdict(played), reason(played)) == (expected, why)


def test_a_server_frozen_while_idle_is_told_at_the_first_look_and_restarted_soon() -> None:
    played = Played().play([IDLE] * 5)
    froze_at = played.now

    played.play([FROZEN_IDLE] * 12)

    assert told_at(played) - froze_at == 1.0
    assert [at - froze_at for at, _ in played.acts] == [POLICY.hung_after_s + 1.0]


def test_one_batch_of_a_long_prefill_may_take_minutes() -> None:
    played = Played().play([IDLE, WORKING, *[PREFILLING] * 119])

    assert verdict(played) is Verdict.BUSY
    assert played.acts == []


def test_a_livelock_is_confirmed_for_long_before_it_is_restarted() -> None:
    played = Played().play([IDLE] * 2 + [LIVELOCKED] * 130)
    confirming = verdict(played)
    played.play([LIVELOCKED] * 525)
    assert played.acts == []

    played.play([LIVELOCKED] * 10)

    assert confirming is Verdict.SUSPECT
    assert [act.verb for _, act in played.acts] == [Verb.RESTART]


def test_cpu_that_burned_once_starts_the_measure_of_idleness_anew() -> None:
    played = Played().play([IDLE, *[FROZEN_IDLE] * 7, LIVELOCKED, *[FROZEN_IDLE] * 7])

    assert played.acts == []
    assert verdict(played) is Verdict.SUSPECT


def test_a_canary_swallowed_by_an_idle_server_is_a_hang() -> None:
    played = Played().play([IDLE] * 20 + [SWALLOWED] * 60)

    assert [act.verb for _, act in played.acts] == [Verb.RESTART]


def test_a_canary_that_waits_behind_a_users_work_is_not_overdue() -> None:
    queued = replace(WORKING, canary=None)
    played = Played().play([IDLE] * 16 + [SWALLOWED, *[queued] * 600])

    assert played.acts == []
    assert verdict(played) is Verdict.BUSY


def test_a_slot_that_works_on_our_own_canary_makes_no_server_busy() -> None:
    played = Played().play([IDLE] * 15)
    on_ours = Moment(decoded=1, canary=None)

    played._see(CanarySent(instance="life-1", attempt=played.evidence.canary_attempt + 1))
    played.play([on_ours])
    while_it_works = verdict(played)
    played._see(CanaryEnded(instance="life-1", attempt=played.evidence.canary_attempt, reply=Reply.ANSWERED))
    played._judge()

    assert (while_it_works, verdict(played)) == (Verdict.READY, Verdict.READY)


def test_a_server_without_counters_is_judged_by_its_answers() -> None:
    played = Played().play([NO_COUNTERS] * 60)

    assert (verdict(played), played.acts) == (Verdict.READY, [])


def test_a_server_without_counters_that_stops_answering_is_a_hang_once_the_canary_is_overdue() -> None:
    played = Played().play([NO_COUNTERS] * 20 + [replace(NO_COUNTERS, canary=None)] * 60)

    assert [act.verb for _, act in played.acts] == [Verb.RESTART]


def test_a_sleeping_server_is_never_woken_and_never_restarted() -> None:
    played = Played().play([IDLE, *[Moment(counters=Reply.ASLEEP, canary=None)] * 1000])

    assert played.evidence.canary_since is None
    assert (played.state.phase, played.acts) == (Phase.ASLEEP, [])


def test_counters_that_were_never_there_are_not_missed() -> None:
    silent_but_answers = Moment(counters=Reply.SILENT, cpu_s=0.0)

    played = Played().play([silent_but_answers] * 120)

    assert (verdict(played), played.acts) == (Verdict.READY, [])


def test_a_crash_inside_a_container_that_runs_on_is_seen_by_two_refusals() -> None:
    played = Played().play([IDLE] * 3 + [NOT_BOUND] * 3)

    assert [act.verb for _, act in played.acts] == [Verb.RESTART]


def test_refusals_that_the_engine_has_not_spoken_since_are_only_a_suspicion() -> None:
    """A container that somebody removes refuses before the engine's word of it has come."""
    played = Played().play([IDLE] * 3)

    for _ in range(5):
        played.now += 1.0
        played._see(ProgressSeen(instance="life-1", reply=Reply.RESET))
        played._judge()

    assert (verdict(played), reason(played)) == (Verdict.SUSPECT, "Refused")


def test_one_refusal_is_only_a_suspicion() -> None:
    once = Moment(counters=Reply.RESET, canary=None)

    played = Played().play([*[IDLE] * 3, once])

    assert (verdict(played), reason(played)) == (Verdict.SUSPECT, "Refused")


def test_bad_answers_are_suspicious_at_once_and_three_in_a_row_are_failing() -> None:
    failing = Moment(canary=Reply.FAILED)
    played = Played().play([IDLE] * 15 + [failing])
    first = verdict(played)

    played.play([failing] * 8)

    assert first is Verdict.SUSPECT
    assert [(act.verb, act.grace_s) for _, act in played.acts] == [(Verb.RESTART, POLICY.failing_grace_s)]


def test_bad_answers_followed_by_silence_are_a_hang() -> None:
    played = Played().play([IDLE] * 15 + [Moment(canary=Reply.FAILED)] + [FROZEN_IDLE] * 15)

    assert played.evidence.failures == 0  # of the new life
    assert [act.grace_s for _, act in played.acts] == [POLICY.hung_grace_s]


def test_a_wrong_key_is_never_answered_with_a_restart() -> None:
    played = Played().play([Moment(counters=Reply.DENIED, canary=Reply.DENIED)] * 1000)

    assert (verdict(played), played.state.phase, played.acts) == (Verdict.MISCONFIGURED, Phase.FAILED, [])


def test_a_server_that_says_it_has_too_much_to_do_is_busy() -> None:
    played = Played().play([NO_COUNTERS] * 3 + [replace(NO_COUNTERS, canary=Reply.OVERLOADED)] * 60)

    assert (verdict(played), played.acts) == (Verdict.BUSY, [])


def test_a_killed_container_is_restarted_at_once() -> None:
    played = Played().play([IDLE, KILLED, IDLE, IDLE])

    assert [act.verb for _, act in played.acts] == [Verb.RESTART]
    assert played.state.phase is Phase.UP


@pytest.mark.parametrize("moment", [FROZEN_IDLE, NOT_BOUND, LOADING])
def test_without_its_engine_nobody_is_restarted_and_routers_are_told_all_the_same(moment: Moment) -> None:
    played = Played().play([IDLE] * 3 + [replace(moment, engine_answers=False)] * 400)

    assert played.acts == []
    assert not played.state.phase.is_routable


def test_a_server_that_answers_is_ready_although_its_engine_is_gone() -> None:
    played = Played().play([replace(IDLE, engine_answers=False)] * 30)

    assert (verdict(played), played.state.phase) == (Verdict.READY, Phase.UP)


def test_a_late_answer_of_an_old_life_does_not_count() -> None:
    played = Played().play([IDLE, KILLED, NOT_BOUND])
    late = CanaryEnded(instance="life-1", attempt=played.evidence.canary_attempt, reply=Reply.ANSWERED)

    played._see(late)
    played._judge()

    assert verdict(played) is Verdict.WARMING


def test_an_answer_to_an_earlier_canary_does_not_count() -> None:
    played = Played().play([IDLE])
    before = played.evidence

    played._see(CanaryEnded(instance="life-1", attempt=0, reply=Reply.FAILED))

    assert played.evidence == before


def test_a_restart_that_brought_no_new_instance_is_noticed_in_the_end() -> None:
    played = Played().play([IDLE, KILLED])
    played.life -= 1  # the engine says that it did it, and still shows the old life

    played.play([IDLE] * 290)
    patient = reason(played)
    played.play([IDLE] * 12)

    assert patient == "AwaitingInstance"
    assert len(played.acts) == 2


def test_time_spent_paused_is_not_held_against_anybody() -> None:
    paused = Moment(life=Life.PAUSED, by_operator=True, counters=Reply.SILENT, canary=None)

    played = Played().play([*[IDLE] * 3, WORKING, *[PREFILLING] * 60, *[paused] * 500, *[PREFILLING] * 100])

    assert played.acts == []
    assert verdict(played) is Verdict.BUSY


def test_a_canary_that_was_let_go_unanswered_counts_on() -> None:
    unanswered = replace(NO_COUNTERS, canary=None)
    played = Played().play([NO_COUNTERS] * 15 + [unanswered] * 25)
    attempt = played.evidence.canary_attempt
    suspected = verdict(played)

    played._see(CanaryEnded(instance="life-1", attempt=attempt, reply=Reply.SILENT))
    played._judge()
    let_go = verdict(played)
    played._see(CanaryEnded(instance="life-1", attempt=attempt, reply=Reply.SILENT))
    played.play([unanswered] * 12)

    assert (suspected, let_go) == (Verdict.SUSPECT, Verdict.SUSPECT)
    assert [act.verb for _, act in played.acts] == [Verb.RESTART]


def test_two_refusals_in_one_blip_are_one() -> None:
    played = Played().play([IDLE] * 3 + [NOT_BOUND])
    twice = played.evidence.refusals

    assert twice == 2
    assert (verdict(played), played.acts) == (Verdict.SUSPECT, [])


def test_what_says_for_ever_that_it_has_too_much_to_do_is_believed_for_a_while() -> None:
    overloaded = replace(NO_COUNTERS, canary=Reply.OVERLOADED)

    played = Played().play([NO_COUNTERS] * 3 + [overloaded] * 300)

    assert (verdict(played), played.acts) == (Verdict.SUSPECT, [])


def test_a_queue_of_long_answers_before_a_server_without_counters_is_waited_for() -> None:
    played = Played().play([NO_COUNTERS] * 20 + [replace(NO_COUNTERS, canary=None, cpu_s=0.9)] * 500)

    assert played.acts == []


def test_a_slot_that_is_stuck_beside_one_that_answers_takes_nobody_out() -> None:
    played = Played().play([IDLE])
    stuck = Slot(id=0, busy=True, task=7, decoded=12, prefilled=0)
    verdicts = []
    for second in range(60):
        played.now += 1.0
        answered = Slot(id=1, busy=False, task=second // 15, decoded=4, prefilled=0)
        played._see(CpuSeen(instance="life-1", burned_s=0.0, over_s=1.0))
        played._see(ProgressSeen(instance="life-1", reply=Reply.ANSWERED, slots=(stuck, answered)))
        played._judge()
        if wants_canary(played.evidence, policy=POLICY, now=played.now):
            played._see(CanarySent(instance="life-1", attempt=played.evidence.canary_attempt + 1))
            attempt = played.evidence.canary_attempt
            played._see(CanaryEnded(instance="life-1", attempt=attempt, reply=Reply.ANSWERED, first_token_s=0.1))
            played._judge()
        verdicts.append(verdict(played))

    assert verdicts.count(Verdict.SUSPECT) <= 1
    assert verdicts[-1] is Verdict.DEGRADED
    assert played.state.judgement.message == "slot 0 of 2 is stuck, others answer"
    assert played.evidence.canary_attempt <= 6
    assert played.acts == []


def test_we_judge_nothing_before_anything_was_seen() -> None:
    assert judge(Played().evidence, policy=POLICY, now=NOW).verdict is Verdict.UNKNOWN


def test_a_server_with_an_idle_slot_is_ready_while_another_slot_works() -> None:
    played = Played().play([IDLE])
    for decoded in (1, 2):
        slots = (
            Slot(id=0, busy=True, task=1, decoded=decoded, prefilled=0),
            Slot(id=1, busy=False, task=None, decoded=0, prefilled=0),
        )
        played._see(ProgressSeen(instance="life-1", reply=Reply.ANSWERED, slots=slots))
    played.evidence = replace(played.evidence, answered_at=None)

    seen = judge(played.evidence, policy=POLICY, now=played.now)

    assert (seen.verdict, seen.reason) == (Verdict.READY, "SlotsMoved")


def test_cpu_of_another_life_says_nothing() -> None:
    played = Played().play([IDLE])

    played._see(CpuSeen(instance="life-0", burned_s=1.0, over_s=1.0))

    assert played.evidence.cpu_burned is None


def test_every_act_is_a_restart_unless_somebody_asked() -> None:
    played = Played().play([IDLE, replace(IDLE, asked=Verb.STOP), STOPPED, replace(STOPPED, asked=Verb.START), IDLE])

    assert [(act.verb, act.by_operator) for _, act in played.acts] == [(Verb.STOP, True), (Verb.START, True)]
    assert all(isinstance(act, Act) for _, act in played.acts)
