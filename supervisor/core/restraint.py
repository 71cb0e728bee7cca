"""Why a restart that is due is not done now: a person's word, the mode we run in, or another trouble that goes first.

Pure. A restraint holds us back and nobody else: what an operator asks for is done all the same, and what is believed
of a target is published as it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Literal

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY = "*"  # a hold on all targets
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Curb(StrEnum):
    """What restrains us, in the word that machines read."""

    OBSERVING = "Observing"  # mode = "observe": everything is decided and nothing done
    HELD = "Held"  # an operator holds this target
    DRAINED = "Drained"  # ... and has taken it out of rotation
    PAUSED = "Paused"  # ... or all of them
    MAINTENANCE = "Maintenance"  # a window from the settings is open
    SHARED_CAUSE = "SharedCause"  # so many failed at once that it is not their own fault
    ONE_AT_A_TIME = "OneAtATime"  # another restart is under way on this host, or on its GPU

    @property
    def is_by_a_person(self) -> bool:
        """Whether somebody wanted it so, and it is shown whatever the target does."""
        return self in (Curb.HELD, Curb.DRAINED, Curb.PAUSED, Curb.MAINTENANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """What holds us back: `message` a phrase for people, `until` monotonic seconds (None: until somebody lifts it).

    `since` is when a person said so, where one did.
    """

    curb: Curb
    message: str
    until: float | None = None
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An operator's word that a target (or `EVERY` target) is not to be touched by us.

    Wall times: a hold outlives us. `until` None: until it is released. `drains`: nobody is to be sent to it either, and
    whoever it serves may finish.
    """

    target: str
    since: datetime
    until: datetime | None = None
    why: str = ""
    drains: bool = False

    def holds(self, name: str, *, wall: datetime) -> bool:
        """Whether it is about `name`, and not over."""
        return self.target in (name, EVERY) and (self.until is None or wall < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A maintenance window, in local time: from `begins` to `ends` on `days`; one that crosses midnight is of the day
    it begins on."""

    begins: time
    ends: time
    days: frozenset[Day] = frozenset(DAYS)
    targets: frozenset[str] = frozenset({EVERY})
    why: str = ""

    def ends_at(self, name: str, *, local: datetime) -> datetime | None:
        """Return when the window that is open for `name` at `local` ends; None: none is open."""
        if self.targets.isdisjoint({name, EVERY}):
            return None
        lasts = _since_midnight(self.ends) - _since_midnight(self.begins)
        if lasts <= timedelta(0):
            lasts += timedelta(days=1)
        for days_ago in (0, 1):
            began = datetime.combine(local.date() - timedelta(days=days_ago), self.begins, tzinfo=local.tzinfo)
            if DAYS[began.weekday()] in self.days and began <= local < began + lasts:
                return began + lasts
        return None


def _since_midnight(at: time) -> timedelta:
    return timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)


def by_a_person(
    name: str, *, holds: Iterable[Hold], windows: Iterable[Window], now: float, local: datetime
) -> Restraint | None:
    """Return what people have said about `name` at wall time `local`, the same moment as `now`; the last to end wins.

    A hold without an end outlasts everything.
    """
    found = [
        *(_held(each, now=now, wall=local) for each in holds if each.holds(name, wall=local)),
        *(
            _maintained(each, ends_at, now=now, local=local)
            for each in windows
            if (ends_at := each.ends_at(name, local=local)) is not None
        ),
    ]
    return max(found, key=lambda each: float("inf") if each.until is None else each.until, default=None)


def drained(name: str, *, holds: Iterable[Hold], now: float, local: datetime) -> Restraint | None:
    """Return the word by which a person has taken `name` out of rotation, if one has."""
    return next(
        (_held(each, now=now, wall=local) for each in holds if each.drains and each.holds(name, wall=local)), None
    )


def _held(hold: Hold, *, now: float, wall: datetime) -> Restraint:
    curb, what = _how(hold)
    why = f": {hold.why}" if hold.why else ""
    until = None if hold.until is None else now + (hold.until - wall).total_seconds()
    since = now + min(0.0, (hold.since - wall).total_seconds())  # a clock may be set back
    return Restraint(curb=curb, message=f"{what} by the operator{why}", until=until, since=since)


def _how(hold: Hold) -> tuple[Curb, str]:
    if hold.drains:
        return Curb.DRAINED, "drained"
    return (Curb.PAUSED, "paused") if hold.target == EVERY else (Curb.HELD, "held")


def _maintained(window: Window, ends_at: datetime, *, now: float, local: datetime) -> Restraint:
    why = f": {window.why}" if window.why else ""
    until = now + (ends_at - local).total_seconds()
    return Restraint(curb=Curb.MAINTENANCE, message=f"in maintenance{why}", until=until)
