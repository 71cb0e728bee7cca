"""The directories that we write to: there, writable by the daemon's user, and not full."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from supervisor.doctor.account import SEARCH, WRITE, exists
from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, ok, unseen, warning

MIB = 1 << 20
FULL_BYTES, SCARCE_BYTES = 20 * MIB, 300 * MIB  # the history and its evidence may take a hundred
SCARCE_FILES = 1000


def look(around: Around) -> Iterator[Finding]:
    """Look at where the state, the liveness file and the socket lie."""
    settings = around.settings
    places = {
        "daemon.state_dir": settings.daemon.state_dir,
        "daemon.liveness_file": settings.daemon.liveness_file.parent,
        "http.socket": settings.http.socket.parent,
    }
    found: list[Finding] = []
    for key, path in places.items():
        found += _rights(around, key, path)
    seen: set[int] = set()
    for key, path in places.items():
        there = _there(path)
        with contextlib.suppress(OSError):  # what may not be seen has been told of
            disk = there.stat().st_dev
            found += [] if disk in seen else _room(key, there)
            seen.add(disk)
    yield from dict.fromkeys(found) or [ok("there is room, and the daemon may write")]


def _rights(around: Around, key: str, path: Path) -> Iterator[Finding]:
    account, there = around.account, _there(path)
    if path in _made_by_unit(around):
        return
    may = account.may(there, WRITE | SEARCH)
    if may is None:
        yield unseen(f"{path} ({key})")
    elif not may:
        missing = "" if there == path else f", so {path} cannot be made"
        seen = f"{account.name} ({account.whose}) may not write to {there} ({key}){missing}"
        command = f"install -d -o {account.name} {path}"
        yield error(seen, cure="make the directory for that user", command=command)


def _made_by_unit(around: Around) -> list[Path]:
    """Return the directories that systemd makes for the daemon whenever it starts it."""
    kinds = {"RuntimeDirectory": Path("/run"), "StateDirectory": Path("/var/lib")}
    return [parent / name for key, parent in kinds.items() for name in around.unit.get(key, "").split()]


def _there(path: Path) -> Path:
    """Return the path, or what there is of the way to it."""
    return next((each for each in (path, *path.parents) if exists(each)), Path("/"))


def _room(key: str, path: Path) -> Iterator[Finding]:
    told = os.statvfs(path)
    if told.f_flag & os.ST_RDONLY:
        yield error(
            f"the disk of {path} ({key}) is read-only",
            cure="see `dmesg`: a disk that fails is made so",
            command=f"mount -o remount,rw $(findmnt -n -o TARGET -T {path})",
        )
    free_bytes = told.f_bavail * told.f_frsize
    free = f"{free_bytes // MIB} MiB are free at {path} ({key})"
    command = f"du -xh {path} | sort -h | tail"
    if free_bytes < FULL_BYTES:
        yield error(f"only {free}: nothing can be written down", cure="make room", command=command)
    elif free_bytes < SCARCE_BYTES:
        yield warning(f"only {free}", cure="make room before it is full", command=command)
    if told.f_files > 0 and told.f_favail < SCARCE_FILES:
        yield warning(f"only {told.f_favail} more files fit at {path} ({key})", cure="delete what is not needed")
