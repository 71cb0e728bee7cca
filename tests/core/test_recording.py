"""What was seen of a target is kept within bounds, told in JSON values, and read back whatever stands there."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given

from supervisor.core.baseline import Baseline
from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.evidence import Evidence
from supervisor.core.observations import (
    CanaryEnded,
    CanarySent,
    CpuSeen,
    EngineSeen,
    EngineSilent,
    Kind,
    Life,
    Observation,
    ProgressSeen,
    Reply,
    Slot,
    TrafficSeen,
)
from supervisor.core.recording import (
    BEGINS_EVERY,
    MOST_AGE_S,
    MOST_BYTES,
    MOST_KEPT,
    Belief,
    Entry,
    Recording,
    from_json,
    noted,
    to_json,
)
from supervisor.core.state import State
from supervisor.core.statements import Statement, Witness
from supervisor.core.verdict import Judgement, Verdict
from tests.core.recorded import record
from tests.core.test_properties import chaos, unrolled
from tests.core.timeline import IDLE, LIVELOCKED, WORKING

NOW = 1000.0
BELIEF = Belief(evidence=Evidence(seen_at=900.0), state=State(since=900.0))
SLOTS = tuple(Slot(id=number, busy=number > 1, task=7, decoded=12, prefilled=100, cached=5) for number in range(4))
EVERY_KIND: tuple[Observation, ...] = (
    EngineSeen(
        life=Life.EXITED,
        instance="4f1e@2026-11-23T11:58:02Z",
        age_s=12.5,
        pid=42,
        started_at="2026-11-23T11:58:02Z",
        ended_at="2026-11-23T11:59:02Z",
        exit_code=137,
        oom_killed=True,
        stopped_by_operator=True,
        uses_gpu=True,
        sleep_idle_s=60.0,
        detail="killed",
    ),
    EngineSilent(detail="no answer"),
    ProgressSeen(
        instance="4f1e",
        reply=Reply.ANSWERED,
        took_s=0.25,
        slots=SLOTS,
        kind=Kind.LLAMA_CPP,
        queued=2,
        sleeps=True,
        gently=True,
        detail="of /slots",
    ),
    CpuSeen(instance="4f1e", burned_s=0.9, over_s=1.0, gpu_share=0.5, gpu_is_unknown=True, waits_for_disk=True),
    TrafficSeen(instance=None, ok=False, age_s=0.5, first_token_s=1.5, detail="timed out"),
    CanarySent(instance="4f1e", attempt=3),
    CanaryEnded(instance="4f1e", attempt=3, reply=Reply.FAILED, first_token_s=0.1, detail="500"),
)
LEAST: dict[str, dict[str, Any]] = {
    "EngineSeen": {"life": "running"},
    "EngineSilent": {"detail": ""},
    "ProgressSeen": {"instance": None, "reply": "silent"},
    "CpuSeen": {"instance": None, "burned_s": 0.0, "over_s": 1.0},
    "TrafficSeen": {"instance": None, "ok": True},
    "CanarySent": {"instance": None, "attempt": 1},
    "CanaryEnded": {"instance": None, "attempt": 1, "reply": "answered"},
}


def recorded(*seen: Observation, every_s: float = 1.0, before: Belief = BELIEF) -> Recording:
    """Record observations, one every so often, the last of them at `NOW`."""
    recording = Recording()
    for number, each in enumerate(seen, start=1 - len(seen)):
        recording = noted(recording, each, now=NOW + number * every_s, before=before)
    return recording


def written(recording: Recording, *, now: float) -> Any:
    """Return what a reader finds in the file."""
    return json.loads(json.dumps(to_json(recording, now=now)))


def test_every_kind_of_observation_is_among_these() -> None:
    assert {type(each) for each in EVERY_KIND} == set(get_args(Observation))
    assert set(LEAST) == {kind.__name__ for kind in get_args(Observation)}


@pytest.mark.parametrize("seen", EVERY_KIND, ids=lambda seen: type(seen).__name__)
def test_every_kind_of_observation_comes_back_from_json_as_it_was(seen: Observation) -> None:
    recording = recorded(seen)

    read = from_json(written(recording, now=NOW + 5), now=NOW + 5)

    assert read == recording
    assert repr(read) == repr(recording)  # what a slot keeps is not compared


@pytest.mark.parametrize("kind", LEAST)
def test_the_least_there_is_of_a_kind_is_enough(kind: str) -> None:
    read = from_json([{"at_s": -3, "seen": kind, **LEAST[kind]}], now=NOW)

    assert [(type(each.seen).__name__, each.at) for each in read.entries] == [(kind, NOW - 3)]


def test_a_belief_comes_back_as_it_was() -> None:
    judgement = Judgement(verdict=Verdict.HUNG, reason="CountersSilent", message="counters silent", since=990.0)
    evidence = Evidence(seen_at=900.0, slots=SLOTS, leaked=frozenset(SLOTS), silent_since=990.0)
    before = Belief(
        evidence=evidence,
        state=State(since=990.0, judgement=judgement, restarts=(950.0,)),
        baseline=Baseline(gaps_s=(30.0,)),
    )

    read = from_json(written(recorded(EVERY_KIND[0], before=before), now=NOW), now=NOW)

    assert read.entries[0].before == before


def test_of_a_belief_no_words_are_kept_that_no_judgement_rests_on() -> None:
    statement = Statement(witness=Witness.CPU, says="idle")
    judgement = Judgement(verdict=Verdict.HUNG, reason="Some", message="some", statements=(statement,))
    diagnosis = Diagnosis(cause=Cause.HUNG, says="hung", cure="", helps_restart=True)
    before = Belief(evidence=BELIEF.evidence, state=State(since=NOW, judgement=judgement, diagnosis=diagnosis))

    told = to_json(recorded(EVERY_KIND[1], before=before), now=NOW)

    assert told[0]["before"]["state"] == {
        "since": 0.0,
        "judgement": {"verdict": "hung", "reason": "Some", "message": "some"},
    }


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_no_more_is_kept_than_may_be_and_a_replay_can_always_begin_there() -> None:
    recording = Recording()
    for number in range(3 * MOST_KEPT):
        recording = noted(recording, EVERY_KIND[number % 7], now=NOW + number / 10, before=BELIEF)

        assert recording.entries[0].before is not None
        assert number < MOST_KEPT or MOST_KEPT - 2 * BEGINS_EVERY <= len(recording.entries) <= MOST_KEPT


def test_nothing_is_kept_for_longer_than_it_may_be() -> None:
    recording = recorded(*[EngineSilent(detail="")] * 100, every_s=30.0)

    assert recording.entries[-1].at - recording.entries[0].at <= MOST_AGE_S
    assert recording.entries[0].before is not None


def test_after_a_long_time_in_which_nothing_was_seen_only_the_new_is_kept() -> None:
    recording = noted(recorded(*EVERY_KIND), CanarySent(instance=None, attempt=1), now=NOW + 5000, before=BELIEF)

    assert recording == Recording(
        entries=(Entry(at=NOW + 5000, seen=CanarySent(instance=None, attempt=1), before=BELIEF),)
    )


@pytest.mark.parametrize("slots", [1, 8, 64])
def test_what_is_written_is_no_larger_than_it_may_be(slots: int) -> None:
    busy = [
        ProgressSeen(
            instance="4f1e01234567@2026-11-23T11:58:02.123456Z",
            reply=Reply.ANSWERED,
            slots=tuple(Slot(id=slot, busy=True, task=look, decoded=look, prefilled=look) for slot in range(slots)),
        )
        for look in range(MOST_KEPT)
    ]
    recording = recorded(*busy)

    told = to_json(recording, now=NOW)

    assert "before" in told[0]
    assert len(json.dumps({"observations": told}, indent=1).encode()) <= MOST_BYTES
    assert told[-1]["at_s"] == 0.0


def test_where_even_the_least_is_too_large_nothing_is_written() -> None:
    many = tuple(Slot(id=number, busy=True, task=1, decoded=1, prefilled=1) for number in range(2000))
    recording = recorded(ProgressSeen(instance=None, reply=Reply.ANSWERED, slots=many))

    assert to_json(recording, now=NOW) == []


def test_slots_that_stay_as_they_are_are_written_once() -> None:
    look = ProgressSeen(instance=None, reply=Reply.ANSWERED, slots=SLOTS)
    silent = ProgressSeen(instance=None, reply=Reply.SILENT)
    moved = ProgressSeen(instance=None, reply=Reply.ANSWERED, slots=SLOTS[:2])
    recording = recorded(look, silent, look, moved, look)

    told = written(recording, now=NOW)

    assert [each.get("slots") == "as before" for each in told[1:]] == [False, False, True, False, False]
    assert from_json(told, now=NOW) == recording


# --- what is odd ------------------------------------------------------------------------------------------------------


def test_slots_as_they_were_before_nobody_knows_what_are_left_out() -> None:
    look = ProgressSeen(instance=None, reply=Reply.ANSWERED, slots=SLOTS)
    told = written(recorded(look, look, EVERY_KIND[0]), now=NOW)

    read = from_json(told[2:], now=NOW)

    assert [type(each.seen) for each in read.entries] == [EngineSeen]


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        {},
        {"seen": "EngineSilent", "detail": ""},
        {"at_s": 1.0, "seen": "EngineSilent", "detail": ""},
        {"at_s": -1e9, "seen": "EngineSilent", "detail": ""},
        {"at_s": True, "seen": "EngineSilent", "detail": ""},
        {"at_s": float("nan"), "seen": "EngineSilent", "detail": ""},
        {"at_s": -1, "seen": "EngineSilent"},
        {"at_s": -1, "seen": ["EngineSilent"], "detail": ""},
        {"at_s": -1, "seen": "CpuSeen", "instance": None, "burned_s": 1.0, "over_s": 0},
        {"before": {"evidence": {}}},
    ],
    ids=str,
)
def test_an_entry_that_is_none_is_left_out(odd: Any) -> None:
    silent = {"at_s": -1, "seen": "EngineSilent", "detail": ""}

    read = from_json([odd, silent], now=NOW)

    assert read == Recording(entries=(Entry(at=NOW - 1, seen=EngineSilent(detail="")),))


def test_what_burned_without_having_been_measured_is_not_believed() -> None:
    told = written(recorded(EVERY_KIND[0]), now=NOW)
    told[0]["before"]["evidence"]["cpu_burned"] = True

    assert from_json(told, now=NOW).entries[0].before is None


def test_entries_are_read_in_the_order_in_which_they_were_seen() -> None:
    told = [{"at_s": -each, "seen": "EngineSilent", "detail": str(each)} for each in (1, 3, 2)]

    assert [each.at for each in from_json(told, now=NOW).entries] == [NOW - 3, NOW - 2, NOW - 1]


def test_of_more_than_is_ever_written_the_last_are_read_and_not_the_belief_before_them() -> None:
    told = written(recorded(EVERY_KIND[0]), now=NOW)
    more = [{"at_s": -each / 10, "seen": "EngineSilent", "detail": ""} for each in range(2 * MOST_KEPT)]

    read = from_json([told[0], *more], now=NOW)

    assert (len(read.entries), read.entries[-1].at, read.entries[0].before) == (MOST_KEPT, NOW, None)


@given(chaos)
def test_a_recording_of_anything_comes_back_as_it_was(spells: list[Any]) -> None:
    world = record(unrolled(spells))

    read = from_json(written(world.recording, now=world.until), now=world.until)

    assert read.entries == tuple(
        each if number == 0 else Entry(at=each.at, seen=each.seen)
        for number, each in enumerate(world.recording.entries)
    )


def test_a_livelock_of_ten_minutes_is_told_from_where_it_can_be_judged() -> None:
    world = record([IDLE, WORKING, *[LIVELOCKED] * 600])

    read = from_json(written(world.recording, now=world.until), now=world.until)

    begun = read.entries[0].before
    assert begun is not None
    assert world.until - read.entries[0].at < 200
    assert begun.evidence.silent_since == world.until - 599
