"""The words and the exit status of one probe: for shells and health checks, and for monitoring systems. Pure.

Nagios' own guidelines: one line, `NAME STATUS - text | performance data`, exit status 0, 1, 2 or 3.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

from supervisor.cli.text import clean

if TYPE_CHECKING:
    from supervisor.once import Probed

SERVICE = "BENCHAI"


class Level(IntEnum):
    """What a monitoring system makes of it, as an exit status."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


LEVELS = {
    "ready": Level.OK,
    "busy": Level.OK,
    "asleep": Level.OK,
    "loading": Level.WARNING,
    "unsure": Level.WARNING,
    "hung": Level.CRITICAL,
    "failing": Level.CRITICAL,
    "down": Level.CRITICAL,
    "misconfigured": Level.CRITICAL,
    "denied": Level.UNKNOWN,
    "unknown": Level.UNKNOWN,
}


def level(probed: "Probed", *, warning_s: float | None, critical_s: float | None) -> Level:
    """Return how bad it is; a first token later than these is worse than its answer alone."""
    own, late_s = LEVELS[probed.health], probed.first_token_s
    if late_s is not None and critical_s is not None and late_s > critical_s:
        return Level.CRITICAL
    if late_s is not None and warning_s is not None and late_s > warning_s:
        return max(own, Level.WARNING)
    return own


def nagios(
    probed: "Probed", level: Level, *, timeout_s: float, warning_s: float | None, critical_s: float | None
) -> str:
    """Return the line for a monitoring system."""
    return f"{SERVICE} {level.name} - {said(probed)} | {' '.join(_data(probed, timeout_s, warning_s, critical_s))}"


def said(probed: "Probed") -> str:
    """Return what came of it in a phrase, without what would end a line or begin the performance data."""
    first = "" if probed.first_token_s is None else f", first token {probed.first_token_s:.2f}s"
    detail = "" if probed.health == "ready" else f": {probed.detail}"
    return clean(f"{probed.health}{first}{detail}").replace("|", "/")


def _data(probed: "Probed", timeout_s: float, warning_s: float | None, critical_s: float | None) -> list[str]:
    limits = f"{_number(warning_s)};{_number(critical_s)}"
    told = [f"time={probed.took_s:.3f}s;;;0;{timeout_s:g}"]
    if probed.first_token_s is not None:
        told.append(f"first_token={probed.first_token_s:.3f}s;{limits};0;{timeout_s:g}")
    if probed.slots is not None:
        busy, every = probed.slots
        told.append(f"slots_busy={busy};;;0;{every}")
    return told


def _number(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}"
