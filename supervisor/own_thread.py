"""One thread for blocking calls that may hang: a disk, a database. Knows nothing of what is done in it.

The pools of the standard library join their threads when the interpreter ends, so that one write to a disk that hangs
would keep the daemon from ending; this thread is not joined. Nor does anything pile up behind a call that hangs: what
nobody waits for any more is dropped, and after a while nothing more is taken.
"""

import asyncio
import errno
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, TypeVar

T = TypeVar("T")
Job = tuple[Future[Any], Callable[[], Any]]

# More than anybody waits for an answer: until then, a call may still have its turn in time.
OVERDUE_AFTER_S = 5.0


class OwnThread:
    """Does what it is given, one after the other, on a daemon thread that is made when it is first needed."""

    def __init__(self, name: str, *, overdue_after_s: float = OVERDUE_AFTER_S) -> None:
        """Nothing more is taken while one call has been under way for `overdue_after_s`."""
        self._name = name
        self._overdue_after_s = overdue_after_s
        self._jobs: deque[Job | None] = deque()
        self._change = Condition()
        self._begun_at: float | None = None  # None: nothing is under way
        self._thread = Thread(target=self._work_off, name=name, daemon=True)

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises; cancelled before its turn came, it is never begun.

        Raises:
            TimeoutError: an earlier call hangs, and this one was not taken.
        """
        self._refuse_if_overdue()
        job: tuple[Future[T], Callable[[], T]] = (Future(), work)
        self._put(job)
        if self._thread.ident is None:
            self._thread.start()
        try:
            return await asyncio.wrap_future(job[0])
        finally:
            if job[0].cancel():  # nobody waits for it any more, and it had not begun
                self._drop(job)

    def close(self, *, last: Callable[[], Any] | None = None, wait_s: float = 0.0) -> None:
        """Let what was given already be done, then `last`, and wait so long for that; nothing more is taken."""
        if last is not None:
            self._put((Future(), last))
        self._put(None)
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def _refuse_if_overdue(self) -> None:
        begun_at = self._begun_at
        age_s = 0.0 if begun_at is None else time.monotonic() - begun_at
        if age_s >= self._overdue_after_s:
            raise TimeoutError(errno.ETIMEDOUT, f"not tried: an earlier call ({self._name}) has hung for {age_s:.0f}s")

    def _put(self, job: Job | None) -> None:
        with self._change:
            self._jobs.append(job)
            self._change.notify()

    def _drop(self, job: Job) -> None:
        with self._change:
            if job in self._jobs:
                self._jobs.remove(job)

    def _next(self) -> Job | None:
        with self._change:
            self._change.wait_for(lambda: bool(self._jobs))
            return self._jobs.popleft()

    def _work_off(self) -> None:
        while (job := self._next()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                done = self._timed(work)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
                future.set_exception(error)
            else:
                future.set_result(done)
            del job, future, work

    def _timed(self, work: Callable[[], T]) -> T:
        self._begun_at = time.monotonic()
        try:
            return work()
        finally:
            self._begun_at = None
