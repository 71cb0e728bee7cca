"""What happens in the field beside hangs and work, and must mislead nobody: health checks, pauses, reports."""

from dataclasses import replace

import pytest

from supervisor.core.baseline import Baseline
from supervisor.core.decide import looks_gently, wants_canary
from supervisor.core.evidence import Evidence
from supervisor.core.fold import forgive
from supervisor.core.observations import (
    CanaryEnded,
    CanarySent,
    CpuSeen,
    EngineSeen,
    Kind,
    Life,
    ProgressSeen,
    Reply,
    Slot,
    TrafficSeen,
)
from supervisor.core.policy import Policy
from supervisor.core.verdict import Verdict, judge
from tests.core.timeline import FROZEN_AT_WORK, FROZEN_IDLE, IDLE, NOW, PREFILLING, WORKING, Moment, Played

POLICY = Policy()
NO_COUNTERS = Moment(counters=Reply.UNSUPPORTED)
HEALTH_CHECK_S = 0.02  # of CPU, inside the server's own container


def restarted_after_s(played: Played, since: float) -> list[float]:
    return [at - since for at, _ in played.acts]


@pytest.mark.parametrize("every", [5, 10, 30])
def test_a_health_check_inside_the_container_hides_no_hang(every: int) -> None:
    played = Played().play([IDLE] * 5)
    froze_at = played.now

    moments = [replace(FROZEN_IDLE, cpu_s=0.0 if second % every else HEALTH_CHECK_S) for second in range(1, 40)]
    played.play(moments)

    assert restarted_after_s(played, froze_at)[0] <= POLICY.hung_after_s + 4.0


def test_a_crawl_is_no_health_check() -> None:
    crawl = replace(PREFILLING, cpu_s=0.02)

    played = Played().play([IDLE, WORKING, *[crawl] * 200])

    assert played.acts == []


def test_a_health_check_keeps_no_sleeper_up() -> None:
    played = Played().play([IDLE] * 2)
    played.evidence = replace(
        played.evidence,
        engine=EngineSeen(life=Life.RUNNING, instance="life-1", sleep_idle_s=300.0),
        kind=Kind.LLAMA_CPP,
    )
    gently = []
    for second in range(1, 120):
        played.now += 1.0
        burned_s = 0.0 if second % 30 else HEALTH_CHECK_S
        played._see(CpuSeen(instance="life-1", burned_s=burned_s, over_s=1.0))
        played._see(ProgressSeen(instance="life-1", reply=Reply.UNSUPPORTED, gently=True))
        gently.append(looks_gently(played.evidence, policy=POLICY, now=played.now))

    assert all(gently)


def test_a_router_that_waits_for_a_busy_backend_is_not_hung() -> None:
    played = Played().play([NO_COUNTERS] * 5)
    played.evidence = replace(played.evidence, relays=True)

    played.play([replace(NO_COUNTERS, canary=None)] * 500)

    assert played.acts == []
    assert played.state.judgement.verdict is Verdict.READY  # its rounds tell, and they have an end


def test_a_router_whose_counters_are_silent_may_wait_for_another_server_with_its_cpu_idle() -> None:
    played = Played().play([IDLE] * 5)
    played.evidence = replace(played.evidence, relays=True)

    played.play([FROZEN_IDLE] * 100)

    assert played.acts == []
    assert played.state.judgement.message == "counters silent, perhaps waiting for another server"


def test_a_router_that_refuses_our_key_says_so_once_its_start_is_long_over_and_an_unknown_model_is_waited_for() -> None:
    played = Played()
    played.evidence = replace(played.evidence, relays=True)
    refused = replace(NO_COUNTERS, canary=Reply.DENIED)

    soon = played.play([refused] * 10).state.judgement.verdict
    later = played.play([refused] * 30).state.judgement.verdict
    known = played.play([NO_COUNTERS] * 10).state.judgement.verdict

    assert (soon, later, known) == (Verdict.WARMING, Verdict.MISCONFIGURED, Verdict.READY)
    assert played.acts == []


