"""What operators have said that we leave alone: the SQL, over a connection that others open."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from supervisor.core.restraint import Hold
from supervisor.history import rows
from supervisor.history.connection import Connection


def standing(database: Connection, *, wall: datetime) -> list[Hold]:
    """Return the holds that are not over, the oldest first, and forget the others."""
    holds = [_hold(row, wall=wall) for row in database.execute("SELECT target, since, until, why FROM holds")]
    over = [hold.target for hold in holds if not hold.holds(hold.target, wall=wall)]
    for target in over:
        drop(database, target)
    return sorted((hold for hold in holds if hold.target not in over), key=lambda hold: hold.since)


def keep(database: Connection, hold: Hold) -> None:
    """Write down a hold, in place of what was said of its target before."""
    until = None if hold.until is None else hold.until.astimezone(UTC).isoformat()
    row = (hold.target, hold.since.astimezone(UTC).isoformat(), until, rows.text(hold.why))
    database.execute("REPLACE INTO holds (target, since, until, why) VALUES (?, ?, ?, ?)", row)


def drop(database: Connection, target: str) -> None:
    """Forget the hold on `target`, if there is one."""
    database.execute("DELETE FROM holds WHERE target = ?", (target,))


def _hold(row: Sequence[Any], *, wall: datetime) -> Hold:
    """Return a hold as it is stored. One whose times cannot be read stands until somebody lifts it: it is a person's
    word, and to leave alone is the lesser harm."""
    target, since, until, why = row
    return Hold(target=target, since=rows.time(since) or wall, until=rows.time(until), why=why)
