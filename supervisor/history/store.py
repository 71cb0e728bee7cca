"""The history in SQLite: transitions, and acts written down before they are done.

It decides nothing. A database that cannot be used is told of and lived without: supervision goes on.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import TypeVar

from supervisor.core.actions import Act
from supervisor.core.state import Phase, Transition

KEPT = 10_000  # transitions, and acts
TIMEOUT_S = 2.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of one target: where it was left, which act was cut short, when we restarted it lately."""

    phase: Phase | None = None
    is_cut_short: bool = False
    restart_ages_s: tuple[float, ...] = ()


class Store:
    """One SQLite file, used from one thread of its own.

    Every method raises `sqlite3.Error`, `OSError` or `TimeoutError`; nothing is retried here.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        self._database: sqlite3.Connection | None = None

    async def remember(self, target: str, *, window_s: float) -> Memory:
        """Return what an earlier daemon knew of `target`; restarts within `window_s`."""
        return await self._call(lambda database: _remember(database, target, window_s=window_s))

    async def record(self, target: str, transition: Transition, *, instance: str | None) -> None:
        """Write down a change of phase."""
        judgement = transition.judgement
        row = (_now(), target, transition.before, transition.after)
        why = (judgement.verdict, judgement.reason, judgement.message, instance)
        await self._call(lambda database: _record(database, (*row, *why)))

    async def begin(self, target: str, act: Act) -> int:
        """Write down that `act` is about to be done; return its number."""
        row = (target, act.verb, act.by_operator, _now())
        insert = "INSERT INTO acts (target, verb, by_operator, began_at) VALUES (?, ?, ?, ?)"
        return await self._call(lambda database: database.execute(insert, row).lastrowid or 0)

    async def end(self, number: int, outcome: str) -> None:
        """Write down how act `number` ended."""
        update = "UPDATE acts SET ended_at = ?, outcome = ? WHERE id = ?"
        await self._call(lambda database: database.execute(update, (_now(), outcome, number)))

    def close(self) -> None:
        """Close the file after what is already under way."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    async def _call(self, use: Callable[[sqlite3.Connection], T]) -> T:
        async with asyncio.timeout(TIMEOUT_S):
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._use, use)

    def _use(self, use: Callable[[sqlite3.Connection], T]) -> T:
        if self._database is None:
            self._database = _open(self._path)
        with self._database:
            return use(self._database)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=TIMEOUT_S, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    # The default, and wanted: what was written before an act must be there after a power cut.
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(resources.files(__package__).joinpath("schema.sql").read_text())
    database.execute("PRAGMA user_version = 1")
    for table in ("transitions", "acts"):
        database.execute(f"DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - {KEPT}")  # noqa: S608
    database.commit()
    return database


def _record(database: sqlite3.Connection, row: tuple[str | None, ...]) -> None:
    columns = "at, target, before, after, verdict, reason, message, instance"
    database.execute(f"INSERT INTO transitions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608


def _remember(database: sqlite3.Connection, target: str, *, window_s: float) -> Memory:
    last = database.execute("SELECT after FROM transitions WHERE target = ? ORDER BY id DESC LIMIT 1", (target,))
    phase = last.fetchone()
    unended = "SELECT ended_at IS NULL FROM acts WHERE target = ? ORDER BY id DESC LIMIT 1"
    cut_short = database.execute(unended, (target,)).fetchone()
    since = datetime.now(UTC) - timedelta(seconds=window_s)
    restarts = "SELECT began_at FROM acts WHERE target = ? AND NOT by_operator AND began_at >= ? ORDER BY id"
    began = [datetime.fromisoformat(row[0]) for row in database.execute(restarts, (target, since.isoformat()))]
    return Memory(
        phase=Phase(phase[0]) if phase and phase[0] in set(Phase) else None,
        is_cut_short=bool(cut_short and cut_short[0]),
        restart_ages_s=tuple(max(0.0, (datetime.now(UTC) - at).total_seconds()) for at in began),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()
