"""Look at files and ports of this host for targets: a word for each thing, and a thread for each target.

A file on a network share that hangs keeps the thread that looks at it; then the words say so, and other targets have
threads of their own. Changes nothing: a port is bound for a moment and never listened on.
"""

import asyncio
import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable, Mapping
from typing import TypeVar

from supervisor.engines.circumstances import HIDDEN, MISSING, Executable, File, Place, Port, Thing
from supervisor.errors import EngineUnreachable
from supervisor.own_thread import OwnThread

T = TypeVar("T")

NO_ANSWER = "no answer"
ITS_OWN = "its own"
UNKNOWN = "unknown"
NOT_THERE = (FileNotFoundError, NotADirectoryError, ValueError)  # the last: a name that no file can have
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})  # says nothing about the port
PORT_WORDS = {errno.EADDRINUSE: "taken", errno.EADDRNOTAVAIL: "no such address"}


class HostLooks:
    """Looks at this host, no longer than `limit_s` at a time."""

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._threads: dict[str, OwnThread] = {}

    async def words(self, name: str, things: Mapping[str, Thing]) -> dict[str, str]:
        """Return a word for each of the things that matter to target `name`.

        Raises EngineUnreachable where it is our own fault that we cannot tell.
        """
        if not things:
            return {}
        try:
            return await self.do(name, lambda: {key: word(thing) for key, thing in things.items()})
        except TimeoutError:
            # All of them, whichever it was: the same whenever it happens again.
            return dict.fromkeys(things, NO_ANSWER)
        except OSError as error:
            raise EngineUnreachable(f"could not look at what {name} depends on: {error}") from error

    async def do(self, name: str, work: Callable[[], T]) -> T:
        """Return what `work` returns, done in the thread of target `name`.

        Raises TimeoutError where it takes longer.
        """
        thread = self._threads.setdefault(name, OwnThread(f"look-around-{name}"))
        async with asyncio.timeout(self._limit_s):
            return await thread.do(work)

    def forget(self, name: str) -> None:
        """Let the thread of a target end that is watched no more."""
        thread = self._threads.pop(name, None)
        if thread is not None:
            thread.close()

    def close(self) -> None:
        """Let the threads end; nobody waits for one that hangs."""
        for thread in self._threads.values():
            thread.close()


def word(thing: Thing) -> str:
    """Return what a thing is like now, the same for as long as it stays so. Raises OSError where we are at fault."""
    match thing:
        case File():
            return _file(thing.path)
        case Place():
            found = _file(thing.path)
            return found if found in (MISSING, HIDDEN) else "there"
        case Executable():
            return _executable(thing)
        case Port():
            return ITS_OWN if thing.is_held else _port(thing)


def _file(path: str) -> str:
    try:
        found = os.stat(path)  # noqa: PTH116 - a path of the target's, taken as it is
    except NOT_THERE:
        return MISSING
    except PermissionError:
        return HIDDEN
    except OSError as error:  # the share is stale, the disk is broken: also a circumstance
        return os.strerror(error.errno) if error.errno else UNKNOWN
    # Who may read it belongs to it: a chmod cures, and leaves the time as it was.
    mode = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
    return f"{found.st_size} bytes, {found.st_mtime_ns} ns, {mode}"


def _executable(program: Executable) -> str:
    name = os.path.join(program.directory, program.name) if "/" in program.name else program.name  # noqa: PTH118
    found = shutil.which(name, path=program.search)
    return MISSING if found is None else f"{found}, {_file(found)}"


def _port(port: Port) -> str:
    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.is_udp else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as door:
            if not port.is_udp:
                # As servers and engines do: connections of the last life that linger do not count. Nor are we in the
                # way of whoever listens this very moment, since we never do.
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((port.address, port.number))
    except OSError as error:
        if error.errno in OURS:
            raise
        return PORT_WORDS.get(error.errno or 0, UNKNOWN)
    return "free"
