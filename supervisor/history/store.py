"""The history in SQLite: transitions, acts written down before they are done, and what is normal for each target.

It decides nothing. A database that cannot be used is told of and lived without: supervision goes on.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from supervisor.core.actions import Act
from supervisor.core.baseline import Baseline
from supervisor.core.state import Phase, Transition
from supervisor.history import rows
from supervisor.own_thread import OwnThread

KEPT = 10_000  # transitions, and acts
PRUNED_EVERY = 100  # of them
TIMEOUT_S = 2.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of one target: where it was left, whether in the midst of a restart, and recent restarts."""

    phase: Phase | None = None
    is_cut_short: bool = False
    restart_ages_s: tuple[float, ...] = ()


class NewerHistory(sqlite3.DatabaseError):
    """A later version of this program has written the file, and this one does not know its shape."""


class Store:
    """One SQLite file, used from one thread of its own.

    Every method raises `sqlite3.Error`, `OSError` or `TimeoutError`; nothing is retried here.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = OwnThread("history")
        self._database: sqlite3.Connection | None = None

    async def remember(self, target: str, *, window_s: float) -> Memory:
        """Return what an earlier daemon knew of `target`; restarts within `window_s`."""
        return await self._call(lambda database: _remember(database, target, window_s=window_s))

    async def record(self, target: str, transition: Transition, *, instance: str | None) -> None:
        """Write down a change of phase."""
        judgement = transition.judgement
        row = (_now(), target, transition.before, transition.after)
        said = rows.statements_text(judgement.statements, at=transition.at)
        why = (judgement.verdict, judgement.reason, rows.text(judgement.message), instance, said)
        await self._call(lambda database: _record(database, (*row, *why)))

    async def transitions(self, target: str, *, limit: int) -> list[dict[str, Any]]:
        """Return the last changes of phase of `target`, newest first, each with what the witnesses said."""
        return await self._call(lambda database: _transitions(database, target, limit=limit))

    async def baseline(self, target: str) -> Baseline | None:
        """Return what is normal for `target`; None where that was never written, or cannot be read any more."""
        select = "SELECT json FROM baselines WHERE target = ?"
        row = await self._call(lambda database: database.execute(select, (target,)).fetchone())
        return rows.baseline(row[0]) if row else None

    async def keep_baseline(self, target: str, baseline: Baseline) -> None:
        """Write down what is normal for `target`, in place of what was."""
        row = (target, rows.baseline_text(baseline), _now())
        await self._call(lambda database: database.execute("REPLACE INTO baselines VALUES (?, ?, ?)", row))

    async def begin(self, target: str, act: Act) -> int:
        """Write down that `act` is about to be done; return its number."""
        row = (target, act.verb, act.by_operator, _now())
        return await self._call(lambda database: _begin(database, row))

    async def end(self, number: int, outcome: str, *, counts: bool = True) -> None:
        """Write down how act `number` ended; `counts` False where nothing was tried after all."""
        update = "UPDATE acts SET ended_at = ?, outcome = ?, counts = ? WHERE id = ?"
        await self._call(lambda database: database.execute(update, (_now(), outcome, counts, number)))

    def close(self) -> None:
        """Let what is under way come to its end, for as long as any call may take, and close the file."""
        self._thread.close(last=self._close, wait_s=TIMEOUT_S)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    async def _call(self, use: Callable[[sqlite3.Connection], T]) -> T:
        async with asyncio.timeout(TIMEOUT_S):
            return await self._thread.do(partial(self._use, use))

    def _use(self, use: Callable[[sqlite3.Connection], T]) -> T:
        if self._database is None:
            self._database = _open(self._path)
        with self._database:
            return use(self._database)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=TIMEOUT_S, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # The default, and wanted: what was written before an act must be there after a power cut.
        database.execute("PRAGMA synchronous = FULL")
        # Whoever edits a row by hand may leave half a character in it.
        database.text_factory = partial(str, encoding="utf-8", errors="replace")
        _migrate(database, path)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    """Bring the file up to the shape we know, one numbered script after the other."""
    scripts = sorted(resources.files(__package__).joinpath("migrations").iterdir(), key=lambda script: script.name)
    while (version := _version(database)) != len(scripts):
        if version > len(scripts):
            raise NewerHistory(
                f"{path} is of version {version}, written by a later benchai-supervisor, and this one knows versions"
                f" up to {len(scripts)}: install the later one again, or move the file away to begin a new history"
            )
        with database:
            database.execute("BEGIN IMMEDIATE")
            if _version(database) != version:
                continue  # another process was faster
            for statement in _statements(scripts[version].read_text()):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {version + 1}")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """Yield a script's statements: run as a whole, they would not be one transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _record(database: sqlite3.Connection, row: tuple[str | None, ...]) -> None:
    columns = "at, target, before, after, verdict, reason, message, instance, statements"
    insert = f"INSERT INTO transitions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    _prune(database, "transitions", newest=database.execute(insert, row).lastrowid or 0)


def _transitions(database: sqlite3.Connection, target: str, *, limit: int) -> list[dict[str, Any]]:
    columns = ", ".join(rows.COLUMNS)
    select = f"SELECT {columns} FROM transitions WHERE target = ? ORDER BY id DESC LIMIT ?"  # noqa: S608
    told = [rows.transition(row) for row in database.execute(select, (target, limit))]
    return [each for each in told if each is not None]


def _begin(database: sqlite3.Connection, row: tuple[str, str, bool, str]) -> int:
    insert = "INSERT INTO acts (target, verb, by_operator, began_at) VALUES (?, ?, ?, ?)"
    number = database.execute(insert, row).lastrowid or 0
    _prune(database, "acts", newest=number)
    return number


def _prune(database: sqlite3.Connection, table: str, *, newest: int) -> None:
    """Drop old rows now and then, but never a target's last one: an operator's stop is remembered by it."""
    if newest % PRUNED_EVERY:
        return
    last = f"SELECT max(id) FROM {table} GROUP BY target"  # noqa: S608
    database.execute(f"DELETE FROM {table} WHERE id <= ? AND id NOT IN ({last})", (newest - KEPT,))  # noqa: S608


def _remember(database: sqlite3.Connection, target: str, *, window_s: float) -> Memory:
    last = database.execute("SELECT after FROM transitions WHERE target = ? ORDER BY id DESC LIMIT 1", (target,))
    row = last.fetchone()
    phase = Phase(row[0]) if row and row[0] in set(Phase) else None
    unended = "SELECT ended_at IS NULL FROM acts WHERE target = ? ORDER BY id DESC LIMIT 1"
    cut_short = database.execute(unended, (target,)).fetchone()
    since = datetime.now(UTC) - timedelta(seconds=window_s)
    restarts = "SELECT began_at FROM acts WHERE target = ? AND NOT by_operator AND counts AND began_at >= ? ORDER BY id"
    began = [datetime.fromisoformat(row[0]) for row in database.execute(restarts, (target, since.isoformat()))]
    return Memory(
        phase=phase,
        is_cut_short=phase is Phase.RESTARTING and bool(cut_short and cut_short[0]),
        restart_ages_s=tuple(max(0.0, (datetime.now(UTC) - at).total_seconds()) for at in began),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()
