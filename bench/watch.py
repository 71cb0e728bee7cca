"""Follow what somebody is told about servers, many times a second, and remember each change with its time."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from testbed.stack import Stack

LOOK_EVERY_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is said of one server at the moment."""

    routable: bool
    verdict: str
    instance: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From `at` (monotonic seconds) on, `told` is said of `name`."""

    at: float
    name: str
    told: Told


class Watch:
    """Looks in a thread of its own for as long as the `with` block lasts; times are right to within `every_s`."""

    def __init__(self, look: Callable[[], Mapping[str, Told]], *, every_s: float = LOOK_EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._changes: list[Change] = []
        self._latest: dict[str, Told] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.longest_gap_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def first(self, name: str, *, routable: bool, after: float, within_s: float = 0.0) -> float | None:
        """Return when, at `after` or later, `name` was first said to be (not) routable; wait for it up to `within_s`.

        None: it was not.
        """
        deadline = time.monotonic() + within_s
        while True:
            for begin, end, told in self._spells(name):
                if told.routable is routable and end > after:
                    return max(begin, after)
            if time.monotonic() >= deadline:
                return None
            time.sleep(self._every_s)

    def spells_out(self, name: str, *, since: float, until: float) -> tuple[int, float]:
        """Return how often, and for how many seconds, `name` was said not to be routable between two moments."""
        count, total_s, was_out = 0, 0.0, False
        for begin, end, told in self._spells(name):
            if end <= since or begin >= until:
                continue
            count += not told.routable and not was_out
            total_s += 0.0 if told.routable else min(end, until) - max(begin, since)
            was_out = not told.routable
        return count, total_s

    def lives(self, name: str, *, since: float, until: float) -> int:
        """Return how many lives of `name` were seen between two moments."""
        seen = {
            told.instance for begin, end, told in self._spells(name) if end > since and begin < until and told.instance
        }
        return len(seen)

    def _spells(self, name: str) -> list[tuple[float, float, Told]]:
        changes = [change for change in self._changes if change.name == name]
        ends = [change.at for change in changes[1:]] + [float("inf")]
        return [(change.at, end, change.told) for change, end in zip(changes, ends, strict=False)]

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(self._every_s):
            try:
                seen = self._look()
            except (OSError, ValueError, KeyError):
                continue  # nothing to read at this moment, so nothing is told anew
            now = time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, now - last)
            last = now
            for name, told in seen.items():
                if told != self._latest.get(name):
                    self._latest[name] = told
                    self._changes.append(Change(at=now, name=name, told=told))


def our_liveness(stack: Stack) -> Callable[[], Mapping[str, Told]]:
    """Return a look at the liveness file, which is what routers read."""
    return lambda: _read(stack.liveness_file)


def _read(path: Path) -> dict[str, Told]:
    backends = json.loads(path.read_bytes())["backends"]
    return {
        each["name"]: Told(routable=each["routable"], verdict=each["verdict"], instance=each["instance"])
        for each in backends
    }
