"""Turn what is remembered into the text of a row and back. It touches no database.

A row may have been edited by hand, or half written by another version: what cannot be read is left out, and nothing
here raises for it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from supervisor.core.baseline import Baseline
from supervisor.core.liveness import iso
from supervisor.core.statements import Statement, Witness

MOST_SECONDS = 1000  # of one kind; far more than is ever kept
LONGEST_SAYS = 300
FIRST_YEAR, LAST_YEAR = 1970, 9000
ACT_COLUMNS = ("began_at", "verb", "by_operator", "ended_at", "outcome", "counts")
COLUMNS = ("at", "before", "after", "verdict", "reason", "message", "statements", "incident")


def statements_text(statements: Sequence[Statement], *, at: float) -> str:
    """Return the statements as JSON, with their age at the monotonic time `at`."""
    told = [
        {
            "witness": each.witness,
            "says": text(each.says)[:LONGEST_SAYS],
            "age_s": None if each.since is None else round(max(0.0, at - each.since), 1),
        }
        for each in statements
    ]
    return json.dumps(told, ensure_ascii=False)


def transition(row: Sequence[Any]) -> dict[str, Any] | None:
    """Return a row of `COLUMNS` as people are told it; None where it cannot be read."""
    told = dict(zip(COLUMNS, row, strict=True))
    at = time(told["at"])
    if at is None:
        return None
    return {**told, "at": iso(at), "statements": _statements(told["statements"])}


def act(row: Sequence[Any]) -> dict[str, Any] | None:
    """Return a row of `ACT_COLUMNS` as people are told it; None where it cannot be read."""
    told = dict(zip(ACT_COLUMNS, row, strict=True))
    began_at, ended_at = time(told["began_at"]), time(told["ended_at"])
    if began_at is None:
        return None
    outcome = told["outcome"]
    return {
        "began_at": iso(began_at),
        "ended_at": None if ended_at is None else iso(ended_at),
        "verb": str(told["verb"]),
        "by_operator": bool(told["by_operator"]),
        "outcome": None if outcome is None else str(outcome),
        "counts": bool(told["counts"]),
    }


def baseline_text(baseline: Baseline) -> str:
    """Return the baseline as JSON."""
    return json.dumps(asdict(baseline))


def baseline(stored: Any) -> Baseline | None:
    """Return the baseline that was stored; None where nothing of it can be read."""
    lengths = content(stored)
    if not isinstance(lengths, dict):
        return None
    return Baseline(**{each.name: _seconds(lengths.get(each.name)) for each in fields(Baseline)})


def text(words: str) -> str:
    """Return words that have an encoding: a server may have sent half a character."""
    return words.encode(errors="replace").decode()


def content(stored: Any) -> Any:
    """Return what a stored text of JSON holds, None where it is none."""
    try:
        return json.loads(stored)
    except (TypeError, ValueError, RecursionError):
        return None


def time(stored: Any) -> datetime | None:
    """Return a stored time in UTC; None where it is none that this program has ever written."""
    try:
        at = datetime.fromisoformat(stored)
    except (TypeError, ValueError):
        return None
    # Beyond these years one cannot reckon with a time: an hour more or less is no time any more.
    return at.astimezone(UTC) if at.tzinfo is not None and FIRST_YEAR <= at.year < LAST_YEAR else None


def _statements(stored: Any) -> list[dict[str, Any]]:
    told = content(stored)
    return [
        {"witness": each["witness"], "says": each["says"], "age_s": _second(each.get("age_s"))}
        for each in (told if isinstance(told, list) else [])
        if isinstance(each, dict) and each.get("witness") in list(Witness) and isinstance(each.get("says"), str)
    ]


def _seconds(values: Any) -> tuple[float, ...]:
    known = [_second(value) for value in (values if isinstance(values, list) else [])]
    return tuple(value for value in known if value is not None)[-MOST_SECONDS:]


def _second(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:  # JSON's whole numbers know no end
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
