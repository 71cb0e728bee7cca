"""A database of another version: an older one is brought up to date with all its rows, a newer one is refused."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.actions import Act
from supervisor.core.baseline import Baseline
from supervisor.core.events import Verb
from supervisor.core.state import Phase, Transition
from supervisor.core.verdict import Judgement, Verdict
from supervisor.history.store import NewerHistory, Store

# As version 1 wrote it.
VERSION_1 = """
CREATE TABLE transitions (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, target TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,
    verdict TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, instance TEXT
) STRICT;
CREATE INDEX transitions_by_target ON transitions (target, id);
CREATE TABLE acts (
    id INTEGER PRIMARY KEY, target TEXT NOT NULL, verb TEXT NOT NULL, by_operator INTEGER NOT NULL,
    began_at TEXT NOT NULL, ended_at TEXT, outcome TEXT, counts INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX acts_by_target ON acts (target, id);
INSERT INTO transitions (at, target, before, after, verdict, reason, message, instance)
    VALUES ('2026-11-23T12:00:00.123456+00:00', 'general', 'up', 'stopped', 'stopped', 'Stopped', 'by hand', '4f1e');
INSERT INTO acts (target, verb, by_operator, began_at) VALUES ('general', 'stop', 1, '2026-11-23T12:00:00+00:00');
PRAGMA user_version = 1;
"""
STOPPED = Judgement(verdict=Verdict.STOPPED, reason="Stopped", message="by hand")


def write(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(script)


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


async def test_a_database_of_version_1_keeps_its_rows_and_takes_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    write(path, VERSION_1)

    store = Store(path)
    memory = await store.remember("general", window_s=1800.0)
    await store.record(
        "general", Transition(before=Phase.STOPPED, after=Phase.UP, at=1.0, judgement=STOPPED), instance=None
    )
    told = await store.transitions("general", limit=10)
    await store.keep_baseline("general", Baseline(starts_s=(41.0,)))
    store.close()

    assert memory.phase is Phase.STOPPED
    assert [(each["at"], each["after"], each["statements"]) for each in told[1:]] == [
        ("2026-11-23T12:00:00.123Z", "stopped", [])
    ]
    assert query(path, "SELECT target, verb, by_operator FROM acts") == [("general", "stop", 1)]
    assert query(path, "PRAGMA user_version") == [(5,)]


async def test_an_upgraded_database_has_the_shape_of_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    write(old, VERSION_1)

    for path in (old, new):
        store = Store(path)
        await store.remember("general", window_s=1800.0)
        store.close()

    shape = 'SELECT m.name, c.name, c.type, c."notnull", c.dflt_value FROM sqlite_master m, pragma_table_info(m.name) c'
    assert query(old, shape) == query(new, shape)
    assert len(query(new, shape)) > 40


async def test_a_database_of_a_later_version_is_refused_by_name_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    write(path, "CREATE TABLE dreams (id INTEGER); PRAGMA user_version = 99")

    store = Store(path)
    with pytest.raises(NewerHistory, match=r"history.sqlite is of version 99, .* move the file away"):
        await store.remember("general", window_s=1800.0)
    with pytest.raises(NewerHistory):
        await store.begin("general", Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False))
    store.close()

    assert store.problem == ""
    assert query(path, "SELECT name FROM sqlite_master") == [("dreams",)]
    assert query(path, "PRAGMA user_version") == [(99,)]


async def test_many_who_open_an_old_database_at_once_all_find_it_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    write(path, VERSION_1)

    stores = [Store(path) for _ in range(4)]
    memories = await asyncio.gather(*(store.remember("general", window_s=1800.0) for store in stores))
    for store in stores:
        store.close()

    assert [memory.phase for memory in memories] == [Phase.STOPPED] * 4
    assert query(path, "PRAGMA user_version") == [(5,)]
