"""What is remembered of what each witness says, and what ends a spell without progress."""

from dataclasses import replace

import pytest

from supervisor.core.evidence import SLEEPS_AFTER_S, Evidence
from supervisor.core.fold import ease, is_awaited, take
from supervisor.core.observations import (
    CanaryEnded,
    CanarySent,
    CpuSeen,
    EngineSeen,
    Kind,
    Life,
    Observation,
    ProgressSeen,
    Reply,
    Slot,
    TrafficSeen,
)
from supervisor.core.policy import Policy
from tests.core.timeline import NOW

POLICY = Policy()
BLANK = Evidence(seen_at=NOW, instance="life-1")
IDLE_SLOT = Slot(id=0, busy=False, task=1, decoded=4, prefilled=0)
AT_WORK = Slot(id=0, busy=True, task=2, decoded=3, prefilled=0)
READING = Slot(id=0, busy=True, task=2, decoded=0, prefilled=0)


def told(evidence: Evidence, *seen: Observation, after_s: float = 1.0) -> Evidence:
    """Return the evidence after one observation a second."""
    for number, each in enumerate(seen, start=1):
        evidence = take(evidence, each, policy=POLICY, now=NOW + number * after_s)
    return evidence


def look(*slots: Slot, reply: Reply = Reply.ANSWERED, **more: object) -> Observation:
    return ProgressSeen(instance="life-1", reply=reply, slots=slots, **more)  # type: ignore[arg-type]


def cpu(share: float, **more: object) -> Observation:
    return CpuSeen(instance="life-1", burned_s=share, over_s=1.0, **more)  # type: ignore[arg-type]


def traffic(*, ok: bool, **more: object) -> TrafficSeen:
    return TrafficSeen(**{"instance": None, "ok": ok, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        pytest.param(AT_WORK, replace(AT_WORK, decoded=4), True, id="one-token-more"),
        pytest.param(READING, replace(READING, prefilled=2048), True, id="one-batch-more"),
        pytest.param(AT_WORK, replace(AT_WORK, drafted=8), True, id="drafted"),
        pytest.param(AT_WORK, AT_WORK, False, id="stands"),
        pytest.param(IDLE_SLOT, AT_WORK, True, id="a-new-request-with-tokens"),
        pytest.param(IDLE_SLOT, READING, False, id="a-new-request-without-one"),
        pytest.param(AT_WORK, replace(READING, task=3), False, id="the-next-request-without-one"),
        pytest.param(AT_WORK, replace(IDLE_SLOT, task=2), False, id="it-has-ended"),
        pytest.param(
            Slot(id=0, busy=False, task=None, decoded=90, prefilled=0),
            Slot(id=0, busy=True, task=None, decoded=90, prefilled=0),
            False,
            id="a-batch-server-that-has-just-begun",
        ),
    ],
)
def test_only_tokens_prove_inference(before: Slot, after: Slot, moved: bool) -> None:
    evidence = told(BLANK, look(before), look(after))

    assert (evidence.worked_at == NOW + 2) is moved


def test_slots_that_were_read_elsewhere_are_not_compared() -> None:
    summed = Slot(id=-1, busy=True, task=None, decoded=900, prefilled=0)

    evidence = told(BLANK, look(AT_WORK), look(summed), look(AT_WORK))

    assert (evidence.worked_at, evidence.standing_since) == (None, None)


def test_a_server_that_batches_has_room_until_a_request_waits() -> None:
    busy = Slot(id=0, busy=True, task=None, decoded=7, prefilled=0)

    has_room, is_full = told(BLANK, look(busy, queued=0)), told(BLANK, look(busy, queued=2))

    assert (has_room.is_saturated, is_full.is_saturated) == (False, True)


def test_counters_that_are_back_after_burning_silence_have_come_round() -> None:
    """Builds without a count of the prompt show the same slot after each batch of it."""
    silent = look(reply=Reply.SILENT)

    evidence = told(BLANK, look(READING), *[cpu(0.9), silent] * 4, look(READING))

    assert (evidence.silent_since, evidence.standing_since) == (None, None)


