"""Remembers the signals that an operator had us send, so that an end which follows is known for what it is.

Whoever wants a target stopped says so: a signal is meant for what runs, and what ends by it is started again.
"""

import signal
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from supervisor.core.observations import EngineSeen, Life

KILLED_BY = 128  # the exit code of what signal n ended is 128 + n
LONGEST_GRACE_S = 300.0  # that a server is expected to take from such a signal to its end
KEPT = 16  # of one target
# A server that catches these ends in good order, by an exit code of its own.
ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL})


@dataclass(frozen=True, slots=True)
class Sent:
    """A signal that was sent to one life of a target; `at` is wall time."""

    instance: str | None
    number: signal.Signals
    at: float


class Signals:
    """What was sent lately, by target."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sent: dict[str, deque[Sent]] = {}

    def note(self, name: str, instance: str | None, number: signal.Signals) -> None:
        """Take note of a signal that is about to be sent."""
        self._sent.setdefault(name, deque(maxlen=KEPT)).append(Sent(instance, number, self._clock()))

    def lately(self, name: str, instance: str | None) -> Counter[int]:
        """Return how often which signal was sent to this life, of those that it may yet end by."""
        known = self._sent.get(name, ())
        since = self._clock() - LONGEST_GRACE_S
        return Counter(int(each.number) for each in known if each.instance == instance and each.at >= since)

    def forget(self, name: str) -> None:
        """Know nothing more of a target that is watched no more."""
        self._sent.pop(name, None)

    def ended(self, name: str, seen: EngineSeen) -> str:
        """Return the name of the signal by which this life has ended; empty: it has not, or by something else."""
        if seen.life is not Life.EXITED or seen.stopped_by_operator or seen.oom_killed:
            return ""
        ended_at = datetime.fromisoformat(seen.ended_at).timestamp() if seen.ended_at else self._clock()
        for each in reversed(self._sent.get(name, ())):
            is_late = ended_at - each.at > LONGEST_GRACE_S
            by_it = each.number in ENDING or seen.exit_code == KILLED_BY + each.number
            if each.instance == seen.instance and by_it and not is_late:
                return each.number.name
        return ""
