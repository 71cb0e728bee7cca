"""What the kernel tells of a process and its children, read from /proc. Blocking, bounded, and never an exception.

Only what nobody can hold up is read: `cmdline` and `maps` of a process that hangs over a device hang as well.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from supervisor.probes import gpu_files

PROC = Path("/proc")
# Bounds against a server gone wild. vLLM on eight GPUs has some twenty processes and two thousand threads.
MOST_PROCESSES = 256
MOST_THREADS = 8192
MOST_BYTES = 4096  # of one file
UNINTERRUPTIBLE = b"D"
ENDED = frozenset({b"Z", b"X", b""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A process and its descendants; nobody at all where it is gone, or not for us to see."""

    pids: frozenset[int] = frozenset()
    waits_for_disk: bool = False
    gpu_files: frozenset[str] = frozenset()  # files of GPU drivers that they hold open; hidden from us, that they may


def look(pid: int, *, may_have_gpu: bool = True, proc: Path = PROC, dev: Path = gpu_files.DEV) -> Family:
    """Return what the kernel says of `pid` and its descendants at this moment.

    Where it is known that they were given no GPU, they hold none open that we could not see.

    One sample of a thread in uninterruptible sleep proves work, though one without proves nothing: it is how a thread
    waits for a page of an mmapped model, or for a network share. Such waits are short and many, so that a server which
    lives off its disk is found in one nearly always, and burns next to no CPU meanwhile.
    """
    children = _told_children if (proc / "thread-self" / "children").exists() else _found_children(proc)
    pids: set[int] = set()
    living: set[int] = set()  # what has ended holds nothing, and hides that
    waits_for_disk, threads = False, 0
    waiting = [pid]
    while waiting and len(pids) < MOST_PROCESSES and threads < MOST_THREADS:
        each = waiting.pop()
        tasks = [] if each in pids else list(islice(_entries(f"{proc}/{each}/task"), MOST_THREADS - threads))
        if not tasks:
            continue
        pids.add(each)
        threads += len(tasks)
        states = {b"".join(_fields(task)[:1]) for task in tasks}
        waits_for_disk |= UNINTERRUPTIBLE in states
        if not states <= ENDED:
            living.add(each)
        waiting += children(each, tasks)
    files, hidden = gpu_files.held(living, proc=proc)
    if hidden and may_have_gpu:
        files |= gpu_files.possible(hidden, proc=proc, dev=dev)
    return Family(pids=frozenset(pids), waits_for_disk=waits_for_disk, gpu_files=files)


def _told_children(_pid: int, tasks: Iterable[str]) -> list[int]:
    # A blank follows every number, so what comes after the last blank was cut off.
    return [int(child) for task in tasks for child in _read(f"{task}/children").rpartition(b" ")[0].split()]


def _found_children(proc: Path) -> Callable[[int, Iterable[str]], list[int]]:
    """Return what does the same on a kernel without those files, from one look at every process there is."""
    children: dict[int, list[int]] = defaultdict(list)
    for process in _entries(str(proc)):
        number = process.rpartition("/")[2]
        if number.isdecimal() and (fields := _fields(process)):
            children[int(fields[1])].append(int(number))
    return lambda pid, _tasks: children.get(pid, [])


def _fields(task: str) -> list[bytes]:
    """Return what `stat` says after the name, which may hold blanks and brackets: the state, the parent, and more."""
    return _read(f"{task}/stat").rpartition(b")")[2].split()


# Paths as text, and files without a buffer: a server has hundreds of threads, and pathlib takes two and a half times
# as long over them.
def _entries(directory: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                yield entry.path
    except OSError:  # gone, or not for us to see
        return


def _read(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, MOST_BYTES)
    except OSError:  # it ended meanwhile
        return b""
    finally:
        os.close(file)
