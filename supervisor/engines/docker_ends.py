"""Remembers who is behind the ends of containers: we, an operator, or nobody (a crash). Asks the engine nothing.

The engine reports our own stops and an operator's alike. An end is ours if it is the end of an instance that we asked
the engine to end; by instance, not by time, because events lag and clocks differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.docker_state import ContainerEvent

# An instance that outlived our call by so much was not ended by it, whatever ends it later. Until then, a kill that the
# engine could not confirm in time may still take effect.
CALL_ECHO_S = 60.0
# A container that an operator has told to go, and that still runs, is on its way out for so long; then it is watched
# again like any other.
LEAVING_S = 60.0
REPORTED_WITHIN_S = 10.0  # events come within milliseconds, or not at all
ENDED = (Life.EXITED, Life.CREATED)


@dataclass(slots=True, kw_only=True)
class Ours:
    """A call of ours that ends `instance` (None: there was none)."""

    instance: str | None
    under_way: bool
    over_at: float = 0.0


class Ends:
    """What we asked for, what operators asked for, and what was found out about deaths, by container name."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ours: dict[str, Ours] = {}
        self._marks: dict[str, float | None] = {}  # when a call of an earlier daemon's was over; None: it was cut short
        self._asked_at: dict[str, float] = {}  # by container id: somebody sent a kill or a stop
        self._expected: list[tuple[str, int, float]] = []  # signals that we are sending: whose event is to come
        self._deaths: dict[str, tuple[str, bool]] = {}  # which end, and whether somebody asked for it

    def begin(self, name: str, instance: str | None) -> Ours:
        """Take the end of `instance` for ours from here on."""
        self._marks.pop(name, None)
        self._ours[name] = Ours(instance=instance, under_way=True)
        return self._ours[name]

    def finish(self, ours: Ours) -> None:
        """Take note that the call which `begin` announced has returned."""
        ours.under_way = False
        ours.over_at = self._clock()

    def mark(self, name: str, *, over_at: float | None) -> None:
        """Take note that an earlier daemon of ours ended `name`; which instance of it, is to be seen.

        Its call was over at the wall time `over_at`; None: it was cut short.
        """
        self._marks[name] = over_at

    def is_marked(self, name: str) -> bool:
        """Whether it is still to be seen which instance of `name` an earlier daemon of ours ended."""
        return name in self._marks

    def meet(self, name: str, seen: EngineSeen, *, is_told_to_end: bool) -> None:
        """Take the first instance that is seen of a marked container for the one that was ended by us.

        Unless it ended long after our call was over, or lives on and nobody has told it to end: that was, or will be,
        somebody else.
        """
        if name not in self._marks:
            return  # another look was faster, or we have begun to end it ourselves
        over_at = self._marks.pop(name)
        ended_at = datetime.fromisoformat(seen.ended_at).timestamp() if seen.ended_at else self._clock()
        outlived = over_at is not None and ended_at - over_at > CALL_ECHO_S
        if not outlived and (seen.life in ENDED or is_told_to_end):
            self._ours[name] = Ours(instance=seen.instance, under_way=False, over_at=over_at or self._clock())

    def forget(self, name: str) -> None:
        """Drop the mark of a container that is gone: one made anew under its name is another."""
        self._marks.pop(name, None)

    def drop(self, name: str) -> None:
        """Know nothing more of a container that is watched no more."""
        for known in (self._ours, self._marks, self._deaths):
            known.pop(name, None)

    def expect(self, container_id: str, number: int) -> None:
        """Take note that we are about to send a signal, which the engine will report like anybody's."""
        self._expected.append((container_id, number, self._clock()))

    def take(self, event: ContainerEvent) -> None:
        """Learn from one event."""
        if event.is_meant_to_end and not self._is_expected(event):
            self._asked_at[event.id] = self._clock()
            for name in event.names:
                self._deaths.pop(name, None)  # judged before this was known
        elif event.action in ("start", "die", "destroy"):
            self._asked_at.pop(event.id, None)

    def forget_kills(self) -> None:
        """Drop the kills seen: an engine that shuts down sends one to every container, and no operator meant it."""
        self._asked_at.clear()

    def _is_expected(self, event: ContainerEvent) -> bool:
        """Return whether this is the report of a signal of ours; of each there is one."""
        now = self._clock()
        self._expected = [each for each in self._expected if now - each[2] < REPORTED_WITHIN_S]
        found = next((each for each in self._expected if each[:2] == (event.id, event.signal)), None)
        if found is None or event.action != "kill":
            return False
        self._expected.remove(found)
        return True

    def is_leaving(self, container_id: str) -> bool:
        """Whether somebody has lately told this container to go."""
        asked_at = self._asked_at.get(container_id)
        return asked_at is not None and self._clock() - asked_at < LEAVING_S

    def is_ours(self, name: str, seen: EngineSeen) -> bool:
        """Whether the end of this instance, come or to come, is our doing."""
        ours = self._ours.get(name)
        if ours is None:
            return False
        if ours.under_way:
            return True  # should its engine have restarted it meanwhile, the call met another instance
        outlived = seen.life is Life.RUNNING and self._clock() - ours.over_at > CALL_ECHO_S
        if ours.instance != seen.instance or outlived:
            del self._ours[name]
            return False
        return True

    def verdict(self, name: str, end: str) -> bool | None:
        """Return whether somebody asked for this end; None: not found out yet."""
        known = self._deaths.get(name)
        return known[1] if known is not None and known[0] == end else None

    def settle(self, name: str, end: str, *, was_asked: bool) -> None:
        """Keep what was found out: the engine forgets its events when it restarts."""
        self._deaths[name] = (end, was_asked)
