"""Lay out what the doctor found: the worst first, what was seen and then what helps. Pure: no I/O, no clock."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from supervisor.cli.text import clean, hanging

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.doctor.around import Around
    from supervisor.doctor.examination import Report
    from supervisor.doctor.finding import Finding

COLOURS = {"error": "1;31", "warning": "33", "note": "36"}
SEVERITY_WIDTH = 9
WIDEST = 100  # a paragraph that is wider is hard to read


def lines(
    report: "Report", *, width: int | None, settings: "Path | None" = None, is_coloured: bool = False
) -> list[str]:
    """Return two lines for each finding, longer ones wrapped to `width` where there is one; and a last one for all."""
    told: list[str] = []
    for check, found in report.findings:
        if found.severity != "ok":
            told += _finding(check, found, width=width, is_coloured=is_coloured)
    return [*told, *([""] if told else []), _summary(report, settings)]


def as_document(report: "Report", around: "Around | None") -> dict[str, Any]:
    """Return everything that was found, and what was looked at."""
    findings = [
        {
            "severity": str(found.severity),
            "check": check,
            "target": found.target,
            "seen": found.seen,
            "cure": found.cure or None,
            "command": found.command or None,
        }
        for check, found in report.findings
    ]
    return {
        "in_the_way": report.is_in_the_way,
        "settings": None if around is None else str(around.path),
        "daemon": None if around is None or around.status is None else around.status.get("daemon"),
        "user": None if around is None else around.account.name,
        "checks": list(report.checks),
        "findings": findings,
    }


def _finding(check: str, found: "Finding", *, width: int | None, is_coloured: bool) -> list[str]:
    head = f"{found.severity:<{SEVERITY_WIDTH}}"
    subject = check if found.target is None else f"{found.target} ({check})"
    told = _wrapped(head, clean(f"{subject}: {found.seen}"), width)
    if found.cure:
        told += _wrapped(" " * SEVERITY_WIDTH, clean(found.cure), width)
    if found.command and told:
        # Never wrapped: it is there to be copied.
        told = [*told[:-1], *_joined(told[-1], clean(found.command), width)]
    if is_coloured:
        told[0] = f"\x1b[{COLOURS[found.severity]}m{head}\x1b[0m{told[0][SEVERITY_WIDTH:]}"
    return told


def _joined(line: str, command: str, width: int | None) -> list[str]:
    joined = f"{line}: {command}"
    if width is None or len(joined) <= min(width, WIDEST):
        return [joined]
    return [f"{line}:", f"{' ' * SEVERITY_WIDTH}  {command}"]


def _wrapped(head: str, words: str, width: int | None) -> list[str]:
    return [f"{head}{words}"] if width is None else hanging(head, words, width=min(width, WIDEST))


def _summary(report: "Report", settings: "Path | None") -> str:
    counts = Counter(str(found.severity) for _, found in report.findings)
    told = [f"{counts[each]} {each}{'' if counts[each] == 1 else 's'}" for each in COLOURS if counts[each]]
    looked = f"{len(report.checks)} checks" if len(report.checks) != 1 else "1 check"
    by = "" if settings is None else f" by {clean(settings)}"
    if report.is_in_the_way:
        return f"{', '.join(told)}; {looked}{by}"
    return f"nothing stands in the way ({', '.join([f'{looked}{by}', *told])})"
