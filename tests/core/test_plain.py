"""What is told in JSON values comes back as it was; what is odd comes back as it usually is."""

import json
from dataclasses import replace
from typing import Any

import pytest

from supervisor.core.evidence import Evidence
from supervisor.core.observations import CpuSeen, EngineSeen, Kind, Life, ProgressSeen, Reply, Slot
from supervisor.core.plain import MOST_OF_A_TEXT, from_plain, to_plain
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State

NOW = 1000.0
BUSY = Slot(id=3, busy=True, task=7, decoded=12, prefilled=100, cached=5)
RUNNING = EngineSeen(life=Life.RUNNING, instance="4f1e", age_s=12.5, pid=42, uses_gpu=True)
EVIDENCE = Evidence(
    seen_at=900.0,
    started_at=880.0,
    engine=RUNNING,
    instance="4f1e",
    slots=(BUSY,),
    leaked=frozenset({BUSY}),
    still=((BUSY, 990.0),),
    kind=Kind.LLAMA_CPP,
    lately_s=(0.1, 0.2),
    last_reply=Reply.ANSWERED,
    canary_since=995.0,
)
STATE = State(phase=Phase.BACKOFF, since=990.0, restarts=(700.0, 980.0), retry_at=1010.0, in_a_row=2)


@pytest.mark.parametrize(
    "value", [EVIDENCE, STATE, RUNNING, Policy(tick_s=3.0)], ids=lambda value: type(value).__name__
)
def test_it_comes_back_as_it_was(value: Any) -> None:
    told = json.loads(json.dumps(to_plain(value, now=NOW)))

    assert from_plain(type(value), told, now=NOW) == value


def test_a_time_is_told_from_now_and_a_length_as_it_is() -> None:
    told = to_plain(EVIDENCE, now=NOW)

    assert (told["seen_at"], told["canary_since"], told["still"][0][1]) == (-100.0, -5.0, -10.0)
    assert (told["lately_s"], told["engine"]["age_s"]) == ([0.1, 0.2], 12.5)


def test_times_are_read_by_the_readers_own_clock() -> None:
    told = to_plain(STATE, now=NOW)

    read = from_plain(State, told, now=5000.0)

    assert read == replace(STATE, since=4990.0, restarts=(4700.0, 4980.0), retry_at=5010.0)


def test_what_is_as_it_usually_is_is_not_told() -> None:
    assert to_plain(State(since=NOW), now=NOW) == {"since": 0.0}


def test_a_text_is_no_longer_than_it_may_be() -> None:
    long = replace(RUNNING, detail="x" * 1000)

    told = to_plain(long, now=NOW)

    assert len(told["detail"]) == MOST_OF_A_TEXT
    assert from_plain(EngineSeen, {**told, "detail": "x" * 1000}, now=NOW) == replace(long, detail=told["detail"])


def test_a_number_that_is_none_is_told_as_none() -> None:
    odd = CpuSeen(instance=None, burned_s=float("nan"), over_s=float("inf"))

    assert to_plain(odd, now=NOW) == {"instance": None, "burned_s": None, "over_s": None}


@pytest.mark.parametrize(
    "odd",
    [
        {"age_s": -1.0},
        {"age_s": True},
        {"age_s": "12"},
        {"age_s": float("nan")},
        {"age_s": 10**400},
        {"pid": 1.5},
        {"pid": False},
        {"pid": 2**60},
        {"uses_gpu": 1},
        {"detail": None},
        {"detail": ["x"]},
        {"more": "than there is"},
    ],
    ids=str,
)
def test_an_odd_field_is_taken_to_be_as_it_usually_is(odd: dict[str, Any]) -> None:
    assert from_plain(EngineSeen, {"life": "running", **odd}, now=NOW) == EngineSeen(life=Life.RUNNING)


@pytest.mark.parametrize("odd", [{}, {"life": "merry"}, {"life": None}, {"life": []}, None, [], "running"], ids=str)
def test_without_what_it_needs_it_is_nothing(odd: Any) -> None:
    assert from_plain(EngineSeen, odd, now=NOW) is None


@pytest.mark.parametrize("odd", [None, {}, [None], [{"id": 1}], [[]], "as before"], ids=str)
def test_slots_that_are_none_are_no_slots(odd: Any) -> None:
    look = {"instance": None, "reply": "answered"}

    assert from_plain(ProgressSeen, {**look, "slots": odd}, now=NOW) == ProgressSeen(
        instance=None, reply=Reply.ANSWERED
    )


@pytest.mark.parametrize("odd", [[1], [[]], [[{}, 1.0]], [[to_plain(BUSY, now=NOW)]]], ids=str)
def test_a_pair_of_which_a_part_is_missing_is_none(odd: Any) -> None:
    assert from_plain(Evidence, {"seen_at": 0.0, "still": odd}, now=NOW) == Evidence(seen_at=NOW)
