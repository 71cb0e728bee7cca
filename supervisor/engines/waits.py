"""What /proc tells of processes: what they burned and hold, and where in the kernel their threads wait.

Blocking, bounded, and never an exception. Only what nobody can hold up is read: `cmdline` of a process that hangs over
a device hangs as well, and may hold secrets besides.
"""

import os
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

PROC = Path("/proc")
MOST_PROCESSES = 64
MOST_THREADS = 64  # of all of them together, though one of each is always looked at
MOST_BYTES = 4096  # of one file
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Where in `stat` things stand, counted from the state, which follows the name.
STATE, USER_TICKS, SYSTEM_TICKS, PAGES = 0, 11, 12, 21


def belongs(pid: int, container_id: str, *, proc: Path = PROC) -> bool:
    """Return whether `pid` is the container's here too: its engine may count in another space, or on another host."""
    return container_id.encode() in _read(proc / str(pid) / "cgroup")


def waits(pids: Iterable[int], *, proc: Path = PROC) -> dict[int, dict[str, Any]]:
    """Return where processes wait: `waits_in` of the first thread, and how many `threads` do what.

    Such as {4121: {"waits_in": "futex_do_wait", "threads": {"S futex_do_wait": 7, "R": 1}}}. The kernel hides the place
    from whoever may not debug the process.
    """
    looked_at = list(islice(pids, MOST_PROCESSES))
    share = max(1, MOST_THREADS // max(1, len(looked_at)))
    return {pid: told for pid in looked_at if (told := _waits(pid, most=share, proc=proc))}


def processes(pids: Iterable[int], *, proc: Path = PROC) -> list[dict[str, Any]]:
    """Return what processes are, hold, burned and wait for; those that are gone are left out."""
    looked_at = list(islice(pids, MOST_PROCESSES))
    waiting = waits(looked_at, proc=proc)
    return [told | waiting.get(pid, {}) for pid in looked_at if (told := _process(pid, proc=proc))]


def _process(pid: int, *, proc: Path) -> dict[str, Any]:
    before, _, after = _read(proc / str(pid) / "stat").rpartition(b")")  # the name may hold blanks and brackets
    fields = after.split()
    if len(fields) <= PAGES:
        return {}
    return {
        "pid": pid,
        "name": before.partition(b"(")[2].decode(errors="replace"),
        "state": fields[STATE].decode(),
        "cpu_s": (int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])) / TICKS_PER_S,
        "memory_bytes": int(fields[PAGES]) * PAGE_BYTES,
    }


def _waits(pid: int, *, most: int, proc: Path) -> dict[str, Any]:
    directory = proc / str(pid) / "task"
    try:
        with os.scandir(directory) as entries:
            # The first thread first: the kernel lists it so.
            threads = [_thread(Path(entry.path)) for entry in islice(entries, most)]
    except OSError:  # gone, or not for us to see
        return {}
    if not threads:
        return {}
    return {"waits_in": threads[0][1], "threads": dict(Counter(" ".join(each).strip() for each in threads))}


def _thread(task: Path) -> tuple[str, str]:
    fields = _read(task / "stat").rpartition(b")")[2].split()
    place = _read(task / "wchan").decode(errors="replace")
    return fields[STATE].decode() if fields else "?", "" if place == "0" else place


def _read(path: Path) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(MOST_BYTES) or b""
    except OSError:  # it ended meanwhile
        return b""
