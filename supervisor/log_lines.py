"""How a log line looks: for people, for the journal, for programs. Pure.

The journal has the time and the level of its own, by the `<4>` before each line; a second time stamp would only take
room. What is told is one line, whatever control characters somebody's words hold; more of it is indented.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from supervisor.core.liveness import iso

JOURNAL = "JOURNAL_STREAM"  # systemd: device and inode of what standard error is, where that is the journal
SYSLOG = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "SUCCESS": 5, "INFO": 6}
DEBUGGING = 7
COLOURS = {"CRITICAL": "1;31", "ERROR": "31", "WARNING": "33", "SUCCESS": "32", "DEBUG": "2", "TRACE": "2"}
DEEPER = "    "
LONGEST = 4000  # characters of a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that is said; `fields` are the same for programs, `fault` where an error was raised."""

    at: datetime
    level: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    repeated: int = 0  # it stands for so many ...
    over_s: float = 0.0  # ... that were said in so long

    @property
    def words(self) -> str:
        """What is said, with the incident that it is a part of, and how often it was said."""
        words = plain(self.message)
        incident = self.fields.get("incident", "")
        if incident and incident not in words:
            words += f" [{incident}]"
        if self.repeated:
            times = "once" if self.repeated == 1 else f"{self.repeated} times"
            words += f" (repeated {times} in {self.over_s:.0f} s)"
        return f"{words}\n{DEEPER}{plain(self.fault)}" if self.fault else words


Form = Callable[[Line], str]


def plain(text: str) -> str:
    """Return text without what could pass for a line of ours, or move a terminal's cursor."""
    text = text.replace("\r\n", "\n").replace("\t", " ")
    told = "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)
    return told.replace("\n", f"\n{DEEPER}")


def shortened(text: str) -> str:
    """Return the beginning of what is too long to be read."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [and {len(text) - LONGEST} characters more]"


def form_for(wanted: str, stream: TextIO) -> Form:
    """Return how to write to `stream`: as `auto` has it, what suits whoever reads there."""
    is_journal = leads_to_journal(stream)
    if wanted == "json":
        return in_journal(as_json) if is_journal else as_json
    if wanted == "text":
        return as_text
    if is_journal:
        return in_journal(lambda line: line.words)
    return as_colours if stream.isatty() and not os.environ.get("NO_COLOR") else as_text


def leads_to_journal(stream: TextIO) -> bool:
    """Return whether a stream is what systemd has connected to its journal; somebody may have redirected it since."""
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get(JOURNAL) == f"{there.st_dev}:{there.st_ino}"


def as_text(line: Line) -> str:
    """Return a line with its time."""
    return f"{_local(line.at)} {line.level: <7} {line.words}"


def as_colours(line: Line) -> str:
    """Return a line for a terminal."""
    colour = COLOURS.get(line.level)
    level = f"\x1b[{colour}m{line.level: <7}\x1b[0m" if colour else f"{line.level: <7}"
    return f"\x1b[2m{_local(line.at)}\x1b[0m {level} {line.words}"


def as_json(line: Line) -> str:
    """Return a line for programs: one object."""
    told: dict[str, str | int | float] = {
        "time": iso(line.at.astimezone(UTC)),
        "level": line.level.lower(),
        "message": line.message,
        **line.fields,
    }
    if line.repeated:
        told |= {"repeated": line.repeated, "over_s": round(line.over_s, 1)}
    if line.fault:
        told["fault"] = line.fault
    return json.dumps(told, ensure_ascii=False).encode(errors="replace").decode()


def in_journal(form: Form) -> Form:
    """Return a form that gives each line its level: the journal reads them one by one."""

    def told(line: Line) -> str:
        mark = f"<{SYSLOG.get(line.level, DEBUGGING)}>"
        return "\n".join(mark + each for each in form(line).split("\n"))

    return told


def _local(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"
