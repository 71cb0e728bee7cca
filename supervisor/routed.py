"""Keeps the book of what the backends do when they are asked directly, and of what a router was asked for.

It is told by the same snapshots that are published, in the one thread that decides; the rules are in `core/routed.py`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from supervisor.core import routed
from supervisor.core.decide import keeps_a_conversation
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import CanaryEnded, Life, Reply
from supervisor.core.policy import Policy
from supervisor.core.routed import Direct
from supervisor.core.state import Phase
from supervisor.core.verdict import Verdict

ECHO_S = 3.0  # a look may show a canary's work so long after its end
ASKINGS_KEPT = 64
GONE = (Life.EXITED, Life.CREATED, Life.MISSING)


@dataclass(slots=True, kw_only=True)
class Asking:
    """A router was asked for something by us; until it ends, and a little longer, work at a backend may be that."""

    alias: str
    since: float
    until: float

    def covers(self, at: float) -> bool:
        """Whether what a backend was seen to do then may have been this."""
        return self.since <= at <= self.until + ECHO_S


class Directly:
    """What is known of every backend directly, and whom a router's doubt calls for more."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._directs: dict[str, Direct] = {}
        self._called: dict[str, float] = {}  # who is to be asked past the router, each since when
        self._askings: deque[Asking] = deque(maxlen=ASKINGS_KEPT)

    @property
    def directs(self) -> routed.Directs:
        """How each backend does, by its name."""
        return self._directs

    def saw(self, snapshot: Snapshot) -> None:
        """Take note of what is believed of a backend; a stand-in that is not needed has no part in anything."""
        state, evidence = snapshot.state, snapshot.evidence
        if snapshot.kind != "backend":
            self.forget(snapshot.name)  # it may have been one until now
            return
        if snapshot.stands_in_for is not None and state.phase is Phase.STOPPED:
            self._directs.pop(snapshot.name, None)
            return
        if evidence.answered_at is not None and evidence.answered_at > self._called.get(snapshot.name, self._clock()):
            del self._called[snapshot.name]
        self._directs[snapshot.name] = Direct(
            models=snapshot.models,
            ill=_ill(snapshot),
            is_gone=evidence.engine is not None and evidence.engine.life in GONE,
            answered_at=evidence.answered_at,
            users_at=self._users_at(snapshot),
            keeps=keeps_a_conversation(evidence),
            sleeps=evidence.sleeps_after_s is not None,
            deadline_s=snapshot.policy.canary_deadline_s,
        )

    def forget(self, name: str) -> None:
        """Know nothing more of one that is watched no more."""
        self._directs.pop(name, None)
        self._called.pop(name, None)

    def is_called(self, name: str) -> bool:
        """Whether a router's doubt waits for what this backend answers directly."""
        return name in self._called

    def call(self, *aliases: str) -> None:
        """Have whoever is behind these aliases asked directly, as soon as that hurts nobody."""
        for name in (name for alias in aliases for name in routed.behind(alias, self._directs)):
            self._called[name] = self._clock()

    def settle(self, *aliases: str) -> None:
        """Call nobody any more."""
        for name in (name for alias in aliases for name in routed.behind(alias, self._directs)):
            self._called.pop(name, None)

    def begins(self, alias: str, *, limit_s: float) -> Asking:
        """Take note that a router is being asked for `alias` by us, for so long at most."""
        now = self._clock()
        self._askings.append(Asking(alias=alias, since=now, until=now + limit_s))
        return self._askings[-1]

    def _users_at(self, snapshot: Snapshot) -> float | None:
        served_at = snapshot.evidence.served_at
        earlier = self._directs.get(snapshot.name)
        known = None if earlier is None else earlier.users_at
        ours = (each for each in self._askings if snapshot.name in routed.behind(each.alias, self._directs))
        if served_at is None or any(each.covers(served_at) for each in ours):
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
        self._instance: str | None = None
        self._worked: set[str] = set()  # the aliases that this life of the router has answered for
        self._last: str | None = None
        self._asking: Asking | None = None
        self._ended_at = -routed.UNTOLD_S
        self._doubted_at: float | None = None  # when it disappointed last, where it did and has not made up for it

    def settle(self, aliases: Iterable[str], *, policy: Policy) -> None:
        """Try these from now on; what is known of those that were tried before stays."""
        self._aliases, self._policy = tuple(aliases), policy
        self._worked &= set(self._aliases)

    def next(self, instance: str | None) -> tuple[str, float] | None:
        """Return the alias to ask this life of the router for now, and for how long; None: wait."""
        now = self._clock()
        self._end_asking(now)
        if instance != self._instance:
            self._instance, self._worked, self._doubted_at = instance, set(), None
        quiet_s = now - self._ended_at
        if self._doubted_at is not None and quiet_s < self._policy.canary_deadline_s / 2:
            return None  # routers, and whoever else looks after its backends, are given the time to come round
        stays = self._doubted_at is not None and self._last in self._worked
        alias = self._last if stays else self._next(quiet_s, now=now)
        if alias is None:
            return None
        limit_s = routed.limit_s(alias, self._directly.directs, policy=self._policy)
        self._last, self._asking = alias, self._directly.begins(alias, limit_s=limit_s)
        return alias, limit_s

    def weigh(self, seen: CanaryEnded) -> CanaryEnded:
        """Return what came of it, where a bad answer that a backend may be behind is excused."""
        alias, now = self._last or "", self._clock()
        self._end_asking(now)
        if seen.reply in (Reply.REFUSED, Reply.NOT_RUN):
            return seen
        if seen.reply is Reply.ANSWERED:
            self._worked.add(alias)
            self._directly.settle(*self._aliases)
            self._doubted_at = None
            return seen
        if self._worked and alias not in self._worked:
            # Nothing that a restart would cure, or that the others should suffer from.
            return routed.excused(seen, alias, "it has not worked since this router was started, and others do")
        weighed = routed.weigh(seen, alias, self._directly.directs, doubted_at=self._doubted_at)
        if weighed.reply is not Reply.EXCUSED:
            self._doubted_at = now
        if self._doubted_at is not None:
            self._directly.call(*([alias] if alias in self._worked else self._aliases))
        return weighed

    def _next(self, quiet_s: float, *, now: float) -> str | None:
        return routed.next_alias(
            self._aliases, self._last, self._directly.directs, policy=self._policy, quiet_s=quiet_s, now=now
        )

    def _end_asking(self, now: float) -> None:
        if self._asking is not None:
            self._asking.until = min(self._asking.until, now)
            self._asking, self._ended_at = None, now


def _ill(snapshot: Snapshot) -> str:
    state, evidence = snapshot.state, snapshot.evidence
    if snapshot.drain is not None:
        return "is drained by the operator"
    if state.phase is not Phase.UP:
        return f"is {state.phase} itself"
    if evidence.blind_detail or evidence.engine_detail or state.judgement.verdict is not Verdict.READY:
        return "cannot be looked at"
    return "is at work" if evidence.is_working else ""