def test_a_backend_without_counters_that_waits_for_nobody_is() -> None:
    played = Played().play([NO_COUNTERS] * 20)
    froze_at = played.now

    played.play([replace(NO_COUNTERS, canary=None)] * 60)

    assert restarted_after_s(played, froze_at)[0] <= POLICY.canary_every_s + POLICY.canary_deadline_s + 15.0


def test_what_stood_before_our_absence_has_not_stood_for_long_after_it() -> None:
    played = Played().play([IDLE, WORKING, WORKING])
    played.now += 700.0
    played.evidence = forgive(played.evidence, now=played.now)

    played.play([PREFILLING] * 30)

    assert played.state.judgement.verdict is Verdict.BUSY
    assert played.acts == []


def test_one_idle_sample_and_then_none_is_no_strong_evidence() -> None:
    played = Played().play([IDLE] * 5)
    played._see(CpuSeen(instance="life-1", burned_s=0.0, over_s=1.0))
    played._see(ProgressSeen(instance="life-1", reply=Reply.SILENT))

    played.now += 11.0
    played._judge()
    at_once = played.state.judgement.verdict
    played._see(CpuSeen(instance="life-1", burned_s=0.0, over_s=1.0))
    played._judge()

    assert (at_once, played.state.judgement.verdict, played.acts) == (Verdict.SUSPECT, Verdict.SUSPECT, [])


def test_a_livelock_whose_counters_time_out_now_and_then_is_found_all_the_same() -> None:
    stuck, silent = replace(FROZEN_AT_WORK, cpu_s=2.0), Moment(counters=Reply.SILENT, canary=None, cpu_s=2.0)
    played = Played().play([IDLE, WORKING, WORKING])
    stuck_at = played.now

    played.play([*[stuck] * 54, *[silent] * 6] * 5)

    assert restarted_after_s(played, stuck_at)[0] <= POLICY.stall_after_s + POLICY.confirm_s + 2.0


def test_a_server_that_hangs_up_on_every_canary_is_failing() -> None:
    hangs_up = Moment(canary=Reply.RESET)

    played = Played().play([IDLE] * 15 + [hangs_up] * 10)

    assert len(played.acts) >= 1
    assert any("hung up on the canary" in state.judgement.message for state, _ in played.decisions)


def test_reported_failures_do_not_become_load_while_canaries_are_answered() -> None:
    played = Played().play([IDLE] * 5)
    sent = 0
    for _ in range(600):
        played.now += 1.0
        played._see(TrafficSeen(instance=None, ok=False, detail="bad prompt"))
        if wants_canary(played.evidence, policy=POLICY, now=played.now):
            sent += 1
            attempt = played.evidence.canary_attempt + 1
            played._see(CanarySent(instance="life-1", attempt=attempt))
            played._see(CanaryEnded(instance="life-1", attempt=attempt, reply=Reply.ANSWERED, first_token_s=0.1))

    assert sent <= 600 / POLICY.canary_every_s + 1


@pytest.mark.parametrize("kind", [Kind.LLAMA_CPP_PYTHON, Kind.OTHER])
def test_where_all_users_fail_and_no_answer_speaks_for_it_routers_are_told(kind: Kind) -> None:
    played = Played().play([NO_COUNTERS] * 3)
    played.evidence = replace(played.evidence, kind=kind)
    played.now += 20.0

    for _ in range(POLICY.failure_threshold):
        played.now += 1.0
        played._see(TrafficSeen(instance=None, ok=False, detail="timeout after 30 s"))
    played._judge()

    assert (played.state.judgement.reason, played.state.phase.is_routable) == ("UsersFail", False)
    assert played.state.judgement.message == "its users fail: timeout after 30 s"
    assert wants_canary(played.evidence, policy=POLICY, now=played.now)


def test_a_sleeper_that_its_users_cannot_wake_is_asked_although_it_sleeps() -> None:
    played = Played().play([IDLE, Moment(counters=Reply.ASLEEP, canary=None)])
    before = wants_canary(played.evidence, policy=POLICY, now=played.now + 60.0)

    for _ in range(POLICY.failure_threshold):
        played._see(TrafficSeen(instance=None, ok=False))
    played.now += 60.0
    played._judge()

    assert (before, wants_canary(played.evidence, policy=POLICY, now=played.now)) == (False, True)
    assert (played.state.judgement.reason, played.state.judgement.message) == (
        "UsersFail",
        "its users fail: nobody said why",
    )


