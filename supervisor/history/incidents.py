"""Troubles, one row for each target that is in one: the SQL, over a connection that others open.

Here an `Incident` has POSIX seconds for its times.
"""

from typing import Any

from supervisor.core.incident import Incident
from supervisor.history import incident_rows
from supervisor.history.connection import Connection
from supervisor.history.incident_rows import COLUMNS

KEPT = 1000  # incidents
PRUNED_EVERY = 100  # rows
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM incidents"  # noqa: S608
_NEW = ", ".join(f"{each} = excluded.{each}" for each in COLUMNS)
_UPSERT = (
    f"INSERT INTO incidents ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
    f" ON CONFLICT (id, target) DO UPDATE SET {_NEW}"
)


def keep(database: Connection, incident: Incident, *, instead_of: str | None) -> str | None:
    """Write down how an incident stands, under its id or in place of the one it went by before.

    Returns that earlier id, whenever it was given up; None where there was none.
    """
    name = (incident.id, incident.target)
    if instead_of is not None:
        # A row that is there already is of an earlier spell of the same trouble.
        rename = "UPDATE OR REPLACE incidents SET id = ? WHERE id = ? AND target = ?"
        database.execute(rename, (incident.id, instead_of, incident.target))
    row = database.execute(f"{_SELECT} WHERE id = ? AND target = ?", name).fetchone()
    before = row and incident_rows.read(row)
    number = database.execute(_UPSERT, incident_rows.row(incident_rows.as_written(before, incident))).lastrowid or 0
    if instead_of is not None:
        database.execute("UPDATE incidents SET was = ? WHERE id = ? AND target = ?", (instead_of, *name))
        moved = "UPDATE transitions SET incident = ? WHERE incident = ? AND target = ?"
        database.execute(moved, (incident.id, instead_of, incident.target))
    if row is None:
        # A target has one trouble at a time: nobody came to write down the end of an older one.
        close = "UPDATE incidents SET closed_at = ? WHERE target = ? AND id != ? AND closed_at IS NULL"
        database.execute(close, (incident_rows.spelled(incident.opened_at), incident.target, incident.id))
        _prune(database, newest=number)
    (was,) = database.execute("SELECT was FROM incidents WHERE id = ? AND target = ?", name).fetchone()
    return was if isinstance(was, str) else None


def still_open(database: Connection, target: str) -> Incident | None:
    """Return the trouble that `target` was in when we last wrote."""
    select = f"{_SELECT} WHERE target = ? AND closed_at IS NULL ORDER BY number DESC LIMIT 1"
    row = database.execute(select, (target,)).fetchone()
    return row and incident_rows.read(row)


def close_strangers(database: Connection, targets: tuple[str, ...], *, at: float) -> None:
    """Close the troubles of targets that are watched no more: nobody would ever write down their end."""
    marks = ", ".join("?" * len(targets))
    close = f"UPDATE incidents SET closed_at = ? WHERE closed_at IS NULL AND target NOT IN ({marks})"  # noqa: S608
    database.execute(close, (incident_rows.spelled(at), *targets))


def several(database: Connection, *, target: str | None, limit: int) -> list[dict[str, Any]]:
    """Return incidents as people are told them, the last to begin first; those that `target` has a part in."""
    part = "" if target is None else "WHERE id IN (SELECT id FROM incidents WHERE target = ?)"
    select = f"SELECT id FROM incidents {part} GROUP BY id ORDER BY min(number) DESC LIMIT ?"  # noqa: S608
    wanted = (limit,) if target is None else (target, limit)
    told = [one(database, name) for (name,) in list(database.execute(select, wanted))]
    return [each for each in told if each is not None]


def one(database: Connection, name: str) -> dict[str, Any] | None:
    """Return one incident as people are told it, with all that have a part in it."""
    known = [incident_rows.read(row) for row in database.execute(f"{_SELECT} WHERE id = ? ORDER BY number", (name,))]
    members = [each for each in known if each is not None]
    return incident_rows.told(name, members) if members else None


def present_name(database: Connection, name: str, *, target: str | None = None) -> str:
    """Return the id that an incident goes by today, of which only an earlier one may be known."""
    of_target = "" if target is None else "AND target = ?"
    select = f"SELECT id FROM incidents WHERE ? IN (id, was) {of_target} ORDER BY id != ?, number DESC LIMIT 1"  # noqa: S608
    row = database.execute(select, (name, name) if target is None else (name, target, name)).fetchone()
    return str(row[0]) if row else name


def open_names(database: Connection) -> set[str]:
    """Return the ids of all incidents that somebody is still in."""
    return {name for (name,) in database.execute("SELECT DISTINCT id FROM incidents WHERE closed_at IS NULL")}


def _prune(database: Connection, *, newest: int) -> None:
    """Drop the oldest now and then, but never one that somebody is still in."""
    if newest % PRUNED_EVERY:
        return
    kept = "SELECT id FROM incidents GROUP BY id ORDER BY min(number) DESC LIMIT ?"
    still = "SELECT id FROM incidents WHERE closed_at IS NULL"
    database.execute(f"DELETE FROM incidents WHERE id NOT IN ({kept}) AND id NOT IN ({still})", (KEPT,))  # noqa: S608
