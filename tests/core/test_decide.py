"""What follows from a step, and what is asked next."""

from dataclasses import replace
from typing import Any

import pytest

from supervisor.core.decide import can_be_asked, least_lost, look_every_s, looks_gently, wants_canary, wants_cpu
from supervisor.core.evidence import Evidence
from supervisor.core.observations import CanaryEnded, CanarySent, EngineSeen, Kind, Life, ProgressSeen, Reply, Slot
from supervisor.core.policy import Policy
from supervisor.core.state import Phase
from tests.core.timeline import FROZEN_IDLE, IDLE, KILLED, NOW, WORKING, Moment, Played

POLICY = Policy()


def test_an_answer_is_proof_enough_for_a_while() -> None:
    played = Played().play([IDLE])

    asked = [wants_canary(played.evidence, policy=POLICY, now=played.now + later_s) for later_s in (1.0, 14.9, 15.0)]

    assert asked == [False, False, True]


def test_one_canary_is_out_at_most() -> None:
    played = Played().play([IDLE] * 15 + [Moment(canary=None)] * 30)

    assert played.evidence.canary_since is not None
    assert not wants_canary(played.evidence, policy=POLICY, now=played.now + 1e6)


def test_no_canary_queues_behind_users_while_their_work_moves() -> None:
    played = Played().play([IDLE, *[WORKING] * 100])

    assert not wants_canary(played.evidence, policy=POLICY, now=played.now)


def test_silence_brings_a_canary_and_the_cpu_question_at_once() -> None:
    played = Played().play([*[IDLE] * 5, FROZEN_IDLE])

    assert played.evidence.canary_since == played.now
    assert wants_cpu(played.evidence, policy=POLICY, now=played.now)


def test_a_bad_answer_brings_the_next_canary_soon() -> None:
    played = Played().play([IDLE] * 15 + [Moment(canary=Reply.FAILED)])

    asked = [wants_canary(played.evidence, policy=POLICY, now=played.now + later_s) for later_s in (1.0, 2.0)]

    assert asked == [False, True]


@pytest.mark.parametrize("reply", [Reply.RESET, Reply.REFUSED, Reply.NOT_RUN, Reply.LOADING])
def test_canaries_that_come_back_at_once_are_not_sent_at_once_again(reply: Reply) -> None:
    played = Played().play([IDLE] * 15)
    sent = 0
    for _ in range(1000):  # turns, all within one second
        played.now += 0.001
        if wants_canary(played.evidence, policy=POLICY, now=played.now):
            sent += 1
            attempt = played.evidence.canary_attempt + 1
            played._see(CanarySent(instance="life-1", attempt=attempt))
            played._see(CanaryEnded(instance="life-1", attempt=attempt, reply=reply))

    assert sent <= 1


def test_a_server_at_rest_is_asked_for_no_cpu() -> None:
    played = Played().play([IDLE] * 5)

    assert not wants_cpu(played.evidence, policy=POLICY, now=played.now)


def test_the_dead_are_not_asked() -> None:
    played = Played().play([IDLE])

    dead = replace(played.evidence, engine=Played()._engine(KILLED))  # type: ignore[arg-type]

    assert can_be_asked(played.evidence)
    assert not can_be_asked(dead)


@pytest.mark.parametrize("phase", Phase)
def test_doubt_looks_closer(phase: Phase) -> None:
    closely = {Phase.SUSPECT: 1.0, Phase.BACKOFF: 1.0, Phase.DRAINING: 1.0}
    expected = {**closely, Phase.STARTING: 0.5, Phase.RESTARTING: 0.5}.get(phase, 2.0)

    assert look_every_s(phase, policy=POLICY) == expected


def test_a_server_that_has_just_come_up_is_asked_at_once() -> None:
    played = Played().play([Moment(counters=Reply.RESET, canary=Reply.RESET), Moment(canary=None)])

    assert played.evidence.canary_since == played.now


SLEEPER = replace(
    Played().play([IDLE] * 2).evidence,
    engine=EngineSeen(life=Life.RUNNING, instance="life-1", sleep_idle_s=60.0),
    kind=Kind.LLAMA_CPP,
)
LATER = NOW + 30.0
MUCH_LATER = NOW + 120.0


