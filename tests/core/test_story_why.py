"""Why a target is believed to be hung, and why it is not although it is slow: the middle of its story."""

from typing import Any

import pytest

from supervisor.core.observations import Kind, Reply
from supervisor.core.state import Phase
from supervisor.core.verdict import Verdict
from tests.core.telling import BURNING, HUNG, IDLE_SLOT, NOW, at_work, judged, told, told_of
from tests.core.timeline import FROZEN_IDLE, IDLE, KILLED, LIVELOCKED, PREFILLING, WORKING

# --- why it is not believed hung ------------------------------------------------------------------------------------


def test_a_long_prefill_is_told_as_work_with_what_would_change_that() -> None:
    paragraph = told_of(IDLE, WORKING, *[PREFILLING] * 40)

    assert paragraph == (
        "general is busy, and has been for 41 s. Its one slot is at work (5 tokens decoded so far); its counters last"
        " moved 41 s ago, and it has burned 0.9 of a core since, so it is working and not hung. Whoever asks now waits"
        " for a slot. Nothing is done to it. If nothing moves for another 1 min 19 s, routers stop sending to it, and"
        " after 2 min 19 s it is restarted; should its CPU fall idle, 8 s of that are enough. Routers use it with"
        " weight 0.3."
    )


def test_a_busy_server_is_told_by_its_moving_counters() -> None:
    paragraph = told_of(IDLE, *[WORKING] * 20)

    assert "and its counters moved 1 s ago: it is working and not hung." in paragraph
    assert "Whoever asks now waits for a slot." in paragraph
    assert "restart" not in paragraph


def test_a_server_at_work_that_was_never_seen_moving_is_told_without_when() -> None:
    busy = judged(Verdict.BUSY)

    assert "Its one slot is at work (12 tokens decoded so far): it is working" in told(
        Phase.BUSY, busy, slots=(at_work(),)
    )


def test_one_that_says_it_has_too_much_to_do_is_alive() -> None:
    paragraph = told(Phase.BUSY, judged(Verdict.BUSY, "Overloaded"), last_reply=Reply.OVERLOADED)

    assert "It says that it has too much to do, which only a living server says." in paragraph


def test_one_that_a_canary_would_harm_is_told_by_its_cpu() -> None:
    busy = judged(Verdict.BUSY, "CpuBurning", "at work, says its cpu")

    told_why = told(Phase.BUSY, busy, kind=Kind.LLAMA_CPP_PYTHON, burning_since=940.0)

    assert "It has burned CPU for 1 min, so it is taken to be at work; a canary could cut off" in told_why


def test_one_that_is_busy_for_another_reason_is_told_in_the_verdicts_words() -> None:
    assert "Some message." in told(Phase.BUSY, judged(Verdict.BUSY))


def test_degraded_says_how_slow_and_that_it_is_not_hung() -> None:
    slow = judged(Verdict.DEGRADED, "Slow", "first token after 8.0 s, usually after 400 ms")

    paragraph = told(Phase.DEGRADED, slow, lately_s=(7.5, 0.9, 8.0))

    assert (
        "It answers, but far later than it used to: first token after 8.0 s, usually after 400 ms"
        " (its last ones: 7.5 s, 900 ms, 8.0 s). It is slow, not hung." in paragraph
    )
    assert "Routers use it with weight 0.5." in paragraph
    assert "It is not restarted for that; if it does not pass: benchai-supervisorctl restart general." in paragraph


