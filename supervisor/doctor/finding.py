"""What a check has found: how bad it is, what was seen, and what helps."""

import os
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much it stands in the way; the worst first."""

    ERROR = "error"  # something does not work
    WARNING = "warning"  # something works worse than it could, or will fail one day
    NOTE = "note"  # good to know, or not to be seen from here
    OK = "ok"

    @property
    def is_in_the_way(self) -> bool:
        """Whether somebody should do something about it."""
        return self in (Severity.ERROR, Severity.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was seen; `command` is what to type, where the cure is something to type."""

    severity: Severity
    seen: str
    cure: str = ""
    command: str = ""
    target: str | None = None


def ok(seen: str, *, target: str | None = None) -> Finding:
    """Return that something is as it should be."""
    return Finding(severity=Severity.OK, seen=seen, target=target)


def note(seen: str, *, cure: str = "", command: str = "", target: str | None = None) -> Finding:
    """Return something that is good to know."""
    return Finding(severity=Severity.NOTE, seen=seen, cure=cure, command=command, target=target)


def unseen(what: str, *, target: str | None = None) -> Finding:
    """Return that something could not be looked at, by whoever asks now."""
    return note(f"not seen: {what}", cure="run the doctor as root" if os.geteuid() else "", target=target)


def warning(seen: str, *, cure: str, command: str = "", target: str | None = None) -> Finding:
    """Return something that works worse than it could."""
    return Finding(severity=Severity.WARNING, seen=seen, cure=cure, command=command, target=target)


def error(seen: str, *, cure: str, command: str = "", target: str | None = None) -> Finding:
    """Return something that does not work."""
    return Finding(severity=Severity.ERROR, seen=seen, cure=cure, command=command, target=target)
