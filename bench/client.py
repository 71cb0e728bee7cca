"""What does a router pay for asking before each request, and how soon does it know?

A read while nothing changed, against one `os.stat`, by one thread and by many. Daemon and backends are real; the stat
is timed in every round, so that whatever else the machine does hits all alike.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from bench.report import Limit, Report, Spread, finite, table
from bench.world import Options, our_stack
from supervisor.client import Liveness
from testbed.clients import wait_until
from testbed.engine import Found
from testbed.stack import MODELS, Stack

ROUNDS: Final = 31
READS: Final = 32_000  # of a kind in a round, by all threads together: the fetch that falls due meanwhile is one
THREADS: Final = (1, 64)
AT_MOST: Final = 3.0  # "a few" calls of os.stat
STAT: Final = "os.stat"
LOOK_S: Final = 0.0002
UP_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One way to read, as a router would call it."""

    source: str  # empty: none of ours
    name: str
    call: Callable[..., object]
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one read took, round by round: in seconds, and in times of that round's `os.stat`."""

    seconds: Spread
    stats: Spread


def run(found: Found, options: Options) -> Report:  # noqa: ARG001 - every benchmark takes the same
    """Time every way to read; then kill each server once, and see who knows when."""
    with our_stack(found) as stack, contextlib.ExitStack() as ending:
        sources = {
            "file": Liveness(stack.liveness_file),
            "URL": Liveness(stack.address),
            "followed URL": Liveness(stack.address, follow=True),
        }
        for each in sources.values():
            ending.callback(each.close)
        took = {threads: _measure(_reads(sources, str(stack.liveness_file)), threads) for threads in THREADS}
        late = _lateness(stack, sources)
    return Report(
        name="client",
        tables=[*(_table_of_reads(threads, each) for threads, each in took.items()), _table_of_lateness(late)],
        results={
            "reads": {f"{threads} threads": _figures(each) for threads, each in took.items()},
            "known_after_the_first_s": {source: spread.figures() for source, spread in late.items()},
        },
        limits=[
            Limit(
                what=f"{read.source}, {read.name}, {threads} threads, in calls of {STAT}",
                measured=each.stats.median,
                limit=AT_MOST,
            )
            for threads, reads in took.items()
            for read, each in reads.items()
            if read.source
        ],
    )


def _reads(sources: Mapping[str, Liveness], path: str) -> list[Read]:
    reads = [Read(source="", name=STAT, call=os.stat, arguments=(path,))]
    for source, liveness in sources.items():
        reads.append(Read(source=source, name="pick", call=liveness.pick, arguments=("code", "general")))
        reads.append(Read(source=source, name="is_routable", call=liveness.is_routable, arguments=("code",)))
    return reads


def _measure(reads: list[Read], threads: int) -> dict[Read, Took]:
    rounds = [{read: _time(read, threads) for read in reads} for _ in range(ROUNDS + 1)][1:]  # the first warms up
    stat = reads[0]
    return {
        read: Took(
            seconds=Spread.of(each[read] for each in rounds),
            stats=Spread.of(each[read] / each[stat] for each in rounds),
        )
        for read in reads
    }


def _time(read: Read, threads: int) -> float:
    """Return the seconds for one read, from when the first thread begins until the last one ends."""
    together = threading.Barrier(threads)
    spans: list[tuple[float, float]] = []

    def keep_reading() -> None:
        call, arguments, reads = read.call, read.arguments, range(READS // threads)
        together.wait()
        began = time.perf_counter()
        for _ in reads:
            call(*arguments)
        spans.append((began, time.perf_counter()))

    running = [threading.Thread(target=keep_reading) for _ in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    return (max(ended for _, ended in spans) - min(began for began, _ in spans)) / READS


def _lateness(stack: Stack, sources: Mapping[str, Liveness]) -> dict[str, Spread]:
    """Return how long after the first of the sources each of them knew, for everything that was believed."""
    seen: dict[str, dict[int, float]] = {source: {} for source in sources}
    over = threading.Event()

    def keep_looking() -> None:
        while not over.wait(LOOK_S):
            for source, liveness in sources.items():
                seen[source].setdefault(liveness.snapshot().revision, time.perf_counter())

    looking = threading.Thread(target=keep_looking)
    looking.start()
    try:
        for name in MODELS:
            before = stack.target(name)["instance"]
            stack.kill_server(name)
            wait_until(lambda: _is_back(stack, name, before), f"{name} is ready again", within_s=UP_WITHIN_S)  # noqa: B023
    finally:
        over.set()
        looking.join()
    # What stood there when it began was news to nobody, and the last may not have come to all.
    last = min(max(each) for each in seen.values())
    told = sorted(revision for revision in set().union(*seen.values()) if revision <= last)[1:]
    # Whoever polls may never see what was soon replaced, and knows as much once it sees what came after.
    known = {source: [min(at for one, at in each.items() if one >= it) for it in told] for source, each in seen.items()}
    first = [min(moments) for moments in zip(*known.values(), strict=True)]
    return {
        source: Spread.of(at - earliest for at, earliest in zip(moments, first, strict=True))
        for source, moments in known.items()
    }


def _is_back(stack: Stack, name: str, before: str) -> bool:
    target = stack.target(name)
    return bool(target["verdict"] == "ready" and target["instance"] != before)


def _table_of_reads(threads: int, took: Mapping[Read, Took]) -> Table:
    rows = [
        [
            f"{read.source}: {read.name}" if read.source else read.name,
            each.seconds.text(digits=2, scale=1e6),
            each.stats.text(digits=2),
        ]
        for read, each in took.items()
    ]
    return table(f"{threads} threads: median (min - max)", "", "microseconds a read", f"in calls of {STAT}", rows=rows)


def _table_of_lateness(late: Mapping[str, Spread]) -> Table:
    rows = [[source, str(len(each.values)), each.text(digits=1, scale=1e3)] for source, each in late.items()]
    return table("known later than by the first, milliseconds", "", "changes", "median (min - max)", rows=rows)


def _figures(took: Mapping[Read, Took]) -> dict[str, Any]:
    return {
        f"{read.source}: {read.name}" if read.source else read.name: {
            "in_stats": each.stats.figures(),
            "median_us": finite(each.seconds.median * 1e6),
        }
        for read, each in took.items()
    }