def test_one_that_is_cut_off_by_probes_is_asked_once_in_half_an_hour_of_work_at_most() -> None:
    played = Played().play([NO_COUNTERS] * 2)
    sent = 0
    for _ in range(3 * int(POLICY.stall_limit_s)):
        played.now += 1.0
        played._see(ProgressSeen(instance="life-1", reply=Reply.UNSUPPORTED, kind=Kind.LLAMA_CPP_PYTHON))
        played._see(CpuSeen(instance="life-1", burned_s=0.9, over_s=1.0))
        if wants_canary(played.evidence, policy=POLICY, now=played.now):
            sent += 1
            attempt = played.evidence.canary_attempt + 1
            played._see(CanarySent(instance="life-1", attempt=attempt))
            played._see(CanaryEnded(instance="life-1", attempt=attempt, reply=Reply.ANSWERED, first_token_s=0.1))

    assert sent <= 3


def test_an_answer_beside_the_only_slot_makes_it_no_stuck_one() -> None:
    played = Played().play([IDLE, WORKING, WORKING, PREFILLING, PREFILLING])

    played._see(TrafficSeen(instance=None, ok=True))

    assert played.evidence.leaked == frozenset()


def test_how_slow_it_was_long_ago_says_nothing_of_today() -> None:
    played = Played(baseline=Baseline(first_tokens_s=(0.1,) * 30)).play([IDLE])
    played.evidence = replace(played.evidence, lately_s=(9.0, 9.0, 9.0))
    played._judge()
    now_slow = played.state.judgement.verdict

    played.play([WORKING] * int(POLICY.spare_s + 5))
    played.play([replace(WORKING, decoded=None)])

    assert now_slow is Verdict.DEGRADED
    assert played.state.judgement.verdict is not Verdict.DEGRADED


@pytest.mark.parametrize(
    "known",
    [
        pytest.param({"last_reply": Reply.DENIED}, id="a-person-must-mend-it"),
        pytest.param({"last_reply": Reply.INVALID, "failures": 9}, id="known-to-fail"),
    ],
)
def test_what_is_known_is_not_asked_every_two_seconds(known: dict[str, object]) -> None:
    evidence: Evidence = replace(Played().play([IDLE]).evidence, **known)  # type: ignore[arg-type]
    ended_at = evidence.canary_ended_at or 0.0

    asked = [wants_canary(evidence, policy=POLICY, now=ended_at + later_s, is_well=False) for later_s in (3.0, 15.0)]

    assert asked == [False, True]


@pytest.mark.parametrize(
    ("cached", "is_asked"), [((900, 0), True), ((900, 31), True), ((900, 800), False), ((None, None), False)]
)
def test_a_slot_that_keeps_nothing_can_be_asked_soon_after_a_user(
    cached: tuple[int | None, int | None], is_asked: bool
) -> None:
    played = Played().play([IDLE])
    slots = tuple(Slot(id=n, busy=False, task=n, decoded=0, prefilled=0, cached=each) for n, each in enumerate(cached))
    evidence = replace(played.evidence, slots=slots, served_at=played.now)

    assert wants_canary(evidence, policy=POLICY, now=played.now + 20.0) is is_asked


@pytest.mark.parametrize("slept", [True, False])
def test_the_first_answer_of_one_that_slept_or_was_late_teaches_nothing_of_its_start(slept: bool) -> None:
    played = Played().play([Moment(counters=Reply.UNSUPPORTED, canary=None)] * 5)
    played.evidence = replace(played.evidence, has_slept=slept, canary_since=None)
    played.now += 200.0 if slept else POLICY.startup_limit_s + 1.0

    played._see(TrafficSeen(instance=None, ok=True))

    assert played.evidence.has_proven_itself
    assert played.baseline.starts_s == ()


def test_a_livelock_that_a_restart_ended_teaches_no_patience() -> None:
    played = Played().play([IDLE, WORKING, *[replace(FROZEN_AT_WORK, cpu_s=0.9)] * 100])

    played._see(TrafficSeen(instance=None, ok=True))

    assert played.baseline.gaps_s == ()


