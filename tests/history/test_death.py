"""What is on disk when we are killed in the midst of something, and when the disk has no room left."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.core.state import Phase
from tests.history.kept import NOW, opened, query

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from supervisor.core.actions import Act
from supervisor.core.events import Verb
from supervisor.core.state import Phase, Transition
from supervisor.history.store import Store
from tests.history.kept import HUNG, NOW, incident

async def main() -> None:
    store = Store(Path(sys.argv[1]))
    falling = Transition(before=Phase.BACKOFF, after=Phase.RESTARTING, at=1.0, judgement=HUNG)
    await store.record("general", falling, instance=None)
    await store.keep_incident(incident(acted_at=(NOW,)), now=NOW)
    await store.keep_evidence(incident().id, "general", {"log": "its last words"})
    await store.begin("general", Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False))
    if sys.argv[2] == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(-signal.SIGKILL % 256)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["SIGKILL", "exit"])
async def test_what_was_begun_when_we_were_killed_is_known_afterwards(tmp_path: Path, how: str) -> None:
    path = tmp_path / "history.sqlite"

    died = await asyncio.create_subprocess_exec(sys.executable, "-c", DYING, str(path), how, stderr=subprocess.PIPE)
    _, stderr = await died.communicate()
    async with opened(path) as store:
        memory = await store.remember("general", window_s=1800.0)
        found = await store.open_incident("general", now=NOW)
        told = await store.incident(found.id if found else "")
        problem = store.problem

    assert ((died.returncode or 0) % 256, stderr) == (-signal.SIGKILL % 256, b"")
    assert query(path, "SELECT target, verb, ended_at, outcome FROM acts") == [("general", "restart", None, None)]
    assert (memory.phase, memory.is_cut_short, len(memory.restart_ages_s)) == (Phase.RESTARTING, True, 1)
    assert found is not None
    assert len(found.acted_at) == 1
    assert told is not None
    assert told["evidence"] == [{"log": "its last words"}]
    assert problem == ""


def _on_a_disk_that_fills(folder: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    """Live through a full disk of our own, gone with the process; return that, and what the system says.

    Where nobody may mount, not even in a user namespace of their own, a limit on a file's size stands in for the disk.
    """
    script = [sys.executable, "-m", "tests.history.full_disk"]
    mounting = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c"]
    mounting += ['mount -t tmpfs -o size=1m none "$0" && exec "$@"', str(folder)]
    can_mount = subprocess.run([*mounting, "true"], capture_output=True, check=False).returncode == 0
    command = [*mounting, *script, "disk"] if can_mount else [*script, "limit"]
    ran = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    return ran, "No space left on device" if can_mount else "File too large"


def test_a_full_disk_is_told_is_not_taken_for_a_broken_file_and_heals(tmp_path: Path) -> None:
    ran, reason = _on_a_disk_that_fills(tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "refused": {"begin": "SQLite's", "incident": "SQLite's", "evidence": reason},
        "read meanwhile": [[], [{"number": 1}]],
        "left behind": ["general-1.json"],
        "set aside": [],
        "refused afterwards": {},
        "problem": "",
        "in the folder": ["history.sqlite", "incidents"],
    }
