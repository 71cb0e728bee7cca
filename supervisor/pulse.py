"""How late our own event loop is: what nobody answered while we ourselves stood still, nobody can be blamed for."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

BEAT_S = 0.25
BEATS_KEPT = 40  # ten seconds: looks are far shorter


def slept_s() -> float:
    """Return for how long this machine has been suspended since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


class Pulse:
    """Wakes four times a second and remembers how late it was."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beats: deque[tuple[float, float]] = deque(maxlen=BEATS_KEPT)
        self._last_at = clock()

    async def run(self) -> None:
        """Beat, for ever."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_S)

    def beat(self) -> None:
        """Take note of the time."""
        now = self._clock()
        self._beats.append((now, max(0.0, now - self._last_at - BEAT_S)))
        self._last_at = now

    def late_s(self, since: float) -> float:
        """Return the longest that the loop stood still since then, in seconds."""
        now = self._clock()
        beats = [late_s for at, late_s in self._beats if at > since]
        return max([*beats, now - self._last_at - BEAT_S, 0.0])
