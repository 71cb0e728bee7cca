"""Lay out what the daemon answers to `why`: the story, the evidence, what led here. Pure: no I/O, no clock."""

import textwrap
from datetime import datetime
from typing import Any

from supervisor.cli.text import NARROWEST, WIDEST, clean, hanging
from supervisor.core.durations import lasting

TROUBLE = ("suspect", "hung", "failing", "down", "misconfigured", "degraded")
AGE_WIDTH = 12
WITNESS_WIDTH = 11

Answer = dict[str, Any]


def lines(answer: Answer, *, width: int) -> list[str]:
    """Return the lines to print, none wider than `width`."""
    width = min(max(width, NARROWEST), WIDEST)
    told = textwrap.wrap(clean(answer.get("story")), width, break_on_hyphens=False)
    evidence = statements(answer.get("statements"), width=width, indent="  ")
    if evidence:
        told += ["", "Evidence now, with its age:", *evidence]
    if incident := answer.get("incident"):
        told += ["", f"Incident: {clean(incident)}"]
    return [*told, "", *_history(answer, width=width)]


def statements(said: Any, *, width: int, indent: str) -> list[str]:
    """Return what every witness says, with its age."""
    told = []
    for each in said if isinstance(said, list) else []:
        age_s = each.get("age_s")
        age = "" if age_s is None else lasting(age_s)
        head = f"{indent}{clean(each.get('witness')):<{WITNESS_WIDTH}}{age:>{AGE_WIDTH}}  "
        told += hanging(head, clean(each.get("says")), width=width)
    return told


def _history(answer: Answer, *, width: int) -> list[str]:
    transitions: list[Answer] | None = answer.get("transitions")
    if transitions is None:
        return [f"What led here is not known: {clean(answer.get('note'))}."]
    if not transitions:
        return ["What led here: nothing is written down."]
    last_trouble = next((each for each in transitions if each.get("verdict") in TROUBLE), None)
    told = ["What led here, the newest last:"]
    for each in reversed(transitions):
        head = f"  {_local(each.get('at'))}  "
        step = f"{clean(each.get('before'))} -> {clean(each.get('after'))}: "
        of = f" [{clean(each['incident'])}]" if each.get("incident") else ""
        told += hanging(head, f"{step}{clean(each.get('message'))} ({clean(each.get('reason'))}){of}", width=width)
        if each is last_trouble:
            told += statements(each.get("statements"), width=width, indent="      ")
    return told


def _local(at: Any) -> str:
    return datetime.fromisoformat(str(at)).astimezone().strftime("%b %d %H:%M:%S")
