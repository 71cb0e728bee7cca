"""The history in SQLite: transitions, acts, incidents with their evidence, holds, and what is normal for each target.

It decides nothing. A database that cannot be used is told of and lived without; one that is broken is set aside, and a
new one begun: supervision goes on.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from supervisor.core.actions import Act
from supervisor.core.baseline import Baseline
from supervisor.core.incident import Incident
from supervisor.core.restraint import Hold
from supervisor.core.state import Transition
from supervisor.history import changes, evidence, holds, incidents, rows
from supervisor.history.aside import set_aside
from supervisor.history.changes import Memory
from supervisor.history.incident_rows import shifted
from supervisor.own_thread import OwnThread

__all__ = ["Memory", "NewerHistory", "Store"]

TIMEOUT_S = 2.0
BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
T = TypeVar("T")


class NewerHistory(sqlite3.DatabaseError):
    """A later version of this program has written the file, and this one does not know its shape."""


class _StrangeHistory(sqlite3.DatabaseError):
    """The file is a database, and not of the shape that its version says."""


class Store:
    """One SQLite file, and a folder of evidence beside it, used from one thread of their own.

    Every method raises `sqlite3.Error`, `OSError` or `TimeoutError`; nothing is retried here, but once for a file that
    was broken and is set aside. `problem` says that in a sentence; it is empty while there was no need.
    """

    def __init__(self, path: Path) -> None:
        self.problem = ""
        self._path = path
        self._evidence = path.parent / "incidents"
        self._thread = OwnThread("history")
        self._database: sqlite3.Connection | None = None

    async def remember(self, target: str, *, window_s: float) -> Memory:
        """Return what an earlier daemon knew of `target`; restarts within `window_s`."""
        return await self._call(lambda database: changes.remember(database, target, window_s=window_s))

    async def record(
        self, target: str, transition: Transition, *, instance: str | None, incident: str | None = None
    ) -> None:
        """Write down a change of phase, and the incident that it is a part of."""
        judgement = transition.judgement
        row = (_now(), target, transition.before, transition.after)
        said = rows.statements_text(judgement.statements, at=transition.at)
        why = (judgement.verdict, judgement.reason, rows.text(judgement.message), instance, said, incident)
        await self._call(lambda database: changes.record(database, (*row, *why)))

    async def transitions(self, target: str, *, limit: int) -> list[dict[str, Any]]:
        """Return the last changes of phase of `target`, newest first, each with what the witnesses said."""
        return await self._call(lambda database: changes.transitions(database, target, limit=limit))

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
        return await self._call(lambda database: changes.begin(database, row))

    async def begin_signal(self, target: str, name: str) -> int:
        """Write down that an operator's signal is about to be sent; return the number of that act."""
        row = (target, f"{changes.SIGNAL}{name}", True, _now())
        return await self._call(lambda database: changes.begin(database, row))

    async def acts(self, target: str, *, limit: int) -> list[dict[str, Any]]:
        """Return the last things that were done to `target`, newest first."""
        return await self._call(lambda database: changes.acts(database, target, limit=limit))

    async def end(self, number: int, outcome: str, *, counts: bool = True) -> None:
        """Write down how act `number` ended; `counts` False where nothing was tried after all."""
        at, said = _now(), rows.text(outcome)
        await self._call(lambda database: changes.end(database, number, said, at=at, counts=counts))

    async def keep_incident(self, incident: Incident, *, now: float, instead_of: str | None = None) -> None:
        """Write down how an incident stands at the monotonic time `now`.

        `instead_of` is the id it went by before: what is kept under that is carried over.
        """
        await self._do(partial(self._keep_incident, shifted(incident, by_s=time.time() - now), instead_of))

    async def open_incident(self, target: str, *, now: float) -> Incident | None:
        """Return the trouble of `target` that was not over when we died, by the monotonic clock that shows `now`."""
        by_s = now - time.time()
        kept = await self._call(lambda database: incidents.still_open(database, target))
        return kept and shifted(kept, by_s=by_s, latest=now)

    async def close_strangers(self, targets: tuple[str, ...]) -> None:
        """Close what is open of targets that are none of `targets`."""
        await self._call(lambda database: incidents.close_strangers(database, targets, at=time.time()))

    async def incidents(self, *, target: str | None, limit: int) -> list[dict[str, Any]]:
        """Return the last incidents, newest first, each with all who had a part in it; those of `target`, or all."""
        return await self._call(lambda database: incidents.several(database, target=target, limit=limit))

    async def incident(self, name: str) -> dict[str, Any] | None:
        """Return one incident with its evidence, oldest first; None where there is none of that id."""
        return await self._call(lambda database: self._incident(database, name))

    async def keep_evidence(self, incident: str, target: str, bundle: Mapping[str, Any]) -> None:
        """Write down what was seen of `target`, as a part of an incident.

        Raises:
            ValueError: a name that is not safe as the name of a file.
        """
        await self._call(lambda database: self._keep_evidence(database, incident, target, bundle))

    async def holds(self) -> list[Hold]:
        """Return what operators have said that is not over, and forget the rest."""
        wall = datetime.now(UTC)
        return await self._call(lambda database: holds.standing(database, wall=wall))

    async def keep_hold(self, hold: Hold) -> None:
        """Write down a hold, in place of what was said of its target before."""
        await self._call(lambda database: holds.keep(database, hold))

    async def drop_hold(self, target: str) -> None:
        """Forget the hold on `target`, if there is one, and that it is drained."""
        await self._call(lambda database: holds.release(database, target))

    async def drop_drain(self, target: str) -> None:
        """Forget that `target` is drained; a hold on it stands."""
        await self._call(lambda database: holds.drop(database, target, drains=True))

    def close(self) -> None:
        """Let what is under way come to its end, for as long as any call may take, and close the file."""
        self._thread.close(last=self._close, wait_s=TIMEOUT_S)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    async def _call(self, use: Callable[[sqlite3.Connection], T]) -> T:
        return await self._do(partial(self._use, use))

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._thread.do(work)
        except TimeoutError as error:
            if error.args:
                raise
            raise TimeoutError(f"{self._path} is locked, or its disk hangs: no answer for {TIMEOUT_S:g}s") from error

    def _use(self, use: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._try(use)
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            self._set_aside(error)
        return self._try(use)

    def _try(self, use: Callable[[sqlite3.Connection], T]) -> T:
        if self._database is None:
            self._database = _open(self._path)
        with self._database:
            return use(self._database)

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        self._close()
        aside = set_aside(self._path, stamp=f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        self.problem = (
            f"{self._path} could not be read ({error}): it is {aside} now, and a new one was begun, without the holds,"
            " incidents and restarts that were remembered"
        )

    def _keep_incident(self, incident: Incident, instead_of: str | None) -> None:
        was = self._use(lambda database: incidents.keep(database, incident, instead_of=instead_of))
        if was is not None:  # once the row is safe, which matters more; and again, where we died between the two
            evidence.move(self._evidence, incident.target, before=was, after=incident.id)

    def _incident(self, database: sqlite3.Connection, name: str) -> dict[str, Any] | None:
        name = incidents.present_name(database, name)
        told = incidents.one(database, name)
        return told and {**told, "evidence": evidence.read(self._evidence, name)}

    def _keep_evidence(
        self, database: sqlite3.Connection, incident: str, target: str, bundle: Mapping[str, Any]
    ) -> None:
        # It may have become a part of another trouble while the evidence was gathered.
        name = incidents.present_name(database, incident, target=target)
        spare = {name, *incidents.open_names(database)}
        evidence.keep(self._evidence, name, target, bundle)
        evidence.prune(self._evidence, spare=spare)


def _is_broken(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is at fault: a disk that is full, read-only or slow is not."""
    code = getattr(error, "sqlite_errorcode", 0)  # an extended one has the plain one in its last byte
    return isinstance(error, _StrangeHistory) or code & 0xFF in BROKEN


def _open(path: Path) -> sqlite3.Connection:
    expected = _expected()
    database = sqlite3.connect(path, timeout=TIMEOUT_S, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # The default, and wanted: what was written before an act must be there after a power cut.
        database.execute("PRAGMA synchronous = FULL")
        # Whoever edits a row by hand may leave half a character in it.
        database.text_factory = partial(str, encoding="utf-8", errors="replace")
        _migrate(database, path)
        if missing := sorted(expected - _shape(database)):
            raise _StrangeHistory(f"it has no {missing[0]}")
    except sqlite3.Error as error:
        database.close()
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR:
            # Our scripts are good, or `_expected` had failed: so it is not the file that they are for.
            raise _StrangeHistory(str(error)) from error
        raise
    return database


def _expected() -> set[str]:
    """Return the shape of a new history; what fails here is no fault of any file."""
    with closing(sqlite3.connect(":memory:")) as database:
        _migrate(database, Path(":memory:"))
        return _shape(database)


def _shape(database: sqlite3.Connection) -> set[str]:
    """Return every column of every table, as `table.column TYPE`."""
    select = "SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
    return {f"{table}.{column} {kind}" for table, column, kind in database.execute(select)}


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


def _now() -> str:
    return datetime.now(UTC).isoformat()
