"""Files of GPU drivers: those that processes hold open, and those that they may, where that is hidden from us.

The kernel shows what a process holds open to its owner, and to whoever may debug it. A daemon with few rights would
else take work on a GPU for idleness. Blocking, bounded, and never an exception.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

DEV, SYS = Path("/dev"), Path("/sys")
MOST_FILES = 512  # a driver's files are opened early and so come first, before the connections of users
MOST_BYTES = 4096  # of one file
GPU_FILES = ("/dev/nvidia", "/dev/dxg", "/dev/kfd", "/dev/dri/render")
ROOT = 0


def held(pids: Iterable[int], *, proc: Path) -> tuple[frozenset[str], frozenset[int]]:
    """Return the files of GPU drivers that processes hold open, and which processes hide what they hold."""
    files: set[str] = set()
    hidden: set[int] = set()
    for pid in pids:
        try:
            with os.scandir(f"{proc}/{pid}/fd") as entries:
                for entry in islice(entries, MOST_FILES):
                    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                        files.add(os.readlink(entry.path))  # noqa: PTH115 - pathlib takes twice as long over many
        except PermissionError:
            hidden.add(pid)
        except OSError:  # gone
            continue
    return frozenset(file for file in files if file.startswith(GPU_FILES)), frozenset(hidden)


def possible(pids: Iterable[int], *, proc: Path, dev: Path = DEV, sysfs: Path = SYS) -> frozenset[str]:
    """Return the files of GPU drivers that there are and that one of `pids` may hold open, for all that can be seen."""
    who = [_Rights(pid, proc=proc) for pid in pids]
    nodes = [node for node in _nodes(dev, sysfs) if any(rights.may_open(node) for rights in who)]
    files = {f"/dev/{node.relative_to(dev)}" for node in nodes}
    users = sysfs / "class/kfd/kfd/proc"  # AMD's driver tells everybody who is on it
    if users.is_dir() and not any((users / str(rights.pid)).is_dir() for rights in who):
        files.discard("/dev/kfd")
    return frozenset(files)


def _nodes(dev: Path, sysfs: Path) -> Iterator[Path]:
    yield from dev.glob("nvidia[0-9]*")
    yield from (dev / name for name in ("dxg", "kfd"))
    for node in dev.glob("dri/renderD*"):
        driver = sysfs / "class/drm" / node.name / "device/driver"
        # Whoever is on one of NVIDIA's has its other files open too.
        if not (driver.is_symlink() and driver.readlink().name == "nvidia"):
            yield node


class _Rights:
    """What a process may open: root everything, others what their user and groups may."""

    def __init__(self, pid: int, *, proc: Path) -> None:
        self.pid = pid
        lines = _text(proc / str(pid) / "status").splitlines()
        facts = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
        self._user = int(facts.get("Uid", ["", "0"])[1])  # the effective one; of one that is gone, the worst
        self._groups = {int(group) for group in (*facts.get("Gid", [])[1:2], *facts.get("Groups", []))}

    def may_open(self, node: Path) -> bool:
        try:
            found = node.stat()
        except OSError:
            return False
        if self._user in (ROOT, found.st_uid):
            return True
        return bool(found.st_mode & (stat.S_IRGRP if found.st_gid in self._groups else stat.S_IROTH))


def _text(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return (file.read(MOST_BYTES) or b"").decode(errors="replace")
    except OSError:
        return ""
