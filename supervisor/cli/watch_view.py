"""Lay out the live view: a line about all, the table, what has changed lately. Pure: no I/O, no clock."""

import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import click

from supervisor.cli.status_screen import lines
from supervisor.cli.status_table import chosen, is_ready, outdated
from supervisor.cli.text import clean, hanging
from supervisor.cli.times import moment

MOST_CHANGES = 10
HOW_TO_LEAVE = "q: quit"
ERRORS = {"fg": "red"}


class Seen(NamedTuple):
    """What was last heard of the daemon; `problem` and since when, where it does not answer now."""

    status: dict[str, Any] | None = None
    daemon_s: float = 0.0  # its clock, then
    problem: str = ""
    since: datetime | None = None
    changes: tuple[dict[str, Any], ...] = ()  # transitions, the newest last


def view(seen: Seen, names: Sequence[str], *, now: datetime, width: int, height: int, is_coloured: bool) -> list[str]:
    """Return the lines of a whole screen, `height` of them at the most."""
    paint = click.style if is_coloured else _plain
    head = _head(seen, names, now=now, width=width, paint=paint)
    if seen.status is None:
        return head[:height]
    shown, unknown = chosen(seen.status["targets"], names)
    table = [f"{clean(name)}: ERROR (no such process)" for name in unknown]
    table += lines(shown, width=width, is_coloured=is_coloured and not seen.problem)
    if seen.problem:
        table = [paint(line, dim=True) for line in table]
    room = height - len(head) - 1
    if len(table) > room:
        kept = max(room - 1, 0)
        more = f"{len(table) - kept} more lines: name some targets, or make the window higher"
        return [*head, "", *table[:kept], paint(more[:width], dim=True)][:height]
    return [*head, "", *table, *_changes(seen, names, width=width, room=room - len(table))]


def _head(seen: Seen, names: Sequence[str], *, now: datetime, width: int, paint: Any) -> list[str]:
    corner = f"{now.strftime('%H:%M:%S')}  {HOW_TO_LEAVE}"
    title, tone = _title(seen, names)
    gap = " " * max(2, width - len(title) - len(corner))
    first = (
        f"{paint(title, bold=True, **tone)}{gap}{corner}" if len(title) + 2 + len(corner) <= width else title[:width]
    )
    said = []
    if seen.problem and seen.since:
        lasted_s = max(0, int((now - seen.since).total_seconds()))
        said = [f"{seen.problem} (since {seen.since.strftime('%H:%M:%S')}, {lasted_s} s)"]
    if seen.status and not seen.problem:
        said += outdated(seen.status, now_s=seen.daemon_s) + seen.status["daemon"].get("problems", [])
    wrapped = [line for each in said for line in textwrap.wrap(clean(each), width, break_on_hyphens=False)]
    return [first, *(paint(line, **ERRORS) for line in wrapped)]


def _title(seen: Seen, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    if seen.status is None:
        return ("no answer yet" if seen.problem else "asking the daemon"), {}
    shown, _ = chosen(seen.status["targets"], names)
    ready = sum(is_ready(target) for target in shown)
    if seen.problem:
        return f"{ready}/{len(shown)} were ready", ERRORS
    return f"{ready}/{len(shown)} ready", {"fg": "green" if ready == len(shown) else "yellow"}


def _changes(seen: Seen, names: Sequence[str], *, width: int, room: int) -> list[str]:
    is_of_all = not names or "all" in names
    meant = [each for each in seen.changes if is_of_all or each.get("target") in names]
    told: list[str] = []
    for each in reversed(meant[-MOST_CHANGES:]):
        step = _change(each, width=width)
        if len(step) + len(told) + 2 > room:
            break
        told = step + told
    return ["", "What has changed, the newest last:"[:width], *told] if told else []


def _change(change: dict[str, Any], *, width: int) -> list[str]:
    at = moment(change.get("at"))
    head = f"  {at.strftime('%H:%M:%S') if at else '?':<8}  "
    step = f"{clean(change.get('target'))}: {clean(change.get('before'))} -> {clean(change.get('after'))}"
    return hanging(head, f"{step}, {clean(change.get('message'))} ({clean(change.get('reason'))})", width=width)


def _plain(text: str, **_: Any) -> str:
    return text
