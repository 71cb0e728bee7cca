"""Keeps the book of what the backends do when they are asked directly, and of what a router was asked for.

It is told by the same snapshots that are published, in the one thread that decides; the rules are in `core/routed.py`.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from supervisor.core import routed
from supervisor.core.decide import keeps_a_conversation
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import CanaryEnded, Reply
from supervisor.core.policy import Policy
from supervisor.core.routed import Direct
from supervisor.core.state import Phase

ECHO_S = 3.0  # a look may show a canary's work so long after its end


@dataclass(frozen=True, slots=True)
class _Asking:
    """A router was asked for something; until it ends, and a little longer, work at a backend may be that."""

    since: float
    until: float | None = None


class Directly:
    """What is known of every backend directly."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._directs: dict[str, Direct] = {}
        self._askings: dict[str, _Asking] = {}  # the last one of each alias

    @property
    def directs(self) -> routed.Directs:
        """How each backend does, by its name."""
        return self._directs

    def saw(self, snapshot: Snapshot) -> None:
        """Take note of what is believed of a backend; a stand-in that is not needed has no part in anything."""
        state = snapshot.state
        if snapshot.kind != "backend":
            return
        if snapshot.stands_in_for is not None and state.phase is Phase.STOPPED:
            self._directs.pop(snapshot.name, None)
            return
        earlier = self._directs.get(snapshot.name)
        self._directs[snapshot.name] = Direct(
            models=snapshot.models,
            sound_since=state.since if state.phase is Phase.UP else None,
            why="" if state.phase is Phase.UP else f"is {state.phase} itself",
            users_at=self._users_at(snapshot, earlier),
            keeps=keeps_a_conversation(snapshot.evidence),
        )

    def begins(self, alias: str) -> None:
        """Take note that a router is being asked for `alias` by us."""
        self._askings[alias] = _Asking(self._clock())

    def ended(self, alias: str) -> None:
        """Take note that it is not any more."""
        if alias in self._askings:
            self._askings[alias] = _Asking(self._askings[alias].since, self._clock())

    def _users_at(self, snapshot: Snapshot, earlier: Direct | None) -> float | None:
        served_at = snapshot.evidence.served_at
        known = None if earlier is None else earlier.users_at
        if served_at is None or served_at == known or any(_covers(each, served_at) for each in self._askings.values()):
            return known
        return served_at


class Ways:
    """The ways through one router, an alias each, that are tried in turn."""

    def __init__(
        self, aliases: Iterable[str], directly: Directly, *, policy: Policy, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._aliases = tuple(aliases)
        self._directly = directly
        self._policy = policy
        self._clock = clock
        self._last: str | None = None
        self._sent_at = 0.0
        self._is_bad = False

    def next(self) -> str | None:
        """Return the alias to ask for now, and take note that it is asked for; None: wait."""
        alias = routed.next_alias(
            self._aliases,
            self._last,
            self._directly.directs,
            in_doubt=self._is_bad,
            policy=self._policy,
            now=self._clock(),
        )
        if alias is not None:
            self._directly.ended(self._last or alias)  # in case nobody heard of its end
            self._last, self._sent_at = alias, self._clock()
            self._directly.begins(alias)
        return alias

    def weigh(self, seen: CanaryEnded) -> CanaryEnded:
        """Return what came of it, where a bad answer that a backend may be behind is excused."""
        alias = self._last or ""
        self._directly.ended(alias)
        weighed = routed.weigh(seen, alias, self._directly.directs, sent_at=self._sent_at)
        self._is_bad = weighed.reply not in (Reply.ANSWERED, Reply.EXCUSED)
        return weighed


def _covers(asking: _Asking, at: float) -> bool:
    return asking.since <= at and (asking.until is None or at <= asking.until + ECHO_S)
