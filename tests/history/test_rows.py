"""What led here, and what is normal: written, read again, and never believed where it cannot be read."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.baseline import Baseline
from supervisor.core.state import Phase, Transition
from supervisor.core.statements import Statement, Witness
from supervisor.core.verdict import Judgement, Verdict
from supervisor.history import rows
from supervisor.history.rows import LONGEST_SAYS, MOST_SECONDS
from supervisor.history.store import Store

SAID = (
    Statement(witness=Witness.PROGRESS, says="counters silent", since=90.0),
    Statement(witness=Witness.CPU, says="idle \ud83d", since=95.56),
    Statement(witness=Witness.CANARY, says="x" * 1000),
)
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersSilent", message="counters silent, cpu idle", statements=SAID)
BASELINE = Baseline(first_tokens_s=(0.041, 0.05), gaps_s=(17.2,), starts_s=())
Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from([*rows.COLUMNS, "witness", "says", "age_s"]), inner)
    ),
)


def fell(*, at: float = 100.0, after: Phase = Phase.BACKOFF) -> Transition:
    return Transition(before=Phase.UP, after=after, at=at, judgement=HUNG)


async def test_a_change_is_told_again_with_what_every_witness_said(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.sqlite")
    await store.record("general", fell(), instance="4f1e", incident="20261123-120000-general")
    (told,) = await store.transitions("general", limit=10)
    store.close()

    at = told.pop("at")
    assert at.endswith("Z")
    assert told == {
        "before": "up",
        "after": "backoff",
        "verdict": "hung",
        "reason": "CountersSilent",
        "message": "counters silent, cpu idle",
        "statements": [
            {"witness": "progress", "says": "counters silent", "age_s": 10.0},
            {"witness": "cpu", "says": "idle ?", "age_s": 4.4},
            {"witness": "canary", "says": "x" * LONGEST_SAYS, "age_s": None},
        ],
        "incident": "20261123-120000-general",
    }


async def test_changes_are_told_newest_first_of_one_target_and_no_more_than_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.sqlite")
    for after in (Phase.SUSPECT, Phase.BACKOFF, Phase.RESTARTING):
        await store.record("general", fell(after=after), instance=None)
    await store.record("code", fell(), instance=None)
    told = await store.transitions("general", limit=2)
    unknown = await store.transitions("nobody", limit=2)
    store.close()

    assert [each["after"] for each in told] == ["restarting", "backoff"]
    assert unknown == []


async def test_what_is_normal_survives_us_and_is_replaced_by_what_is_newer(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.sqlite")
    before = await store.baseline("general")
    await store.keep_baseline("general", Baseline(starts_s=(3.0,)))
    await store.keep_baseline("general", BASELINE)
    store.close()

    store = Store(tmp_path / "history.sqlite")
    after, other = await store.baseline("general"), await store.baseline("code")
    store.close()

    assert before is None
    assert after == BASELINE
    assert other is None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param("no json", None, id="no-json"),
        pytest.param("[" * 100_000, None, id="too-deep"),
        pytest.param("[1, 2]", None, id="no-object"),
        pytest.param("{}", Baseline(), id="empty"),
        pytest.param('{"starts_s": 3, "gaps_s": "x", "dreams_s": [1]}', Baseline(), id="no-lists"),
        pytest.param(
            '{"starts_s": [NaN, 1.5, Infinity, -1, true, "2", null, 1e999, 7]}',
            Baseline(starts_s=(1.5, 7.0)),
            id="what-is-no-length-of-time-is-left-out",
        ),
        pytest.param(f'{{"gaps_s": [1{"0" * 400}, 2]}}', Baseline(gaps_s=(2.0,)), id="a-number-beyond-all-floats"),
        pytest.param(
            f'{{"gaps_s": {[0.0] * 5 + [1.0] * MOST_SECONDS}}}', Baseline(gaps_s=(1.0,) * MOST_SECONDS), id="too-many"
        ),
    ],
)
async def test_what_is_normal_is_read_as_far_as_it_can_be(
    tmp_path: Path, stored: str, expected: Baseline | None
) -> None:
    store = Store(tmp_path / "history.sqlite")
    await store.keep_baseline("general", BASELINE)
    edit(tmp_path / "history.sqlite", "UPDATE baselines SET json = ?", stored)
    read = await store.baseline("general")
    store.close()

    assert read == expected


@pytest.mark.parametrize(
    ("column", "stored", "expected"),
    [
        pytest.param("statements", "no json", [[]], id="statements-no-json"),
        pytest.param("statements", '{"witness": "cpu"}', [[]], id="statements-no-list"),
        pytest.param(
            "statements",
            '[3, {"witness": "ghost", "says": "boo"}, {"witness": ["cpu"]}, {"witness": "cpu"},'
            ' {"witness": "cpu", "says": "idle", "age_s": NaN}]',
            [[{"witness": "cpu", "says": "idle", "age_s": None}]],
            id="statements-some-of-them-no-statements",
        ),
        pytest.param("at", "yesterday", [], id="no-time"),
        pytest.param("at", "2026-11-23T12:00:00", [], id="a-time-of-nowhere"),
    ],
)
async def test_a_row_that_was_edited_by_hand_is_read_as_far_as_it_can_be(
    tmp_path: Path, column: str, stored: str, expected: list[Any]
) -> None:
    store = Store(tmp_path / "history.sqlite")
    await store.record("general", fell(), instance=None)
    edit(tmp_path / "history.sqlite", f"UPDATE transitions SET {column} = ?", stored)  # noqa: S608
    told = await store.transitions("general", limit=10)
    store.close()

    assert [each["statements"] for each in told] == expected


async def test_bytes_that_are_no_text_harm_nobody(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.sqlite")
    await store.record("general", fell(), instance=None)
    await store.keep_baseline("general", BASELINE)
    edit(tmp_path / "history.sqlite", "UPDATE transitions SET message = CAST(? AS TEXT)", b"half \xf0\x9f")
    edit(tmp_path / "history.sqlite", "UPDATE baselines SET json = CAST(? AS TEXT)", b"\xff\xfe")
    (told,) = await store.transitions("general", limit=10)
    baseline = await store.baseline("general")
    memory = await store.remember("general", window_s=1800.0)
    store.close()

    assert told["message"] == "half \ufffd"
    assert baseline is None
    assert memory.phase is Phase.BACKOFF


@given(Json, st.lists(Json, min_size=len(rows.COLUMNS), max_size=len(rows.COLUMNS)))
def test_no_stored_value_whatever_makes_reading_raise(stored: Any, row: list[Any]) -> None:
    text = json.dumps(stored)

    read = [rows.baseline(text), rows.baseline(stored)]
    told = [rows.transition(row), rows.transition(["2026-11-23T12:00:00+00:00", *row[:5], text, None])]

    assert all(each is None or isinstance(each, Baseline) for each in read)
    assert all(each is None or isinstance(each["statements"], list) for each in told)


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=50))
def test_what_is_written_is_what_is_read(seconds: list[float]) -> None:
    baseline = Baseline(first_tokens_s=tuple(seconds), gaps_s=tuple(seconds[:3]))

    assert rows.baseline(rows.baseline_text(baseline)) == baseline


def edit(path: Path, sql: str, value: str | bytes) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(sql, (value,))
