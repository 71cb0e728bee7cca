"""Read a length of time as people type it, and spell a moment as a clock shows it. Pure: no clock."""

import re
from datetime import datetime
from typing import Any

from supervisor.core.durations import DAY_S, HOUR_S, MINUTE_S, lasting

LONGEST_S = 365 * DAY_S
SECONDS_COUNT_S = 600  # to a person, of what is nearer than this
LENGTH = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")


def seconds(text: str) -> int:
    """Return the seconds that `90s`, `30m`, `2h`, `1d` or `1h30m` stand for.

    Raises:
        ValueError: it is no such length, or none that makes sense; the message says what would be one.
    """
    if text.isascii() and text.isdigit():
        raise ValueError(f"{text} has no unit: say {text}s, {text}m, {text}h or {text}d")
    found = LENGTH.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is no length of time; say it like 90s, 30m, 2h, 1d or 1h30m")
    days, hours, minutes, rest = (int(each or 0) for each in found.groups())
    total_s = days * DAY_S + hours * HOUR_S + minutes * MINUTE_S + rest
    if not 0 < total_s <= LONGEST_S:
        raise ValueError(f"{text} must be longer than nothing and no longer than 365d")
    return total_s


def until(at: Any, *, now_s: float) -> str:
    """Return a moment ahead as the clock on the wall will show it, with its day where that is not today."""
    end, now = moment(at), datetime.fromtimestamp(now_s).astimezone()
    if end is None:
        return "?"
    clock = "%H:%M:%S" if (end - now).total_seconds() < SECONDS_COUNT_S else "%H:%M"
    return end.strftime(clock if end.date() == now.date() else f"%b %d {clock}")


def moment(at: Any) -> datetime | None:
    """Return a document's time in local time; None where it is none."""
    try:
        return datetime.fromisoformat(str(at)).astimezone()
    except (ValueError, OverflowError):
        return None


def lasted(trouble: dict[str, Any], *, now_s: float) -> str | None:
    """Return how long something lasted that was opened and perhaps closed; None where nobody can tell."""
    opened, closed = moment(trouble.get("opened_at")), moment(trouble.get("closed_at"))
    if opened is None:
        return None
    return lasting((now_s if closed is None else closed.timestamp()) - opened.timestamp())
