"""Follow the log of a program of ours: a file that it writes itself, and that is emptied in place when it has grown."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from supervisor.engines.base import Log, NewLife
from supervisor.engines.rotate import backup

READ_EVERY_S = 0.2
MOST_AT_ONCE = 64 * 1024
REMEMBERED_BYTES = 512  # by them the place is found again in a log that was moved away meanwhile

Life = tuple[str, int]  # which it is, and how long the log was when it began
Do = Callable[[Callable[[], bytes]], Awaitable[bytes]]  # in a thread that a hanging disk may keep


class LogFile:
    """One reader's place in a log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._last = b""
        self.place = 0

    def end(self, max_bytes: int) -> bytes:
        """Return the last `max_bytes` there are now, out of the newest backup too, and go on from there."""
        self.place = _size(self._log)
        end = _slice(self._log, max(0, self.place - max_bytes), self.place)
        before = backup(self._log, 1)
        size = _size(before)
        end = _slice(before, max(0, size - (max_bytes - len(end))), size) + end
        self._last = end[-REMEMBERED_BYTES:]
        return end

    def more(self, *, most: int = MOST_AT_ONCE) -> bytes:
        """Return what has been written since, `most` bytes of it or what was left of a log that was emptied."""
        size = _size(self._log)
        if size < self.place:
            found = self._rest_of_backup()
            self.place = 0
        else:
            found = _slice(self._log, self.place, min(size, self.place + min(most, MOST_AT_ONCE)))
            self.place += len(found)
        self._last = (self._last + found)[-REMEMBERED_BYTES:]
        return found

    def _rest_of_backup(self) -> bytes:
        """Return what was written between our last look and the moment when the log was moved away."""
        moved = backup(self._log, 1)
        size = _size(moved)
        lately = _slice(moved, max(0, size - 16 * MOST_AT_ONCE), size)
        at = lately.rfind(self._last) if self._last else -1
        return b"" if at < 0 else lately[at + len(self._last) :]


async def follow(log: Path, *, max_bytes: int, life: Callable[[], Life | None], do: Do) -> Log:
    """Yield the end of the log, and then what is written, for ever; `life` says which life of the program it is."""
    file, known = LogFile(log), life()
    yield await do(lambda: file.end(max_bytes))
    while True:
        present = life()
        if present is not None and present != known:
            while (left := present[1] - file.place) > 0 and (last := await do(partial(file.more, most=left))):
                yield last
            yield NewLife()
            known = present
        if found := await do(file.more):
            yield found
        else:
            await asyncio.sleep(READ_EVERY_S)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _slice(path: Path, begin: int, end: int) -> bytes:
    if begin >= end:
        return b""
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(end - begin)
