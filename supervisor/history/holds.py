"""What operators have said that we leave alone, or nobody is sent to: the SQL, over a connection that others open."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from supervisor.core.restraint import Hold
from supervisor.history import rows
from supervisor.history.connection import Connection

TABLES = {False: "holds", True: "drains"}  # by whether it drains


def standing(database: Connection, *, wall: datetime) -> list[Hold]:
    """Return the holds that are not over, the oldest first, and forget the others."""
    holds = [
        _hold(row, wall=wall, drains=drains)
        for drains, table in TABLES.items()
        for row in database.execute(f"SELECT target, since, until, why FROM {table}")  # noqa: S608
    ]
    for over in (hold for hold in holds if not hold.holds(hold.target, wall=wall)):
        drop(database, over.target, drains=over.drains)
    return sorted((hold for hold in holds if hold.holds(hold.target, wall=wall)), key=lambda hold: hold.since)


def keep(database: Connection, hold: Hold) -> None:
    """Write down a hold, in place of what was said of its target before."""
    until = None if hold.until is None else hold.until.astimezone(UTC).isoformat()
    row = (hold.target, hold.since.astimezone(UTC).isoformat(), until, rows.text(hold.why))
    replace = f"REPLACE INTO {TABLES[hold.drains]} (target, since, until, why) VALUES (?, ?, ?, ?)"  # noqa: S608
    database.execute(replace, row)


def drop(database: Connection, target: str, *, drains: bool) -> None:
    """Forget the hold on `target`, or that it is drained, if it is."""
    database.execute(f"DELETE FROM {TABLES[drains]} WHERE target = ?", (target,))  # noqa: S608


def release(database: Connection, target: str) -> None:
    """Forget all that was said of `target`."""
    for drains in TABLES:
        drop(database, target, drains=drains)


def _hold(row: Sequence[Any], *, wall: datetime, drains: bool) -> Hold:
    """Return a hold as it is stored. One whose times cannot be read stands until somebody lifts it: it is a person's
    word, and to leave alone is the lesser harm."""
    target, since, until, why = row
    return Hold(target=target, since=rows.time(since) or wall, until=rows.time(until), why=why, drains=drains)
