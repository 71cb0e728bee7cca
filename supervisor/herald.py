"""Tells systemd when we are ready, how everything is, and that we are alive, which is said only while that is true.

It runs in the loop that decides, so a loop that stands still says nothing; and before each word to the watchdog it
looks whether everybody who should be at work is. A thread of its own would go on saying that all is well.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from loguru import logger

from supervisor.core.headline import headline
from supervisor.notify import Notifier
from supervisor.publish.board import Board
from supervisor.publish.file import LivenessFile

LOOKED_WITHIN_S = 10.0  # a target that cannot be looked at must not hold up the boot of who waits for us
BEAT_S = 5.0  # without a watchdog; the line is told at once when it changes
BEATS_OF_A_WATCHDOG = 4  # in the time that it allows, so that one or two may be late
LEAVE_S = 15.0  # for all that follows the last engine call, with room to spare


class Herald:
    """Speaks to systemd for one daemon."""

    def __init__(
        self,
        board: Board,
        file: LivenessFile,
        *,
        notifier: Notifier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._file = file
        self._notifier = notifier or Notifier()
        self._clock = clock
        self._told = ""
        self._is_ready = False
        self._ails: list[str] = []
        limit_s = self._notifier.watchdog_s
        self._beat_s = BEAT_S if limit_s is None else min(BEAT_S, limit_s / BEATS_OF_A_WATCHDOG)

    async def run(self) -> None:
        """Speak at every beat, and whenever something has changed, for ever."""
        began_at, beat_at = self._clock(), 0.0
        while self._notifier.is_heard:
            self._tell_the_line()
            if not self._is_ready and (self._board.has_looked or self._clock() - began_at >= LOOKED_WITHIN_S):
                self._is_ready = True
                self._notifier.ready()
            if self._clock() >= beat_at:
                beat_at = self._clock() + self._beat_s
                self._beat()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, beat_at - self._clock())):
                    await self._board.change()
        await asyncio.Event().wait()  # nobody wants to hear

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the settings are being read anew for as long as the block lasts.

        Before we are ready that is a part of our start: its end must not make us seem so.
        """
        is_told = self._is_ready
        if is_told:
            self._notifier.reloading()
        try:
            yield
        finally:
            if is_told:
                self._notifier.ready()

    def leave(self, *, within_s: float) -> None:
        """Say that we are on our way out, and have systemd wait for engine calls that take so long at the most."""
        self._notifier.stopping()
        self._notifier.status("ending; targets run on")
        self._notifier.extend(within_s + LEAVE_S)

    def _tell_the_line(self) -> None:
        problems = [f"{part}: {problem}" for part, problem in sorted(self._board.problems.items())]
        line = headline(self._board.snapshots, observes=self._board.mode == "observe", problems=problems)
        if line != self._told:
            self._told = line
            self._notifier.status(line)

    def _beat(self) -> None:
        ails = self._ailing()
        if not ails:
            self._notifier.alive()
        if [who for who, _ in ails] != self._ails:
            self._ails = [who for who, _ in ails]
            said = ", ".join(f"{who} for {late_s:.0f}s" for who, late_s in ails)
            if said:
                logger.error("parts of ours stand still, so the watchdog is told nothing until they move: {}", said)
            else:
                logger.info("nothing of ours stands still any more")

    def _ailing(self) -> list[tuple[str, float]]:
        """Return what of ours stands still, and for how long.

        An engine, a server or a disk that does not answer is nobody's of ours: whoever asks it goes on taking turns.
        """
        now, limit_s = self._clock(), self._board.valid_for_s
        late = [(f"the keeper of {each.name}", now - each.as_of) for each in self._board.snapshots]
        late.append(("the liveness file's writer", self._file.idle_s))
        return [(who, late_s) for who, late_s in late if late_s > limit_s]
