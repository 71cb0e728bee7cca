"""Remembers who is behind the ends of containers: we, an operator, or nobody (a crash). Asks the engine nothing.

The engine reports our own stops and an operator's alike. An end is ours if it is the end of an instance that we asked
the engine to end; by instance, not by time, because events lag and clocks differ.
"""

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.docker_state import ContainerEvent

# An instance that outlived our call by so much was not ended by it, whatever ends it later. Until then, a kill that the
# engine could not confirm in time may still take effect.
CALL_ECHO_S = 60.0
# A container that an operator has told to go, and that still runs, is on its way out for so long; then it is watched
# again like any other.
LEAVING_S = 60.0


@dataclass(slots=True, kw_only=True)
class Ours:
    """A call of ours that ends `instance` (None: there was none); an open one means whichever is seen next."""

    instance: str | None
    is_open: bool
    under_way: bool
    over_at: float = 0.0


class Ends:
    """What we asked for, what operators asked for, and what was found out about deaths, by container name."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ours: dict[str, Ours] = {}
        self._asked_at: dict[str, float] = {}  # by container id: somebody sent a kill or a stop
        self._deaths: dict[str, tuple[str, bool]] = {}  # the instance, and whether somebody asked for its end

    def begin(self, name: str, instance: str | None) -> Ours:
        """Take the end of `instance` for ours from here on."""
        self._ours[name] = Ours(instance=instance, is_open=False, under_way=True)
        return self._ours[name]

    def finish(self, ours: Ours) -> None:
        """Take note that the call which `begin` announced has returned."""
        ours.under_way = False
        ours.over_at = self._clock()

    def mark(self, name: str) -> None:
        """Take the present instance of `name` for one that we ended in an earlier life."""
        self._ours[name] = Ours(instance=None, is_open=True, under_way=False, over_at=self._clock())

    def take(self, event: ContainerEvent) -> None:
        """Learn from one event."""
        if event.is_meant_to_end:
            self._asked_at[event.id] = self._clock()
            for name in event.names:
                self._deaths.pop(name, None)  # judged before this was known
        elif event.action in ("start", "die", "destroy"):
            self._asked_at.pop(event.id, None)

    def forget_kills(self) -> None:
        """Drop the kills seen: an engine that shuts down sends one to every container, and no operator meant it."""
        self._asked_at.clear()

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
        if ours.is_open:
            ours.instance, ours.is_open = seen.instance, False
        outlived = seen.life is Life.RUNNING and self._clock() - ours.over_at > CALL_ECHO_S
        if ours.instance != seen.instance or outlived:
            del self._ours[name]
            return False
        return True

    def verdict(self, name: str, instance: str) -> bool | None:
        """Return whether somebody asked for the end of `instance`; None: not found out yet."""
        known = self._deaths.get(name)
        return known[1] if known is not None and known[0] == instance else None

    def settle(self, name: str, instance: str, *, was_asked: bool) -> None:
        """Keep what was found out: the engine forgets its events when it restarts."""
        self._deaths[name] = (instance, was_asked)