@pytest.mark.parametrize(("since", "words"), [(None, "others answer."), (940.0, "answer, and has been for 1 min.")])
def test_a_stuck_slot_is_told_with_its_age(since: float | None, words: str) -> None:
    stuck = judged(Verdict.DEGRADED, "SlotStuck", "slot 2 of 4 is stuck, others answer")

    paragraph = told(Phase.DEGRADED, stuck, leaked_since=since)

    assert f"It answers, but slot 2 of 4 is stuck, others {words.removeprefix('others ')}" in paragraph
    assert "so it is not hung." in paragraph


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"slots": (at_work(decoded=0, prefilled=2048),)}, "Its one slot is reading a prompt (2048 tokens so far);"),
        ({"slots": (at_work(decoded=0, prefilled=0),)}, "Its one slot is reading a prompt;"),
        ({"slots": (IDLE_SLOT, at_work(slot=1))}, "One of its 2 slots is at work (12 tokens decoded so far);"),
        ({"slots": (at_work(), at_work(slot=1), IDLE_SLOT)}, "2 of its 3 slots are at work;"),
        ({"slots": (at_work(),), "kind": Kind.VLLM}, "It has requests at work;"),
        ({"slots": (IDLE_SLOT,), "kind": Kind.VLLM}, "It has no request at work;"),
    ],
)
def test_what_its_slots_do_is_told_in_a_sentence(known: dict[str, Any], words: str) -> None:
    assert words in told(Phase.BUSY, judged(Verdict.BUSY), standing_since=960.0, canary_since=950.0, **known, **BURNING)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"waits_for_disk": True}, "a thread of it waits for a disk or a network share"),
        ({"cpu_idle_since": 995.0}, "its CPU has been idle for 5 s"),
        (BURNING, "it has burned 0.9 of a core since"),
        ({**BURNING, "gpu_share": 0.4}, "it has burned 0.9 of a core since and uses 0.4 of a GPU"),
        ({"gpu_is_unknown": True}, "what its GPU does is not known"),
        ({}, "what its CPU does is not known"),
    ],
)
def test_a_spell_without_progress_says_what_was_burned_meanwhile(known: dict[str, Any], words: str) -> None:
    paragraph = told(Phase.SUSPECT, judged(Verdict.SUSPECT), silent_since=988.0, readable_ever=True, **known)

    assert f"Its counters have been silent for 12 s, and {words}: that may be a hang." in paragraph


@pytest.mark.parametrize(("queued", "words"), [(1, "1 request waits its turn."), (3, "3 requests wait their turn.")])
def test_who_waits_is_counted(queued: int, words: str) -> None:
    slots = (at_work(),)

    assert words in told(Phase.BUSY, judged(Verdict.BUSY), slots=slots, kind=Kind.VLLM, queued=queued)


# --- why it is ------------------------------------------------------------------------------------------------------


def test_a_suspect_with_an_idle_cpu_says_when_it_counts_as_hung() -> None:
    paragraph = told_of(*[IDLE] * 5, *[FROZEN_IDLE] * 5)

    assert paragraph.startswith("general is under suspicion, and has been for 5 s. Its counters have been silent for")
    assert "its CPU has been idle for" in paragraph
    assert "If nothing moves for another 3 s, it is restarted as hung. Routers do not send to it." in paragraph
    assert "To restart it without waiting: benchai-supervisorctl restart general." in paragraph


def test_a_livelock_says_how_much_longer_it_is_borne() -> None:
    paragraph = told_of(IDLE, *[WORKING] * 3, *[LIVELOCKED] * 125)

    assert "it has burned 0.9 of a core since: that may be a hang. If nothing moves for another " in paragraph


def test_a_hang_at_work_says_that_a_server_at_work_would_have_moved() -> None:
    since = {"standing_since": 970.0, "cpu_idle_since": 972.0, "slots": (at_work(),), "retry_at": 1018.0}

    paragraph = told(Phase.BACKOFF, HUNG, **since, restarts=(940.0,), in_a_row=1)

    assert paragraph == (
        "general is hung and out of service, and has been for 10 s. Its one slot is at work (12 tokens decoded so far);"
        " its counters last moved 30 s ago, and its CPU has been idle for 28 s: a server at work would have moved by"
        " now. It is restarted in 18 s if it is not well by then (restart 2 of 5 in 30 min). Routers do not send to it."
        " We restarted it once in the last 30 min, last 1 min ago. To restart it without waiting:"
        " benchai-supervisorctl restart general. Its log may tell the cause."
    )


