"""Keep the liveness file up to date: written aside, flushed, renamed, so that no reader ever sees half of it."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from loguru import logger

from supervisor.own_thread import OwnThread
from supervisor.publish.board import Board, Document

REFRESH_SHARE = 1 / 3  # of its validity: an unchanged document is written again after so long
PART = "liveness file"
MODE = 0o644  # routers run as other users; whoever should not read it is kept out by its directory


class LivenessFile:
    """Writes the board's document to one path, in a thread of its own: a disk may hang, our loop may not."""

    def __init__(self, path: Path, board: Board, *, clock: Callable[[], float] = time.monotonic):
        self._path = path
        self._board = board
        self._clock = clock
        self._busy_at = clock()
        self._thread = OwnThread("liveness-file")
        self._written_revision = 0
        self._written_at: float | None = None
        self._written = asyncio.Event()

    async def run(self) -> None:
        """Write each new revision at once and an unchanged one now and then, for ever."""
        tried: Document | None = None
        while True:
            self._busy_at = self._clock()
            document = self._board.document
            age_s = None if self._written_at is None else self._clock() - self._written_at
            refresh_s = self._board.valid_for_s * REFRESH_SHARE
            is_due = document.revision != self._written_revision or age_s is None or age_s >= refresh_s
            if is_due and document is not tried:
                await self._write(document)
                tried = document
            if self._board.document.revision == document.revision:
                # Where nothing is watched yet nobody stamps anything, and that is no reason to stand still.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(refresh_s):
                        await self._board.change()

    async def told(self, *, timeout_s: float) -> None:
        """Return when the newest revision is in the file, or after `timeout_s`: a full disk must not stop us."""
        revision = self._board.document.revision
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._written_revision < revision:
                    await self._written.wait()

    @property
    def idle_s(self) -> float:
        """For how long nothing has been tried: the writer's own doing, whatever its disk does."""
        return self._clock() - self._busy_at

    def close(self) -> None:
        """Let go of the thread, without waiting for a disk that hangs."""
        self._thread.close()

    async def _write(self, document: Document) -> None:
        """Write one document; a failure is told once and tried again with the next one."""
        self._busy_at = self._clock()
        limit_s = self._board.valid_for_s * REFRESH_SHARE
        try:
            async with asyncio.timeout(limit_s):
                await self._thread.do(partial(replace_file, self._path, document.body))
        except OSError as error:  # TimeoutError is one
            if PART not in self._board.problems:
                said = str(error) or f"not written within {limit_s:.0f}s"
                logger.error("liveness file {}: {}; routers that read it will soon know nothing", self._path, said)
            why = error.strerror or "its disk does not answer"
            self._board.problems[PART] = f"{self._path} cannot be written: {why}"
            self._written_at = self._clock()  # not in a tight loop
            self._written_revision = document.revision
        else:
            if self._board.problems.pop(PART, None):
                logger.info("liveness file {}: written again", self._path)
            self._written_at = self._clock()
            self._written_revision = document.revision
        self._busy_at = self._clock()
        self._written.set()
        self._written = asyncio.Event()


def replace_file(path: Path, body: bytes) -> None:
    """Put `body` at `path` in one step.

    No fsync: the file lives in /run and means nothing after a power cut; readers only need never to see half of it.
    """
    aside = path.with_name(f".{path.name}.new")
    try:
        with aside.open("wb") as file:
            file.write(body)
            file.flush()
            os.fchmod(file.fileno(), MODE)
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
