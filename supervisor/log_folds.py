"""Fold what is said over and over: the first time at once, then how often it was, with the last time's own words.

Pure but for what it remembers, which is bounded. What is not to be folded does not come here.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

from supervisor.log_lines import Line

WINDOW_S = 60.0
MOST_KEPT = 256  # messages that may be said again


@dataclass(slots=True)
class _Fold:
    """What was said, and has been said again `count` times since."""

    since: float
    last_at: float
    last: Line
    count: int = 0


class Folds:
    """Remembers what was said lately."""

    def __init__(self, *, window_s: float = WINDOW_S, most: int = MOST_KEPT) -> None:
        self._window_s = window_s
        self._most = most
        self._kept: dict[Hashable, _Fold] = {}  # in the order in which their windows began

    def take(self, key: Hashable, line: Line, *, now: float) -> list[Line]:
        """Take a line, and return those to write now."""
        written = self.due(now)
        kept = self._kept.get(key)
        if kept is not None:
            kept.last, kept.last_at = line, now
            kept.count += 1
            return written
        self._kept[key] = _Fold(since=now, last_at=now, last=line)
        if len(self._kept) > self._most:
            written += _summary(self._kept.pop(next(iter(self._kept))))
        return [*written, line]

    def due(self, now: float) -> list[Line]:
        """Return what has to be said of those whose window is over; one that goes on begins another window."""
        written: list[Line] = []
        for key in [key for key, kept in self._kept.items() if now - kept.since >= self._window_s]:
            kept = self._kept.pop(key)
            written += _summary(kept)
            if kept.count:
                self._kept[key] = _Fold(since=now, last_at=now, last=kept.last)
        return written

    def rest(self) -> list[Line]:
        """Return what has not been said yet, and forget everything."""
        kept, self._kept = list(self._kept.values()), {}
        return [line for each in kept for line in _summary(each)]

    def next_due(self) -> float | None:
        """Return when somebody has to ask for what is due; None while nothing is held back."""
        return min((each.since + self._window_s for each in self._kept.values() if each.count), default=None)


def _summary(fold: _Fold) -> Iterator[Line]:
    if fold.count:
        yield replace(fold.last, repeated=fold.count, over_s=fold.last_at - fold.since)
