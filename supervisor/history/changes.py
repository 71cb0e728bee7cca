"""Changes of phase, and acts, written down before they are done: the SQL, over a connection that others open."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from supervisor.core.events import Verb
from supervisor.core.state import Phase
from supervisor.history import rows
from supervisor.history.connection import Connection

KEPT = 10_000  # transitions, and acts
PRUNED_EVERY = 100  # of them
SIGNAL = "signal "  # before the name of what was sent, as the verb of an act


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of one target: where it was left, whether in the midst of a restart, and recent restarts."""

    phase: Phase | None = None
    is_cut_short: bool = False
    is_ours: bool = False  # the last thing done to it was an act of ours, and it has not been well since
    over_at: float | None = None  # POSIX seconds: when that act was over, as far as we wrote that down
    restart_ages_s: tuple[float, ...] = ()
    for_need: bool = False  # the last thing done to it was that we started it, because another could not be had


def record(database: Connection, row: tuple[str | None, ...]) -> None:
    """Write down a change of phase."""
    columns = "at, target, before, after, verdict, reason, message, instance, statements, incident"
    insert = f"INSERT INTO transitions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    _prune(database, "transitions", newest=database.execute(insert, row).lastrowid or 0)


def transitions(database: Connection, target: str, *, limit: int) -> list[dict[str, Any]]:
    """Return the last changes of phase of `target`, newest first."""
    columns = ", ".join(rows.COLUMNS)
    select = f"SELECT {columns} FROM transitions WHERE target = ? ORDER BY id DESC LIMIT ?"  # noqa: S608
    told = [rows.transition(row) for row in database.execute(select, (target, limit))]
    return [each for each in told if each is not None]


def acts(database: Connection, target: str, *, limit: int) -> list[dict[str, Any]]:
    """Return the last things that were done to `target`, newest first."""
    columns = ", ".join(rows.ACT_COLUMNS)
    select = f"SELECT {columns} FROM acts WHERE target = ? ORDER BY id DESC LIMIT ?"  # noqa: S608
    told = [rows.act(row) for row in database.execute(select, (target, limit))]
    return [each for each in told if each is not None]


def begin(database: Connection, row: tuple[str, str, bool, str]) -> int:
    """Write down an act that is about to be done, and return its number."""
    insert = "INSERT INTO acts (target, verb, by_operator, began_at) VALUES (?, ?, ?, ?)"
    number = database.execute(insert, row).lastrowid or 0
    _prune(database, "acts", newest=number)
    return number


def end(database: Connection, number: int, outcome: str, *, at: str, counts: bool) -> None:
    """Write down how act `number` ended."""
    update = "UPDATE acts SET ended_at = ?, outcome = ?, counts = ? WHERE id = ?"
    database.execute(update, (at, outcome, counts, number))


def remember(database: Connection, target: str, *, window_s: float) -> Memory:
    """Return what is known of `target`; restarts within `window_s`."""
    last = database.execute("SELECT after FROM transitions WHERE target = ? ORDER BY id DESC LIMIT 1", (target,))
    row = last.fetchone()
    phase = Phase(row[0]) if row and row[0] in set(Phase) else None
    # Whatever ends by a signal that an operator sends through us is started again by us.
    asked_for = f"by_operator AND verb NOT LIKE '{SIGNAL}%'"
    latest = f"SELECT ended_at, {asked_for} FROM acts WHERE target = ? ORDER BY id DESC LIMIT 1"  # noqa: S608
    ended_at, asked = database.execute(latest, (target,)).fetchone() or ("", True)
    over = rows.time(ended_at)
    called = (
        "SELECT verb, by_operator FROM acts WHERE target = ? AND verb IN ('start', 'stop') ORDER BY id DESC LIMIT 1"
    )
    verb, by_operator = database.execute(called, (target,)).fetchone() or ("", True)
    now = datetime.now(UTC)
    since = now - timedelta(seconds=window_s)
    ours = "verb = 'restart' AND NOT by_operator AND counts"
    restarts = f"SELECT began_at FROM acts WHERE target = ? AND {ours} AND began_at >= ? ORDER BY id"  # noqa: S608
    began = [rows.time(row[0]) for row in database.execute(restarts, (target, since.isoformat()))]
    return Memory(
        phase=phase,
        is_cut_short=phase is Phase.RESTARTING and ended_at is None,
        is_ours=not asked and phase in (Phase.RESTARTING, Phase.BACKOFF, Phase.FAILED),
        over_at=None if over is None else over.timestamp(),
        # A restart in the future was before somebody set the clock back; of when, nobody can tell.
        restart_ages_s=tuple((now - at).total_seconds() for at in began if at is not None and at <= now),
        for_need=verb == Verb.START and not by_operator,
    )


def _prune(database: Connection, table: str, *, newest: int) -> None:
    """Drop old rows now and then, but never a target's last one: an operator's stop is remembered by it."""
    if newest % PRUNED_EVERY:
        return
    last = f"SELECT max(id) FROM {table} GROUP BY target"  # noqa: S608
    database.execute(f"DELETE FROM {table} WHERE id <= ? AND id NOT IN ({last})", (newest - KEPT,))  # noqa: S608
