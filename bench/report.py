"""What a benchmark leaves behind: tables for people, a JSON file for programs, and one line that says pass or fail."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = HERE / "results"
RAW: Final = HERE / "raw"  # logs of the last run, for whoever asks why; not in git
WIDTH: Final = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One thing the bar asks for: `measured` is at most `limit` (or at least, with `at_least`)."""

    what: str
    measured: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether it is as asked; what never happened is `inf` and what was never measured `nan`, neither is kept."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def complaint(self) -> str:
        """Say what is not as asked, and by how much."""
        side = "least" if self.at_least else "most"
        limit = f"should be at {side} {self.limit:g}{self.unit}"
        if not math.isfinite(self.measured):
            return f"{self.what}: {'never' if self.measured > 0 else 'not measured'}, {limit}"
        by = abs(self.measured - self.limit)
        return f"{self.what}: {self.measured:.3g}{self.unit}, {limit} ({by:.3g}{self.unit} off)"


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of the same thing; what never happened is `inf`."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread":
        """Make one of samples in which None means never."""
        return cls(tuple(math.inf if value is None else value for value in values))

    @property
    def median(self) -> float:
        """Return the median, `nan` of nothing."""
        return statistics.median(self.values) if self.values else math.nan

    @property
    def worst(self) -> float:
        """Return the highest, `nan` of nothing."""
        return max(self.values, default=math.nan)

    def figures(self) -> dict[str, Any]:
        """Return what goes into the results."""
        known = {"median": self.median, "min": min(self.values, default=math.nan), "max": self.worst}
        return {"n": len(self.values), **{key: finite(value) for key, value in known.items()}}

    def text(self, *, digits: int = 1, scale: float = 1.0) -> str:
        """Return `median (min-max)`."""
        if not self.values:
            return "-"
        median, low, high = (_number(each * scale, digits) for each in (self.median, min(self.values), self.worst))
        return f"{median} ({low} - {high})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything one benchmark has to say; `results` must be JSON and name neither hosts nor paths."""

    name: str
    tables: Sequence[Table]
    results: Mapping[str, Any]
    limits: Sequence[Limit]
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether every limit was kept."""
        return all(limit.is_kept for limit in self.limits)

    @property
    def bar(self) -> str:
        """Return the last line."""
        broken = "; ".join(limit.complaint() for limit in self.limits if not limit.is_kept)
        return f"bar: fail: {broken}" if broken else "bar: pass"

    def show(self) -> None:
        """Print tables, notes and the bar."""
        console = Console(width=WIDTH, highlight=False)
        for table in self.tables:
            console.print(table)
            console.print()
        for note in self.notes:
            console.print(note, markup=False)
        print(self.bar, flush=True)

    def write(self, about: Mapping[str, Any]) -> Path:
        """Write `results/NAME.json`; `about` tells of the machine and the versions."""
        limits = [
            {
                "what": limit.what,
                "measured": finite(limit.measured),
                "at_least" if limit.at_least else "at_most": limit.limit,
                "unit": limit.unit.strip(),
                "kept": limit.is_kept,
            }
            for limit in self.limits
        ]
        content = {"benchmark": self.name, "bar": self.bar, "limits": limits, **about, "results": dict(self.results)}
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        return path


def table(title: str, *columns: str, rows: Iterable[Sequence[str]]) -> Table:
    """Lay out rows in Markdown, so that a table can be pasted where it is written about; text left, figures right."""
    made = Table(title=title, title_justify="left", box=box.MARKDOWN, title_style="bold")
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def finite(value: float | None, digits: int = 4) -> float | None:
    """Round for the results; JSON has no word for never."""
    return None if value is None or not math.isfinite(value) else round(value, digits)


def keep_log(name: str, text: str) -> None:
    """Keep a log of this run beside the results."""
    RAW.mkdir(exist_ok=True)
    (RAW / name).write_text(text)


def _number(value: float, digits: int) -> str:
    return "never" if math.isinf(value) else f"{value:.{digits}f}"
