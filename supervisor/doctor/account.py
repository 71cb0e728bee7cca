"""Whom the daemon runs as, and what that user may do: whoever asks the doctor is often root, and may everything."""

import grp
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
DAEMON, MODULE = "benchai-supervisord", "supervisor.supervisord"
READ, WRITE, SEARCH = 4, 2, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user with all groups; `whose` says how we know."""

    uid: int
    gids: frozenset[int]
    name: str
    whose: str

    @property
    def is_root(self) -> bool:
        """Whether nothing is forbidden to it."""
        return self.uid == 0

    def may(self, path: Path, want: int) -> bool | None:
        """Return whether it may do that to a path, and come there at all; None where that cannot be seen."""
        try:
            reachable = all(self._may(parent, SEARCH) for parent in reversed(path.parents))
            return reachable and self._may(path, want)
        except OSError:
            return None

    def _may(self, path: Path, want: int) -> bool:
        if self.is_root:
            return bool(path.stat())
        if self.uid == os.geteuid():  # the kernel knows of access lists too
            return os.access(path, want, effective_ids=True) if path.exists() else bool(path.stat())
        there = path.stat()
        shift = 6 if there.st_uid == self.uid else 3 if there.st_gid in self.gids else 0
        return (stat.S_IMODE(there.st_mode) >> shift) & want == want


def words_of(pid: int, proc: Path = PROC) -> list[str]:
    """Return a process's command line; empty where it is not to be seen."""
    try:
        return [os.fsdecode(each) for each in (proc / str(pid) / "cmdline").read_bytes().split(b"\0") if each]
    except OSError:
        return []


def is_daemon(words: list[str]) -> bool:
    """Whether a command line is one of the daemon."""
    return any(Path(word).name == DAEMON or word == MODULE for word in words[:4])


def of_process(pid: int, *, whose: str, proc: Path = PROC) -> Account | None:
    """Return whom a process runs as; None where it is not to be seen."""
    try:
        lines = (proc / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    told = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    try:
        gids = {int(told["Gid"][1]), *map(int, told.get("Groups", []))}
        return Account(uid=int(told["Uid"][1]), gids=frozenset(gids), name=user_name(int(told["Uid"][1])), whose=whose)
    except (KeyError, IndexError, ValueError):
        return None


def of_name(name: str, *, more: tuple[str, ...] = (), whose: str) -> Account | None:
    """Return a user by name, with `more` groups; None where there is none."""
    try:
        found = pwd.getpwnam(name)
        gids = {*os.getgrouplist(name, found.pw_gid), *(grp.getgrnam(each).gr_gid for each in more)}
    except KeyError:
        return None
    return Account(uid=found.pw_uid, gids=frozenset(gids), name=name, whose=whose)


def of_uid(uid: int, *, whose: str) -> Account:
    """Return a user of whom only the number is known."""
    name = user_name(uid)
    return of_name(name, whose=whose) or Account(uid=uid, gids=frozenset(), name=name, whose=whose)


def mine() -> Account:
    """Return whoever asks."""
    gids = frozenset({os.getegid(), *os.getgroups()})
    return Account(uid=os.geteuid(), gids=gids, name=user_name(os.geteuid()), whose="who asks now")


def of_daemon(status: Mapping[str, Any] | None, unit: Mapping[str, str]) -> Account:
    """Return whom the daemon runs as: as it runs, else as its unit has it, else as whoever asks."""
    pid = ((status or {}).get("daemon") or {}).get("pid")
    running = None
    if isinstance(pid, int) and is_daemon(words_of(pid)):  # it may tell its number in a container, which is another's
        running = of_process(pid, whose="the daemon runs as that")
    if running is not None:
        return running
    groups = tuple(unit.get("SupplementaryGroups", "").split())
    written = of_name(unit["User"], more=groups, whose="its unit says so") if unit.get("User") else None
    return written or mine()


def user_name(uid: int) -> str:
    """Return a user's name, or the number of one who has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def exists(path: Path) -> bool:
    """Return whether there is a path, as far as whoever asks can see: what is hidden may well be there."""
    try:
        return path.exists()
    except OSError:
        return True


def group_of(path: Path) -> str:
    """Return the name of the group that a path belongs to."""
    gid = path.stat().st_gid
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
