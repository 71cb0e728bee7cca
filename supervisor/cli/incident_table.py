"""Lay out incidents as a table, the newest last, next to where the eye is. Pure: no I/O, no clock."""

from typing import Any

from supervisor.cli.text import clean, hanging
from supervisor.cli.times import lasted, moment

HEAD = ("INCIDENT", "SINCE", "LASTED", "TARGETS", "CAUSE", "ENDED")
GAP = "  "
MOST_NAMED = 3  # targets of one incident; `show` names them all

Incident = dict[str, Any]


def rows(incidents: list[Incident], *, now_s: float, width: int | None = None) -> list[str]:
    """Return a head and one line per incident, which come newest first; nothing where there are none.

    On a terminal of some `width` that this does not fit into, there is no head, and what it is about stands below it.
    """
    if not incidents:
        return []
    table = [HEAD, *(_row(each, now_s=now_s) for each in reversed(incidents))]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if width is not None and sum(widths) + len(GAP) * (len(widths) - 1) > width:
        return [line for row in table[1:] for line in _folded(row, width=width)]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def ended(incident: Incident) -> str:
    """Return what ended it, in a phrase; more than one where members ended differently."""
    if incident.get("closed_at") is None:
        return "open"
    endings = dict.fromkeys(clean(each.get("ending")) for each in members(incident) if each.get("ending"))
    return ", ".join(endings) or "not known how"


def members(incident: Incident) -> list[Incident]:
    """Return the troubles it is made of."""
    found = incident.get("members")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def names(incident: Incident) -> list[str]:
    """Return whom it is about."""
    return [clean(name) for name in incident.get("targets") or []]


def _row(incident: Incident, *, now_s: float) -> tuple[str, ...]:
    opened = moment(incident.get("opened_at"))
    return (
        clean(incident.get("id")),
        "?" if opened is None else opened.strftime("%b %d %H:%M"),
        lasted(incident, now_s=now_s) or "?",
        _few(names(incident)),
        clean(incident.get("cause")) or "not known",
        ended(incident),
    )


def _folded(row: tuple[str, ...], *, width: int) -> list[str]:
    name, since, span, targets, cause, how = row
    return [
        *hanging("", f"{name}{GAP}{since}{GAP}{span}", width=width),
        *hanging(GAP, f"{targets}: {cause}; {how}", width=width),
    ]


def _few(targets: list[str]) -> str:
    more = len(targets) - MOST_NAMED
    return ", ".join(targets) if more <= 0 else f"{', '.join(targets[:MOST_NAMED])} and {more} more"