def test_counters_that_are_back_after_idle_silence_stand_as_they_stood() -> None:
    silent = look(reply=Reply.SILENT)

    evidence = told(BLANK, look(READING), *[cpu(0.0), silent] * 4, look(READING))

    assert evidence.standing_since == NOW + 1


def test_a_spell_of_silence_does_not_make_standing_counters_young() -> None:
    evidence = told(BLANK, look(AT_WORK), look(AT_WORK), look(reply=Reply.SILENT), look(reply=Reply.SILENT))

    assert evidence.quiet_since == NOW + 1


def test_gpu_work_is_work_and_an_unknown_gpu_is_not_idle() -> None:
    on_gpu = told(BLANK, cpu(0.0, gpu_share=0.9))
    unknown = told(BLANK, cpu(0.0, gpu_is_unknown=True))
    idle = told(BLANK, cpu(0.0, gpu_share=0.0))

    assert (on_gpu.cpu_burned, on_gpu.burned_s) == (True, 0.9)
    assert (unknown.cpu_burned, unknown.cpu_idle_since) == (None, None)
    assert (idle.cpu_burned, idle.cpu_idle_since) == (False, NOW)


def test_a_thread_that_waits_for_the_disk_is_not_idle() -> None:
    evidence = told(BLANK, cpu(0.0), cpu(0.0, waits_for_disk=True))

    assert (evidence.cpu_burned, evidence.cpu_idle_since) == (True, None)


def test_a_reported_answer_ends_a_spell_that_began_before_it() -> None:
    quiet = replace(BLANK, silent_since=NOW + 1, failures=2, traffic_failures=3, unanswered_since=NOW)

    evidence = take(quiet, traffic(ok=True, age_s=1.0), policy=POLICY, now=NOW + 5)

    assert (evidence.silent_since, evidence.unanswered_since, evidence.failures) == (None, None, 0)
    assert (evidence.last_proof_at, evidence.has_proven_itself, evidence.has_failed_users) == (NOW + 4, True, False)


def test_a_reported_answer_that_ended_before_a_spell_says_nothing_of_it() -> None:
    quiet = replace(BLANK, silent_since=NOW + 4)

    evidence = take(quiet, traffic(ok=True, age_s=2.0), policy=POLICY, now=NOW + 5)

    assert (evidence.silent_since, evidence.traffic_ok_at) == (NOW + 4, NOW + 3)


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(traffic(ok=True, instance="life-0"), id="of-another-life"),
        pytest.param(traffic(ok=True, age_s=60.0), id="of-a-time-before-it"),
        pytest.param(traffic(ok=False, age_s=60.0), id="a-failure-before-it"),
    ],
)
def test_what_was_not_about_this_life_is_no_proof(report: TrafficSeen) -> None:
    assert told(BLANK, report) == BLANK


def test_reported_failures_are_counted_until_something_is_proven() -> None:
    failed = told(BLANK, traffic(ok=False, detail="timeout"), traffic(ok=False, detail="timeout"))
    proven = told(failed, CanarySent(instance="life-1", attempt=1), after_s=3.0)
    proven = take(
        proven,
        CanaryEnded(instance="life-1", attempt=1, reply=Reply.ANSWERED, first_token_s=0.1),
        policy=POLICY,
        now=NOW + 4,
    )

    assert (failed.traffic_failures, failed.traffic_detail, failed.has_failed_users) == (2, "timeout", True)
    assert (proven.traffic_failures, proven.traffic_detail) == (0, "")


def test_a_server_once_seen_asleep_is_meant_to_sleep_in_its_next_life_too() -> None:
    asleep = told(BLANK, look(reply=Reply.ASLEEP, sleeps=True))
    next_life = take(asleep, EngineSeen(life=Life.RUNNING, instance="life-2", age_s=0.0), policy=POLICY, now=NOW + 9)

    assert (BLANK.sleeps_after_s, asleep.sleeps_after_s, next_life.sleeps_after_s) == (
        None,
        SLEEPS_AFTER_S,
        SLEEPS_AFTER_S,
    )


