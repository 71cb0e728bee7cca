"""Lay out the status the way supervisorctl does. Pure: no I/O, no clock."""

from datetime import datetime, timedelta
from typing import Any

from supervisor.cli.text import clean

NAME_WIDTH = 30  # supervisorctl's: never narrower, wider where a name is
STATE_WIDTH = 10

Target = dict[str, Any]


def rows(targets: list[Target]) -> list[str]:
    """Return one line per target."""
    names = [clean(target.get("name")) for target in targets]
    width = max([NAME_WIDTH, *map(len, names)]) + 3
    return [f"{name:<{width}}{_row(target)}".rstrip() for name, target in zip(names, targets, strict=True)]


def is_ready(target: Target) -> bool:
    """Say whether the target does its work now: a backend may be sent requests, a router answers."""
    return target.get("routable") is True or (target.get("kind") == "router" and target.get("verdict") == "ready")


def _row(target: Target) -> str:
    facts = _facts(target)
    summary = clean(target.get("summary"))
    description = f"{facts}; {summary}" if facts and summary else facts or summary
    return f"{clean(target.get('state')):<{STATE_WIDTH}}{description}"


def _facts(target: Target) -> str:
    match target.get("state"):
        case "RUNNING":
            return _life(target.get("pid"), target.get("uptime_s"))
        case "STOPPED" | "EXITED" if stopped_at := target.get("stopped_at"):
            return datetime.fromisoformat(stopped_at).astimezone().strftime("%b %d %I:%M %p")
        case _:
            return ""


def _life(pid: int | None, uptime_s: float | None) -> str:
    known = [] if pid is None else [f"pid {pid}"]
    if uptime_s is not None:
        # A clock set back makes it negative, and timedelta would then print "-1 day, 23:59:50".
        known.append(f"uptime {timedelta(seconds=max(0, int(uptime_s)))}")
    return ", ".join(known)
