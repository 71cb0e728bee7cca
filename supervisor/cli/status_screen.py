"""Lay out the status for a terminal: supervisorctl's columns where they fit, folded where they do not, coloured.

Pure: no I/O, no clock. What a pipe gets is in `status_table.py`.
"""

import textwrap
from collections.abc import Iterator

import click

from supervisor.cli.status_table import GAP, NAME_WIDTH, STATE_WIDTH, Cells, Target, cells, is_ready
from supervisor.cli.text import wide

NARROWEST = 20  # columns that a description is still read in beside its target's name
LEAST = 10  # columns: what is narrower is not a place to read in
TONES = {
    "RUNNING": "green",
    "STARTING": "cyan",
    "STOPPING": "cyan",
    "BACKOFF": "yellow",
    "EXITED": "red",
    "FATAL": "red",
    "UNKNOWN": "magenta",
}
UNWELL = "yellow"  # it runs, and may not be sent requests


def lines(targets: list[Target], *, width: int, is_coloured: bool) -> list[str]:
    """Return the lines about every target, none wider than `width`; what does not fit goes on below its beginning."""
    width = max(width, LEAST)
    told = [cells(target) for target in targets]
    longest = max((len(each.name) for each in told), default=0)
    column = max(NAME_WIDTH, longest) + GAP
    if any(column + STATE_WIDTH + wide(each.description) > width for each in told):
        column = longest + GAP
    is_stacked = width - column - STATE_WIDTH < NARROWEST
    printed: list[str] = []
    for target, each in zip(targets, told, strict=True):
        state = _painted(target, each.state) if is_coloured else each.state
        printed += (
            _stacked(each, state, width=width) if is_stacked else _beside(each, state, column=column, width=width)
        )
    return printed


def _beside(told: Cells, state: str, *, column: int, width: int) -> Iterator[str]:
    """Yield the description beside the name and the state, further lines of it below its beginning."""
    indent = column + STATE_WIDTH
    first, *others = _wrapped(told.description, width - indent)
    gap = " " * (STATE_WIDTH - len(told.state)) if first else ""
    yield f"{told.name:<{column}}{state}{gap}{first}"
    for each in others:
        yield f"{' ' * indent}{each}"


def _stacked(told: Cells, state: str, *, width: int) -> Iterator[str]:
    """Yield the name and the state, and the description below them."""
    *full, last = textwrap.wrap(told.name, width) or [""]
    yield from full
    if len(last) + 1 + len(told.state) <= width:
        yield f"{last} {state}"
    else:
        yield from (last, f"  {state}")
    yield from (f"  {each}" for each in _wrapped(told.description, width - 2) if each)


def _wrapped(words: str, width: int) -> list[str]:
    # Wide letters count twice, and textwrap counts them once: a line of them must be half as long.
    width = width if wide(words) == len(words) else max(1, width // 2)
    return textwrap.wrap(words, width, break_on_hyphens=False) or [""]


def _painted(target: Target, state: str) -> str:
    if state == "STOPPED":  # as it was asked to be: nothing to look at
        return click.style(state, dim=True)
    tone = UNWELL if state == "RUNNING" and not is_ready(target) else TONES.get(state)
    return click.style(state, fg=tone, bold=state == "FATAL" or None) if tone else state
