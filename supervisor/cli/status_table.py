"""Lay out the status the way supervisorctl does. Pure: no I/O, no clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from supervisor.cli.text import clean

NAME_WIDTH = 30  # supervisorctl's: never narrower, wider where a name is
STATE_WIDTH = 10
GAP = 3  # after the name

Target = dict[str, Any]


class Cells(NamedTuple):
    """One target's line, in its parts."""

    name: str
    state: str
    description: str


def rows(targets: list[Target]) -> list[str]:
    """Return one line per target."""
    told = [cells(target) for target in targets]
    width = max([NAME_WIDTH, *(len(each.name) for each in told)]) + GAP
    return [f"{each.name:<{width}}{each.state:<{STATE_WIDTH}}{each.description}".rstrip() for each in told]


def cells(target: Target) -> Cells:
    """Return what is told of a target."""
    facts = _facts(target)
    summary = clean(target.get("summary"))
    description = f"{facts}; {summary}" if facts and summary else facts or summary
    return Cells(clean(target.get("name")), clean(target.get("state")), description)


def chosen(targets: list[Target], names: Sequence[str]) -> tuple[list[Target], list[str]]:
    """Return the targets that are asked for, in that order, and the names that none of them has."""
    known = {target["name"]: target for target in targets}
    asked = list(known) if not names or "all" in names else list(dict.fromkeys(names))
    return [known[name] for name in asked if name in known], [name for name in asked if name not in known]


def outdated(status: dict[str, Any], *, now_s: float) -> list[str]:
    """Return in a line that a status is out of date, where it is; `now_s` is by the daemon's clock."""
    late_s = now_s - datetime.fromisoformat(status["expires_at"]).timestamp()
    if late_s < 0:
        return []
    return [
        f"this is out of date by {late_s:.0f} s: the daemon answers but no longer decides; "
        "look into its log, then restart it"
    ]


def is_ready(target: Target) -> bool:
    """Say whether the target does its work now: a backend may be sent requests, a router answers."""
    return target.get("routable") is True or (target.get("kind") == "router" and target.get("verdict") == "ready")


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
