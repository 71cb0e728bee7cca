"""How late our own event loop is: what nobody answered while we ourselves stood still, nobody can be blamed for."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

BEAT_S = 0.25
BEATS_KEPT = 40  # ten seconds: looks are far shorter
SLEPT_S = 1.0  # the machine stood still for longer: so did everything on it, and every connection may be gone


def slept_s() -> float:
    """Return for how long this machine has been suspended since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


class Absence:
    """Notices that nobody was watching: the machine was suspended, or we stood still ourselves."""

    def __init__(self, *, now: float, slept_s: Callable[[], float]) -> None:
        self._slept_s = slept_s
        self._slept_before_s = slept_s()
        self.last_at = now  # when somebody was watching last

    def since_last(self, now: float, *, late_s: float) -> tuple[str, bool]:
        """Return why nobody was watching since the last call, and whether all stood still with us; empty: we were.

        A gap longer than `late_s` is no usual one.
        """
        gap_s, slept_s = now - self.last_at, self._slept_s()
        asleep_s = slept_s - self._slept_before_s
        self.last_at, self._slept_before_s = now, slept_s
        if asleep_s > SLEPT_S:
            return f"this machine was suspended for {asleep_s:.0f}s", True
        return (f"we stood still ourselves for {gap_s:.0f}s" if gap_s > late_s else ""), False


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
