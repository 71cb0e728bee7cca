"""One thread for blocking calls that may hang: a disk, a database. Knows nothing of what is done in it.

The pools of the standard library join their threads when the interpreter ends, so that one write to a disk that hangs
would keep the daemon from ending; this thread is not joined.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
Job = tuple[Future[Any], Callable[[], Any]]


class OwnThread:
    """Does what it is given, one after the other, on a daemon thread that is made when it is first needed."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = Thread(target=self._work_off, name=name, daemon=True)

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises; cancelled before its turn came, it is never begun."""
        future: Future[T] = Future()
        self._jobs.put((future, work))
        if self._thread.ident is None:
            self._thread.start()
        return await asyncio.wrap_future(future)

    def close(self, *, last: Callable[[], Any] | None = None, wait_s: float = 0.0) -> None:
        """Let what was given already be done, then `last`, and wait so long for that; nothing more is taken."""
        if last is not None:
            self._jobs.put((Future(), last))
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def _work_off(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                done = work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
                future.set_exception(error)
            else:
                future.set_result(done)
            del job, future, work
