"""A person's word outlives us, until it is over or taken back."""

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.restraint import EVERY, Hold
from tests.history.kept import edit, opened, query

SINCE = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FAR = datetime(2999, 1, 1, tzinfo=UTC)


def hold(target: str = "general", *, until: datetime | None = None, why: str = "") -> Hold:
    return Hold(target=target, since=SINCE, until=until, why=why)


async def test_what_is_held_is_held_by_the_next_daemon_too(tmp_path: Path) -> None:
    said = [hold(why="I measure it"), hold(EVERY, until=FAR), hold("code", until=FAR)]
    async with opened(tmp_path / "history.sqlite") as store:
        for each in said:
            await store.keep_hold(each)

    async with opened(tmp_path / "history.sqlite") as store:
        holds = await store.holds()

    assert sorted(holds, key=lambda each: each.target) == sorted(said, key=lambda each: each.target)


async def test_the_last_word_about_a_target_counts_and_can_be_taken_back(tmp_path: Path) -> None:
    async with opened(tmp_path / "history.sqlite") as store:
        await store.keep_hold(hold(why="first"))
        await store.keep_hold(hold(why="second \ud83d", until=FAR))
        held = await store.holds()
        await store.drop_hold("general")
        await store.drop_hold("nobody")
        released = await store.holds()

    assert held == [hold(why="second ?", until=FAR)]
    assert released == []


async def test_a_hold_that_is_over_is_left_out_and_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.keep_hold(hold("code", until=datetime.now(UTC) - timedelta(seconds=1)))
        await store.keep_hold(hold(EVERY, until=datetime.now(UTC) - timedelta(seconds=1)))
        await store.keep_hold(hold())
        holds = await store.holds()

    assert holds == [hold()]
    assert query(path, "SELECT target FROM holds") == [("general",)]


async def test_times_are_stored_in_utc_wherever_they_were_said(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    here = timezone(timedelta(hours=2))
    async with opened(path) as store:
        await store.keep_hold(Hold(target="general", since=SINCE.astimezone(here), until=FAR.astimezone(here)))

    assert query(path, "SELECT since, until FROM holds") == [("2026-11-23T12:00:00+00:00", "2999-01-01T00:00:00+00:00")]


@pytest.mark.parametrize("column", ["since", "until"])
async def test_a_hold_whose_times_cannot_be_read_stands_until_somebody_lifts_it(tmp_path: Path, column: str) -> None:
    path = tmp_path / "history.sqlite"
    async with opened(path) as store:
        await store.keep_hold(hold(until=FAR, why="hands off"))
        edit(path, f"UPDATE holds SET {column} = 'tomorrow'")  # noqa: S608
        (read,) = await store.holds()

    assert (read.target, read.why) == ("general", "hands off")
    assert read.until == (FAR if column == "since" else None)


@settings(max_examples=25, deadline=None)
@given(*([st.text(st.characters(exclude_categories=["Cs"]))] * 3), st.datetimes(timezones=st.timezones()))
def test_no_row_whatever_makes_reading_raise(target: str, time: str, why: str, at: datetime) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"

        held = asyncio.run(
            _edited(path, [(target, time, at.isoformat(), why), (f"{target}-", at.isoformat(), time, why)])
        )

    assert {each.target for each in held} <= {target, f"{target}-"}


async def _edited(path: Path, rows: list[tuple[str, ...]]) -> list[Hold]:
    async with opened(path) as store:
        await store.holds()
        for row in rows:
            edit(path, "REPLACE INTO holds VALUES (?, ?, ?, ?)", *row)
        return await store.holds()
