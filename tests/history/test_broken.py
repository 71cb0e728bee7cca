"""A database that is broken, whenever that shows: set aside for a person to see, and a new one begun."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.core.actions import Act
from supervisor.core.events import Verb
from supervisor.core.restraint import Hold
from supervisor.core.state import Phase, Transition
from supervisor.core.verdict import Judgement, Verdict
from supervisor.history.aside import MOST_ASIDE, set_aside
from supervisor.history.store import Memory, Store
from tests.history.kept import NOW, incident, opened, query
from tests.history.test_migrations import VERSION_1, write

ACT = Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False)
STOPPED = Judgement(verdict=Verdict.STOPPED, reason="Stopped", message="by hand " * 50)
PAGE_BYTES = 4096
SINCE = datetime(2026, 11, 23, 12, tzinfo=UTC)


def asides(path: Path) -> list[Path]:
    """Return the databases that were set aside."""
    found = path.parent.glob(f"{path.name}.corrupt-*")
    return sorted(each for each in found if not each.name.endswith(("-wal", "-shm")))


async def fill(store: Store, *, changes: int = 100) -> None:
    """Write what takes up many pages."""
    transition = Transition(before=Phase.UP, after=Phase.STOPPED, at=1.0, judgement=STOPPED)
    for _ in range(changes):
        await store.record("general", transition, instance=None)
    await store.begin("general", ACT)


async def filled(path: Path) -> None:
    """Write a whole history."""
    async with opened(path) as store:
        await fill(store)


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(each.name for each in folder.iterdir())


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2 + 100]


def overwritten(content: bytes) -> bytes:
    return content[:PAGE_BYTES] + b"\xa5" * (len(content) - PAGE_BYTES)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        pytest.param(lambda _: b"garbage " * 1000, "file is not a database", id="garbage"),
        pytest.param(lambda _: b"SQLite format 3\x00" + b"\xff" * 4096, "file is not a database", id="a-bad-head"),
        pytest.param(cut_off, "database disk image is malformed", id="cut-off"),
        pytest.param(overwritten, "database disk image is malformed", id="overwritten"),
    ],
)
async def test_a_broken_file_is_set_aside_as_it_is_and_a_new_one_begun(
    tmp_path: Path, broken: Callable[[bytes], bytes], says: str
) -> None:
    path = tmp_path / "history.sqlite"
    await filled(path)
    content = broken(path.read_bytes())
    path.write_bytes(content)

    async with opened(path) as store:
        memory = await store.remember("general", window_s=1800.0)
        number = await store.begin("general", ACT)
        problem = store.problem

    (aside,) = asides(path)
    assert aside.read_bytes() == content
    assert (memory, number) == (Memory(), 1)
    assert problem.startswith(f"{path} could not be read ({says}): it is {aside} now, and a new one was begun")
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_history_that_is_whole_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    await filled(path)

    async with opened(path) as store:
        memory = await store.remember("general", window_s=1800.0)
        problem = store.problem

    assert memory.phase is Phase.STOPPED
    assert (problem, asides(path)) == ("", [])


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param(
            "CREATE TABLE dreams (id INTEGER); PRAGMA user_version = 5", "it has no acts.", id="another-program's"
        ),
        pytest.param(
            VERSION_1 + "CREATE TABLE baselines (target TEXT)", "baselines already exists", id="half-migrated"
        ),
        pytest.param("CREATE TABLE acts (id INTEGER PRIMARY KEY)", "no such column: target", id="one-of-another-shape"),
    ],
)
async def test_a_database_of_a_shape_that_is_not_ours_is_set_aside(tmp_path: Path, script: str, says: str) -> None:
    path = tmp_path / "history.sqlite"
    write(path, script)
    before = query(path, "SELECT * FROM sqlite_master")

    async with opened(path) as store:
        number = await store.begin("general", ACT)
        problem = store.problem

    (aside,) = asides(path)
    assert says in problem
    assert query(aside, "SELECT * FROM sqlite_master") == before
    assert number == 1


async def test_what_somebody_has_added_to_the_database_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    await filled(path)
    write(path, "CREATE TABLE notes (text TEXT); ALTER TABLE acts ADD COLUMN note TEXT; DROP INDEX acts_by_target")

    async with opened(path) as store:
        memory = await store.remember("general", window_s=1800.0)
        problem = store.problem

    assert (memory.phase, problem) == (Phase.STOPPED, "")


async def test_pages_that_are_overwritten_under_an_open_database_are_noticed_by_whoever_reads_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "history.sqlite"
    await filled(path)
    async with opened(path) as store:
        before = await store.remember("general", window_s=1800.0)
        with path.open("r+b") as file:
            file.seek(PAGE_BYTES)
            file.write(b"\xa5" * (path.stat().st_size - PAGE_BYTES))
        _forget_what_is_cached(store)

        told = await store.transitions("general", limit=1000)
        await store.keep_hold(Hold(target="general", since=SINCE))
        held = await store.holds()
        problem = store.problem

    assert before.phase is Phase.STOPPED
    assert told == []
    assert [each.target for each in held] == ["general"]
    assert "database disk image is malformed" in problem
    assert len(asides(path)) == 1


async def test_an_act_is_written_down_although_the_database_breaks_at_that_moment(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    await filled(path)
    async with opened(path) as store:
        await store.remember("general", window_s=1800.0)
        with path.open("r+b") as file:
            file.truncate(2 * PAGE_BYTES)
        _forget_what_is_cached(store)

        number = await store.begin("general", ACT)
        await store.keep_incident(incident(), now=NOW)
        problem = store.problem

    assert number == 1
    assert query(path, "SELECT target, ended_at FROM acts") == [("general", None)]
    assert query(path, "SELECT target FROM incidents") == [("general",)]
    assert problem


def test_what_lies_beside_a_database_goes_with_it_so_that_it_can_still_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    for ending in ("", "-wal", "-shm", "-mine"):
        (tmp_path / f"history.sqlite{ending}").write_text(ending)

    aside = set_aside(path, stamp="20261123T120000")

    assert aside == tmp_path / "history.sqlite.corrupt-20261123T120000"
    assert {each.name.removeprefix(aside.name): each.read_text() for each in tmp_path.iterdir()} == {
        **{ending: ending for ending in ("", "-wal", "-shm")},
        "history.sqlite-mine": "-mine",
    }


async def test_no_more_than_a_few_are_kept_aside_and_those_are_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    contents = [f"garbage {number} ".encode() * 1000 for number in range(MOST_ASIDE + 2)]

    for content in contents:
        path.write_bytes(content)
        async with opened(path) as store:
            await store.begin("general", ACT)

    assert [aside.read_bytes() for aside in asides(path)] == contents[-MOST_ASIDE:]
    assert names(tmp_path) == [path.name, *(each.name for each in asides(path))]


async def test_a_later_versions_history_is_not_broken(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    write(path, "CREATE TABLE dreams (id INTEGER); PRAGMA user_version = 99")

    async with opened(path) as store:
        with pytest.raises(sqlite3.DatabaseError, match="later benchai-supervisor"):
            await store.begin("general", ACT)
        problem = store.problem

    assert (problem, asides(path)) == ("", [])


async def test_a_file_that_cannot_be_moved_away_is_told_of_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    path.write_bytes(b"garbage " * 1000)
    long = tmp_path / ("x" * 250)
    path.rename(long)  # with what is added to it, its name would be too long

    async with opened(long) as store:
        for _ in range(2):
            with pytest.raises(OSError, match="File name too long"):
                await store.begin("general", ACT)
        problem = store.problem

    assert long.read_bytes() == b"garbage " * 1000
    assert problem == ""


def _forget_what_is_cached(store: Store) -> None:
    """Let the database look at its file again, as it does once it needs the memory."""
    assert store._database is not None
    store._database.execute("PRAGMA shrink_memory")
