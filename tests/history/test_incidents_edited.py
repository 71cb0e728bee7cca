"""Rows of incidents that somebody has edited by hand: read as far as they can be, and nothing raises."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.incident import Ending, Incident
from supervisor.core.verdict import Judgement, Verdict
from supervisor.history import incident_rows
from supervisor.history.incident_rows import COLUMNS
from supervisor.history.store import Store
from tests.history.kept import NO_VRAM, NOW, ago_s, edit, incident, opened

OWN = "20261123-120000-general"
Anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
Times = st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat())
# What a STRICT table lets a hand write into a column, some of it as good as true.
Edits = st.sampled_from(["no json", "[3, null]", "our restart", "hung", "9999-12-31T23:59:59-12:00", "0001-01-01"])
Texts = st.text().filter(lambda text: text.encode(errors="replace").decode() == text) | Edits | Times
Columns = sorted(set(COLUMNS) - {"id", "target"})


@pytest.mark.parametrize(
    ("column", "stored", "expected"),
    [
        pytest.param("verdict", "dreaming", {"verdict": "unknown"}, id="verdict"),
        pytest.param("cause", "gremlins", {"cause": "unknown", "says": "the GPU has no room for it"}, id="cause"),
        pytest.param("cause", None, {"cause": None, "says": None, "helps_restart": None}, id="no-cause"),
        pytest.param("helps_restart", None, {"cause": "out of VRAM", "helps_restart": True}, id="helps-restart"),
        pytest.param("ending", "a miracle", {"ending": None, "was_right_to_wait": None}, id="ending"),
        pytest.param("acted_at", "no json", {"acted_at": []}, id="acted-at-no-json"),
        pytest.param("acted_at", '[3, "x", null, "2026-11-23T12:00:00"]', {"acted_at": []}, id="acted-at-no-times"),
        pytest.param(
            "acted_at", '["2026-11-23T13:00:00+01:00", []]', {"acted_at": ["2026-11-23T12:00:00.000Z"]}, id="acted-at"
        ),
        pytest.param("would_act_at", "0001-01-01T00:00:00+14:00", {"would_act_at": None}, id="a-time-before-all-times"),
        pytest.param("closed_at", "9999-12-31T23:59:59-14:00", {"ending": "by itself"}, id="a-time-after-all-times"),
    ],
)
async def test_a_row_that_was_edited_by_hand_is_read_as_far_as_it_can_be(
    tmp_path: Path, column: str, stored: str | None, expected: dict[str, Any]
) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(
            incident(diagnosis=NO_VRAM, would_act_at=NOW - 9.0, closed_at=NOW, ending=Ending.ITSELF), now=NOW
        )
        edit(tmp_path / "history.sqlite", f"UPDATE incidents SET {column} = ?", stored)  # noqa: S608
        told = await store.incident(OWN)

    assert told is not None
    (member,) = told["members"]
    assert {key: member[key] for key in expected} == expected
    assert told["closed_at"] is not None


async def test_one_whose_beginning_cannot_be_read_is_left_out_until_it_is_written_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(), now=NOW)
        edit(tmp_path / "history.sqlite", "UPDATE incidents SET opened_at = 'yesterday'")
        unreadable = [await store.open_incident("general", now=NOW), await store.incident(OWN)]
        none = await store.incidents(target=None, limit=10)
        await store.keep_incident(incident(), now=NOW)
        told = await store.incident(OWN)

    assert (unreadable, none) == ([None, None], [])
    assert told is not None
    assert ago_s(told["opened_at"]) == pytest.approx(60.0, abs=2)


async def test_half_a_character_in_what_a_server_said_harms_nobody(tmp_path: Path) -> None:
    broken = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited: \ud83d")
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_incident(incident(judgement=broken, diagnosis=replace(NO_VRAM, says="\ud83d")), now=NOW)
        found = await store.open_incident("general", now=NOW)

    assert found is not None
    assert found.judgement.message == "exited: ?"
    assert found.diagnosis == replace(NO_VRAM, says="?")


@given(st.lists(Anything | Times, min_size=len(COLUMNS), max_size=len(COLUMNS)), Times)
def test_no_stored_value_whatever_makes_reading_raise(row: list[Any], opened_at: str) -> None:
    read = [incident_rows.read(row), incident_rows.read([*row[:3], opened_at, *row[4:]])]
    known = [each for each in read if each is not None]

    told = [incident_rows.told("20261123-120000-general", [each]) for each in known]
    rows = [incident_rows.row(incident_rows.shifted(each, by_s=0.5)) for each in known]

    assert len(told) == len(rows) == len(known)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(Columns), st.none() | Texts | st.integers(-(2**63), 2**63 - 1)))
def test_a_row_may_be_edited_into_anything_and_is_written_again_all_the_same(edits: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"

        found = asyncio.run(_edited(path, edits))

    assert found is None or found.target == "general"


async def _edited(path: Path, edits: dict[str, Any]) -> Incident | None:
    async with opened(path) as store:
        await store.keep_incident(incident(diagnosis=NO_VRAM, acted_at=(NOW,)), now=NOW)
        for column, value in edits.items():
            _edit_if_allowed(path, column, value)
        found = await store.open_incident("general", now=NOW)
        await _read_all(store)
        await store.keep_incident(found or incident(), now=NOW)
        await _read_all(store)
    return found


async def _read_all(store: Store) -> None:
    assert len(await store.incidents(target="general", limit=10)) <= 1
    await store.incident(OWN)


def _edit_if_allowed(path: Path, column: str, value: Any) -> None:
    """Write what the table takes; it refuses a value of another kind, and that is its business."""
    kinds = {"helps_restart": int, "asked": int}
    nullable = column not in ("opened_at", "verdict", "reason", "message", "acted_at", "asked")
    if isinstance(value, kinds.get(column, str)) or (value is None and nullable):
        edit(path, f"UPDATE incidents SET {column} = ?", value)  # noqa: S608
