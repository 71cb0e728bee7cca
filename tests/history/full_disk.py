"""What becomes of the history on a disk that fills up. Run as a module on a tiny disk; prints what it saw."""

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.core.actions import Act
from supervisor.core.events import Verb
from supervisor.history.store import Store
from tests.history.kept import NOW, incident
from tests.publish.full_disk import JUNK, full_disk, names, size_limit

ACT = Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False)
ID = "20261123-120000-general"
BUNDLE = {"log": "x" * 100_000}


async def refused(store: Store) -> dict[str, str]:
    """Write everything that can be written, and return the kind of each error."""
    writing = {
        "begin": store.begin("general", ACT),
        "incident": store.keep_incident(incident(ID, acted_at=(NOW,) * 500), now=NOW),
        "evidence": store.keep_evidence(ID, "general", BUNDLE),
    }
    errors = {}
    for what, each in writing.items():
        try:
            await each
        except (sqlite3.Error, OSError) as error:
            errors[what] = "SQLite's" if isinstance(error, sqlite3.Error) else str(error.strerror)
    return errors


async def tell(folder: Path, fault: Callable[[Path], contextlib.AbstractContextManager[None]]) -> dict[str, Any]:
    """Live through a full disk and its end."""
    store = Store(folder / "history.sqlite")
    await store.keep_incident(incident(ID), now=NOW)
    await store.keep_evidence(ID, "general", {"number": 1})
    with fault(folder):
        seen: dict[str, Any] = {"refused": await refused(store)}
        still = await store.open_incident("general", now=NOW)
        told = await store.incident(ID)
        seen["left behind"] = names(folder / "incidents" / ID)
        seen["set aside"] = [name for name in names(folder) if "corrupt" in name]
    seen["read meanwhile"] = [still is not None and still.acted_at, told and told["evidence"]]
    seen["refused afterwards"] = await refused(store)
    seen["problem"] = store.problem
    store.close()
    seen["in the folder"] = [name for name in names(folder) if name != JUNK]
    return seen


if __name__ == "__main__":
    kind, where = sys.argv[1:]
    fault = full_disk if kind == "disk" else size_limit
    sys.stdout.write(json.dumps(asyncio.run(tell(Path(where), fault))))
