"""The confusion table of the matrix, and the bar it is held against."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table

from bench.following import worst
from bench.outcomes import Illness, Spell
from bench.report import Limit, Spread, table
from bench.situations import BROKEN, WORKING

BUSY_RUNS: Final = 200
TOLD_S: Final = 5.0
RESTARTED_S: Final = 15.0
_SERVED: Final = frozenset(each.name for each in WORKING if each.is_served)
_BUSY: Final = frozenset(each.name for each in WORKING if each.is_busy and each.is_served)
_NAMES: Final = {each.name: each.is_called for each in WORKING}
_STRONG: Final = frozenset(each.name for each in BROKEN if each.is_strong)


def tables(spells: Sequence[Spell], illnesses: Sequence[Illness], alone: Sequence[Illness]) -> list[Table]:
    """Return the table of outcomes, and the tables of how fast faults were seen."""
    crowd = len({each.situation for each in spells} | {each.situation for each in illnesses})
    return [
        _confusion(spells, illnesses),
        _speed(illnesses, f"with all {crowd} servers at once"),
        _speed(alone, "strong faults, with none but each other"),
    ]


def limits(spells: Sequence[Spell], illnesses: Sequence[Illness], alone: Sequence[Illness]) -> list[Limit]:
    """Return what the bar asks for; speed of the strong faults that came `alone`, without dozens of servers beside."""
    strong = [each for each in alone if each.situation in _STRONG]
    illnesses = [*illnesses, *alone]
    told, restarted = (Spread.of(getattr(each, key) for each in strong) for key in ("told_s", "restarted_s"))
    return [
        Limit(what="busy runs", measured=_busy(spells), limit=BUSY_RUNS, at_least=True),
        Limit(
            what="restarts of servers that work or must be kept",
            measured=sum(each.restarts for each in spells),
            limit=0,
        ),
        Limit(
            what="runs in which users missed something", measured=sum(bool(each.problem) for each in spells), limit=0
        ),
        Limit(what="runs that were not called what they were", measured=_misnamed(spells), limit=0),
        Limit(what="further restarts of servers that were cured", measured=_further(illnesses), limit=0),
        Limit(what="faults missed", measured=sum(each.restarted_s is None for each in illnesses), limit=0),
        Limit(what="strong faults: worst to told", measured=told.worst, limit=TOLD_S, unit=" s"),
        Limit(what="strong faults: worst to restarted", measured=restarted.worst, limit=RESTARTED_S, unit=" s"),
    ]


def results(spells: Sequence[Spell], illnesses: Sequence[Illness], alone: Sequence[Illness]) -> dict[str, Any]:
    """Return what goes into the results."""
    return {
        "confusion": {row[0]: dict(zip(_OUTCOMES, row[1:], strict=False)) for row in _rows(spells, illnesses)},
        "working": [asdict(each) for each in spells],
        "broken": [asdict(each) for each in illnesses],
        "strong, alone": [asdict(each) for each in alone],
    }


def _busy(spells: Sequence[Spell]) -> int:
    return sum(each.situation in _BUSY for each in spells)


def _misnamed(spells: Sequence[Spell]) -> int:
    return sum(_NAMES[each.situation] not in ("", *each.verdicts) for each in spells)


def _further(illnesses: Sequence[Illness]) -> int:
    return sum(each.restarts - (each.restarted_s is not None) for each in illnesses)


_OUTCOMES: Final = ("runs", "left alone", "told out, kept", "restarted", "answers whole", "worst said")


def _confusion(spells: Sequence[Spell], illnesses: Sequence[Illness]) -> Table:
    return table("what became of each server", "", *_OUTCOMES, rows=_rows(spells, illnesses))


def _rows(spells: Sequence[Spell], illnesses: Sequence[Illness]) -> Iterator[list[str]]:
    for name in dict.fromkeys(each.situation for each in spells):
        mine = [each for each in spells if each.situation == name]
        restarted = sum(each.restarts > 0 for each in mine)
        told_out = sum(not each.restarts and each.told_out > 0 for each in mine)
        whole = sum(not each.problem for each in mine)
        said = worst([verdict for each in mine for verdict in each.verdicts])
        counts = (len(mine), len(mine) - restarted - told_out, told_out, restarted, whole)
        yield [f"{'works' if name in _SERVED else 'must be kept'}: {name}", *map(str, counts), said]
    for name in dict.fromkeys(each.situation for each in illnesses):
        ill = [each for each in illnesses if each.situation == name]
        restarted = sum(each.restarted_s is not None for each in ill)
        told_out = sum(each.restarted_s is None and each.told_s is not None for each in ill)
        outcomes = (len(ill), len(ill) - restarted - told_out, told_out, restarted)
        said = worst([verdict for each in ill for verdict in each.verdicts])
        yield [f"broken: {name}", *map(str, outcomes), "-", said]


def _speed(illnesses: Sequence[Illness], when: str) -> Table:
    def text(ill: list[Illness], key: str) -> str:
        spread = Spread.of(getattr(each, key) for each in ill)
        return "-" if math.isnan(spread.median) else spread.text()

    rows = []
    for name in dict.fromkeys(each.situation for each in illnesses):
        ill = [each for each in illnesses if each.situation == name]
        times = [text(ill, key) for key in ("told_s", "restarted_s", "well_s")]
        rows.append([f"{name}{' (strong)' if name in _STRONG else ''}", str(len(ill)), *times])
    title = f"seconds from the fault, {when}: median (min - max)"
    return table(title, "", "runs", "routers told", "restarted", "routable again", rows=rows)