def test_a_hang_that_idle_slots_give_away_names_the_canary() -> None:
    swallowed = {"canary_since": 970.0, "idle_since": 950.0, "looked_at": 999.0, "slots": (IDLE_SLOT,)}

    paragraph = told(Phase.BACKOFF, HUNG, **swallowed, cpu_idle_since=972.0, retry_at=NOW)

    assert "Our canary has been unanswered for 30 s although its one slot is idle, and its CPU" in paragraph
    assert "It is restarted now if it is not well by then" in paragraph


def test_an_overdue_canary_of_a_server_without_counters_is_told_alone() -> None:
    suspect = judged(Verdict.SUSPECT, "CanaryOverdue")

    paragraph = told(Phase.SUSPECT, suspect, canary_since=970.0, kind=Kind.OTHER)

    assert "Our canary has been unanswered for 30 s, and what its CPU does is not known" in paragraph


def test_idle_slots_of_a_large_server_are_counted() -> None:
    swallowed = {"canary_since": 970.0, "idle_since": 950.0, "looked_at": 999.0, "slots": (IDLE_SLOT, IDLE_SLOT)}

    assert "although none of its 2 slots is at work" in told(Phase.SUSPECT, judged(Verdict.SUSPECT), **swallowed)


def test_one_that_never_became_ready_counts_as_hung() -> None:
    late = judged(Verdict.HUNG, "NeverReady", "still loading its model after its startup limit")

    assert "It counts as hung: still loading its model after its startup limit." in told(Phase.BACKOFF, late)


@pytest.mark.parametrize(
    ("failures", "words"),
    [(1, "Its last answer was bad: status 500."), (3, "Its last 3 answers were bad: status 500.")],
)
def test_bad_answers_are_counted_and_quoted(failures: int, words: str) -> None:
    failing = judged(Verdict.FAILING, "BadAnswers", "status 500")

    assert words in told(Phase.BACKOFF, failing, failures=failures, retry_at=1010.0)


def test_a_first_bad_answer_says_how_many_more_are_borne() -> None:
    paragraph = told(Phase.SUSPECT, judged(Verdict.SUSPECT, "BadAnswer", "garbage"), failures=1)

    assert "Its last answer was bad: garbage. After 3 bad answers in a row it is restarted." in paragraph


def test_a_refused_connection_is_looked_at_again() -> None:
    refused = judged(Verdict.SUSPECT, "Refused", "its port does not answer")

    paragraph = told(Phase.SUSPECT, refused, refusals=1, silent_since=999.0)

    assert "Its port does not answer. A closer look follows at once." in paragraph


def test_a_killed_server_says_how_it_ended() -> None:
    paragraph = told_of(*[IDLE] * 5, *[KILLED] * 3)

    assert "general is down and out of service" in paragraph
    assert "Exited with code 137. It is restarted in" in paragraph


def test_a_server_that_runs_into_its_limits_again_and_again_is_tried_slowly() -> None:
    spent = {"is_exhausted": True, "retry_at": 1600.0, "restarts": (100.0, 400.0, 900.0)}

    paragraph = told(Phase.FAILED, judged(Verdict.DOWN, "Exited", "exited with code 1"), **spent)

    assert "Restarts have not helped, so it is tried only every 15 min now: next in 10 min." in paragraph
    assert "We restarted it 3 times in the last 30 min, last 1 min 40 s ago." in paragraph


@pytest.mark.parametrize(
    ("message", "cure"),
    [
        ("the canary is refused: status 401: Invalid API Key", "set api_key of this target"),
        ("the canary is refused: status 404: no such path", "check url, canary and canary_model"),
        ("the canary is refused: status 400: no template", "check the server's chat template"),
        ("the canary is refused: status 418", "check url, api_key, canary and canary_model"),
    ],
)
def test_misconfigured_names_the_cure_and_why_a_restart_is_none(message: str, cure: str) -> None:
    paragraph = told(Phase.FAILED, judged(Verdict.MISCONFIGURED, "CanaryDenied", message))

    assert "so a restart would change nothing. Nothing more is tried until that changes." in paragraph
    assert f"A person must mend it: {cure}" in paragraph
    assert "benchai-supervisorctl restart" not in paragraph
