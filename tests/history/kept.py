"""A store in a folder, incidents made by hand, and a look into the file behind the store's back."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.incident import Incident
from supervisor.core.verdict import Judgement, Verdict
from supervisor.history.store import Store

NOW = 5000.0  # monotonic
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersStanding", message="no progress, cpu idle")
NO_VRAM = Diagnosis(
    cause=Cause.OUT_OF_VRAM, says="the GPU has no room for it", cure="stop code", helps_restart=False, signal="SIGABRT"
)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Store]:
    """A store, closed afterwards."""
    store = Store(path)
    try:
        yield store
    finally:
        store.close()


def incident(id: str = "20261123-120000-general", *, target: str = "general", **changes: Any) -> Incident:  # noqa: A002
    """Return a trouble that began a minute ago."""
    told = {"instance": "4f1e@12", "opened_at": NOW - 60.0, "judgement": HUNG, **changes}
    return Incident(id=id, target=target, **told)


def query(path: Path, sql: str) -> list[Any]:
    """Return what the file holds."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def edit(path: Path, sql: str, *values: Any) -> None:
    """Change the file by hand."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(sql, values)


def ago_s(told: str) -> float:
    """Return how long ago a time is that was told."""
    at = datetime.fromisoformat(told)
    return (datetime.now(at.tzinfo) - at).total_seconds()