def test_a_slot_that_stands_while_others_come_and_go_is_stuck() -> None:
    """Nobody sends a canary here: the other slot is kept at work by short requests."""
    played = Played().play([IDLE])
    stuck = Slot(id=0, busy=True, task=7, decoded=12, prefilled=0)
    verdicts = []
    for second in range(int(POLICY.stall_after_s) + 20):
        played.now += 1.0
        other = Slot(id=1, busy=True, task=second, decoded=3, prefilled=0)
        played._see(ProgressSeen(instance="life-1", reply=Reply.ANSWERED, slots=(stuck, other)))
        played._judge()
        verdicts.append(played.state.judgement.verdict)

    assert verdicts[60] is not Verdict.DEGRADED
    assert (verdicts[-1], played.state.judgement.message) == (Verdict.DEGRADED, "slot 0 of 2 is stuck, others answer")
    assert played.acts == []


def test_a_canary_that_a_slow_look_did_not_see_yet_is_not_taken_for_a_user() -> None:
    played = Played().play([IDLE] * 3)
    idle = Slot(id=0, busy=False, task=4, decoded=0, prefilled=0)
    attempt = played.evidence.canary_attempt + 1
    played._see(CanarySent(instance="life-1", attempt=attempt))
    played.now += 1.0
    played._see(CanaryEnded(instance="life-1", attempt=attempt, reply=Reply.ANSWERED, first_token_s=0.1))
    played.now += 0.5
    played._see(ProgressSeen(instance="life-1", reply=Reply.ANSWERED, slots=(idle,), took_s=1.2))

    played.now += 2.0
    played._see(ProgressSeen(instance="life-1", reply=Reply.ANSWERED, slots=(replace(idle, task=5),)))

    assert played.evidence.served_at is None


def test_what_our_own_questions_cost_keeps_no_sleeper_up() -> None:
    played = Played().play([IDLE] * 2)
    sleepy = EngineSeen(life=Life.RUNNING, instance="life-1", sleep_idle_s=300.0)
    played.evidence = replace(played.evidence, engine=sleepy, kind=Kind.LLAMA_CPP)

    played._see(CpuSeen(instance="life-1", burned_s=0.03, over_s=2.0))
    by_us = looks_gently(played.evidence, policy=POLICY, now=played.now)
    played._see(CpuSeen(instance="life-1", burned_s=1.8, over_s=2.0))
    by_users = looks_gently(played.evidence, policy=POLICY, now=played.now)

    assert (by_us, by_users) == (True, False)


def test_a_sleepers_work_is_seen_at_once_however_long_it_did_nothing_before() -> None:
    played = Played().play([IDLE] * 2)
    sleepy = EngineSeen(life=Life.RUNNING, instance="life-1", sleep_idle_s=300.0)
    played.evidence = replace(played.evidence, engine=sleepy, kind=Kind.LLAMA_CPP)
    for _ in range(200):
        played._see(CpuSeen(instance="life-1", burned_s=0.001, over_s=1.0))

    played._see(CpuSeen(instance="life-1", burned_s=0.2, over_s=1.0))

    assert not looks_gently(played.evidence, policy=POLICY, now=played.now)


def test_a_crash_loop_of_its_engines_making_is_told_and_no_new_life_of_it_is_believed_before_it_answers() -> None:
    looping = Evidence(seen_at=NOW, instance="9", started_at=NOW, is_looping=True)
    restarting = replace(looping, engine=EngineSeen(life=Life.RESTARTING, instance="9"))
    alive = replace(looping, engine=EngineSeen(life=Life.RUNNING, instance="10"))

    told = judge(restarting, policy=POLICY, now=NOW + 1.0)
    after = judge(alive, policy=POLICY, now=NOW + 1.0)
    well = judge(replace(alive, answered_at=NOW), policy=POLICY, now=NOW + 1.0)

    assert (told.verdict, told.reason) == (Verdict.DOWN, "CrashLoop")
    assert after.verdict is Verdict.SUSPECT
    assert well.verdict is Verdict.READY