def test_its_arguments_say_best_after_how_long_it_sleeps() -> None:
    seen = EngineSeen(life=Life.RUNNING, instance="life-1", sleep_idle_s=30.0)

    evidence = told(BLANK, look(reply=Reply.ASLEEP), seen)

    assert evidence.sleeps_after_s == 30.0


def test_only_a_look_that_was_not_gentle_may_have_kept_it_up() -> None:
    gently = told(BLANK, look(reply=Reply.UNSUPPORTED, gently=True, kind=Kind.LLAMA_CPP))
    closely = told(gently, look(IDLE_SLOT), after_s=2.0)

    assert (gently.closely_at, closely.closely_at) == (None, NOW + 2)


def test_a_life_that_followed_another_cannot_be_older_than_what_we_saw_of_that() -> None:
    """A wall clock that was set while it started would make it look as if it had been starting for an hour."""
    evidence = take(BLANK, EngineSeen(life=Life.RUNNING, instance="life-2", age_s=3600.0), policy=POLICY, now=NOW + 5)

    assert evidence.started_at == NOW


def test_one_whose_model_was_ended_alone_begins_anew_in_the_same_life_and_has_a_while_to_show_that_it_helped() -> None:
    known = told(BLANK, look(IDLE_SLOT))
    hung = replace(known, silent_since=NOW, answered_at=NOW - 60.0, canary_since=NOW, failures=2)

    eased = ease(hung, policy=POLICY, now=NOW + 10.0)

    assert (eased.instance, eased.engine, eased.seen_at) == (hung.instance, None, NOW + 10.0)
    assert (eased.silent_since, eased.canary_since, eased.failures) == (None, None, 0)
    assert not eased.has_proven_itself
    assert eased.started_at + POLICY.startup_limit_s == NOW + 10.0 + POLICY.ease_proof_s


def test_a_life_that_was_too_short_to_be_seen_at_work_is_a_life_all_the_same() -> None:
    nothing = Evidence(seen_at=NOW)
    first = told(nothing, EngineSeen(life=Life.RUNNING, instance="one", age_s=3.0))

    second = told(first, EngineSeen(life=Life.EXITED, instance="two", exit_code=1), after_s=5.0)

    assert (second.instance, second.engine and second.engine.exit_code) == ("two", 1)
    # What has run before we came was no life that we saw.
    assert told(nothing, EngineSeen(life=Life.EXITED, instance="zero", exit_code=1)).instance is None


def test_an_engine_that_restarts_it_again_and_again_is_told_from_one_that_does_so_now_and_then() -> None:
    evidence = Evidence(seen_at=NOW)
    loops = []
    for number in range(6):
        evidence = told(evidence, EngineSeen(life=Life.RUNNING, instance=str(number)), after_s=2.0 * number)
        again = EngineSeen(life=Life.RESTARTING, instance=str(number), exit_code=1)
        evidence = told(evidence, again, after_s=2.0 * number + 1.0)
        loops.append(evidence.is_looping)

    assert loops == [False, False, False, True, True, True]


def test_a_life_that_answers_ends_the_loop() -> None:
    looping = replace(Evidence(seen_at=NOW, instance="9"), is_looping=True, stillborn=7, answered_at=NOW)

    later = told(looping, EngineSeen(life=Life.RUNNING, instance="10"), after_s=60.0)

    assert (later.is_looping, later.stillborn) == (False, 0)


@pytest.mark.parametrize(
    ("instance", "attempt", "awaited"), [("life-1", 3, True), ("life-0", 3, False), ("life-1", 2, False)]
)
def test_only_the_end_of_the_canary_that_is_out_is_awaited(instance: str, attempt: int, awaited: bool) -> None:
    out = Evidence(seen_at=NOW, instance="life-1", canary_since=NOW, canary_attempt=3)

    assert is_awaited(out, CanaryEnded(instance=instance, attempt=attempt, reply=Reply.ANSWERED)) is awaited
