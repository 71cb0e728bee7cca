"""Lay out what replays of a recording come to, side by side. Pure: no I/O, no clock."""

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from supervisor.cli.text import NARROWEST, WIDEST, clean, hanging
from supervisor.cli.times import moment
from supervisor.core.durations import lasting, took
from supervisor.core.replay import Step
from supervisor.core.state import WELL, Phase

LABEL = "{:<14}"
GAP = "  "
AT_ONCE_S = 0.05  # what is nearer to the end is at the end, to a person
UNTROUBLED = WELL | {Phase.UNKNOWN, Phase.STOPPED}
ONE_REPLAY = "A replay ends with a restart: what was seen after it did not follow from it."

Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """One bundle of evidence, and what came of it: `recorded` as it was set then, `changed` with the `changes`.

    Both are empty where nothing can be replayed, and `changed` is where nothing was to be changed. Where the recording
    did not end well, it is taken to have stayed so for another `onward_s`.
    """

    target: str
    taken_at: str
    observations: int | None  # None: none were kept
    lasted_s: float = 0.0
    has_beginning: bool = True  # what was believed before is known
    has_policy: bool = True  # ... and how it was set
    onward_s: float
    changes: dict[str, float]
    recorded: Steps = ()
    changed: Steps = ()


def lines(simulations: list[Simulation], *, width: int) -> list[str]:
    """Return the lines about every simulation, a blank one between two."""
    width = min(max(width, NARROWEST), WIDEST)
    told: list[str] = []
    for each in simulations:
        told += ["", *_simulation(each, width=width)] if told else _simulation(each, width=width)
    return told


def as_document(simulation: Simulation) -> dict[str, Any]:
    """Return a simulation for machines: every step, and what matters of them."""
    shown = asdict(simulation) | {"target": clean(simulation.target)}
    for key, steps in (("recorded", simulation.recorded), ("changed", simulation.changed)):
        told, restart = told_at(steps), restarted_at(steps)
        outcome = {
            "told_at_s": told and round(told.at_s, 3),
            "restarted_at_s": restart and round(restart.at_s, 3),
            "steps": [asdict(step) | {"at_s": round(step.at_s, 3)} for step in steps],
        }
        shown[key] = outcome if steps else None
    return shown


def told_at(steps: Steps) -> Step | None:
    """Return the step at which routers were told to send nobody there, the last time; None where they never were."""
    return next((each for each in reversed(steps) if each.before.is_routable and not each.after.is_routable), None)


def restarted_at(steps: Steps) -> Step | None:
    """Return the step at which it would have been restarted."""
    return next((each for each in steps if each.restarts), None)


def _simulation(simulation: Simulation, *, width: int) -> list[str]:
    head = hanging("", _head(simulation), width=width)
    if not simulation.recorded:
        return head
    columns = [("as it was set" if simulation.has_policy else "by default", simulation.recorded)]
    if simulation.changes:
        columns.append((", ".join(f"{key}={value:g}" for key, value in simulation.changes.items()), simulation.changed))
    rows = [
        ["", *(title for title, _ in columns)],
        ["routers told", *(_told(steps) for _, steps in columns)],
        ["restarted", *(_restarted(steps, onward_s=simulation.onward_s) for _, steps in columns)],
    ]
    ends_early = any((step := restarted_at(steps)) and step.at_s < -AT_ONCE_S for _, steps in columns)
    note = ["", *hanging("", ONE_REPLAY, width=width)] if ends_early else []
    return [*head, "", *(line for row in rows for line in _row(row, width=width)), *note]


def _head(simulation: Simulation) -> str:
    taken = moment(simulation.taken_at)
    who = f"{clean(simulation.target)}{'' if taken is None else taken.strftime(', %b %d %H:%M:%S')}"
    if simulation.observations is None:
        return f"{who}: no observations were kept with this evidence"
    if not simulation.recorded:
        return f"{who}: none of its observations can be read"
    lost = "" if simulation.has_beginning else "; what was known before is lost"
    return f"{who}: {simulation.observations} observations over {took(simulation.lasted_s)}{lost}"


def _row(cells: list[str], *, width: int) -> Iterator[str]:
    label, *rest = cells
    each = (width - len(LABEL.format("")) - len(GAP) * (len(rest) - 1)) // len(rest)
    wrapped = [textwrap.wrap(cell, each, break_on_hyphens=False) for cell in rest]
    for number, parts in enumerate(zip_longest(*wrapped, fillvalue="")):
        line = GAP.join(part.ljust(each) for part in parts)
        yield f"{LABEL.format(label if number == 0 else '')}{line}".rstrip()


def _told(steps: Steps) -> str:
    step = told_at(steps)
    if step is None:
        return "not at all" if steps[0].before.is_routable else "before it begins"
    back = next((each for each in steps if each.at_s > step.at_s and each.after.is_routable), None)
    again = "" if back is None else f"; well again {_when(back.at_s)}"
    return f"{_when(step.at_s)}: {_called(step)}{again}"


def _restarted(steps: Steps, *, onward_s: float) -> str:
    step, last = restarted_at(steps), steps[-1]
    if step is not None:
        return f"{_when(step.at_s)}: {_called(step)}"
    if last.after in UNTROUBLED:
        return f"not at all: {last.after} in the end"
    return f"not at all, nor within {lasting(onward_s)} had it stayed so: {_called(last)}"


def _when(at_s: float) -> str:
    if abs(at_s) < AT_ONCE_S:
        return "at the end"
    return f"{took(-at_s)} before" if at_s < 0 else f"{took(at_s)} later, had it stayed so"


def _called(step: Step) -> str:
    said = f"{step.verdict}, {step.message}" if step.message else step.verdict
    return clean(f"{said} ({step.reason})")