@pytest.mark.parametrize(
    ("evidence", "now", "gently"),
    [
        pytest.param(Played().play([IDLE]).evidence, LATER, False, id="not-meant-to-sleep"),
        pytest.param(SLEEPER, LATER, True, id="idle"),
        pytest.param(replace(SLEEPER, is_asleep=True), MUCH_LATER, True, id="asleep"),
        pytest.param(Played().play([IDLE, WORKING]).evidence, LATER, False, id="at-work"),
        pytest.param(replace(SLEEPER, cpu_burned=True, work_share=0.9), LATER, False, id="its-cpu-works"),
        pytest.param(replace(SLEEPER, canary_since=NOW), LATER, False, id="our-canary-is-out"),
        pytest.param(replace(SLEEPER, silent_since=NOW), LATER, False, id="in-doubt"),
        pytest.param(replace(SLEEPER, traffic_failures=1), LATER, False, id="its-users-fail"),
        pytest.param(replace(SLEEPER, blind_detail="no handles"), LATER, True, id="we-were-blind-which-is-no-doubt"),
        pytest.param(SLEEPER, MUCH_LATER, False, id="up-for-longer-than-it-should-be"),
    ],
)
def test_a_server_that_is_meant_to_sleep_is_looked_at_gently_unless_something_is_wrong(
    evidence: Evidence, now: float, gently: bool
) -> None:
    assert looks_gently(evidence, policy=POLICY, now=now) is gently


def test_a_server_that_is_meant_to_sleep_is_asked_for_inference_only_in_doubt() -> None:
    later = SLEEPER.seen_at + 1000.0

    assert not wants_canary(SLEEPER, policy=POLICY, now=later)
    assert wants_canary(replace(SLEEPER, traffic_failures=1), policy=POLICY, now=later)
    assert wants_canary(replace(SLEEPER, answered_at=None), policy=POLICY, now=later)


def test_the_cpu_tells_of_work_where_nothing_else_may_be_asked() -> None:
    assert wants_cpu(SLEEPER, policy=POLICY, now=LATER)
    assert not wants_cpu(replace(SLEEPER, is_asleep=True), policy=POLICY, now=LATER)


CUT_OFF = replace(Played().play([Moment(counters=Reply.UNSUPPORTED)] * 2).evidence, kind=Kind.LLAMA_CPP_PYTHON)


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        pytest.param({}, False, id="nobody-knows"),
        pytest.param({"cpu_idle_since": NOW + 20.0}, True, id="idle"),
        pytest.param({"cpu_idle_since": LATER - 1.0}, False, id="idle-for-a-moment"),
        pytest.param({"cpu_burned": True, "burning_since": NOW}, False, id="at-work"),
        pytest.param(
            {"cpu_burned": True, "burning_since": LATER - POLICY.stall_limit_s}, True, id="at-work-for-far-too-long"
        ),
    ],
)
def test_a_server_that_a_canary_would_cut_off_is_asked_only_while_its_cpu_is_idle(
    known: dict[str, Any], asked: bool
) -> None:
    evidence = replace(CUT_OFF, **known)

    assert wants_canary(evidence, policy=POLICY, now=LATER) is asked


def test_requests_that_come_and_go_without_a_token_bring_a_canary() -> None:
    """Each fails inside, so the counters move and nothing is inferred."""
    played = Played().play([IDLE])
    for task in range(20):
        played.now += 1.0
        slot = Slot(id=0, busy=True, task=task, decoded=0, prefilled=0)
        played._see(ProgressSeen(instance="life-1", reply=Reply.ANSWERED, slots=(slot,)))

    assert played.evidence.is_saturated
    assert wants_canary(played.evidence, policy=POLICY, now=played.now)


def test_what_is_not_well_yet_is_asked_soon_again() -> None:
    played = Played().play([IDLE])
    later = played.now + POLICY.canary_retry_s

    asked = [wants_canary(played.evidence, policy=POLICY, now=later, is_well=well) for well in (True, False)]

    assert asked == [False, True]


@pytest.mark.parametrize(
    ("slots", "chosen"),
    [
        pytest.param([(0, False, 900), (1, False, 31)], 1, id="the-one-that-keeps-less"),
        pytest.param([(0, False, None), (1, False, None)], 0, id="old-builds-do-not-tell"),
        pytest.param([(0, True, None), (1, False, 900)], 1, id="the-only-idle-one"),
        pytest.param([(0, True, None)], None, id="none-is-idle"),
        pytest.param([(-1, False, None)], None, id="no-slot-but-a-sum"),
    ],
)
def test_a_canary_goes_where_it_costs_least(slots: list[tuple[int, bool, int | None]], chosen: int | None) -> None:
    seen = tuple(
        Slot(id=number, busy=busy, task=1, decoded=0, prefilled=0, cached=cached) for number, busy, cached in slots
    )

    assert least_lost(seen) == chosen


def test_the_cpu_is_known_by_the_time_a_canary_is_overdue() -> None:
    waiting = replace(Played().play([IDLE]).evidence, canary_since=NOW)
    half_s = POLICY.canary_deadline_s / 2

    assert not wants_cpu(waiting, policy=POLICY, now=NOW + half_s - 1.0)
    assert wants_cpu(waiting, policy=POLICY, now=NOW + half_s)
