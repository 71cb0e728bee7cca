"""What was said of each server and which of them were started anew, both taken from outside the daemon."""

import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.watch import Told
from testbed.engine import Found

# From what is said of a server that works to what is said of one that does not.
WORST_LAST: Final = (
    "ready", "busy", "asleep", "warming", "degraded", "unknown", "stopped", "suspect", "misconfigured", "failing",
    "hung", "down",
)  # fmt: skip

UP: Final = frozenset({"ready", "busy", "asleep"})


class Hearsay:
    """A look at the liveness file that remembers each change of verdict; a `Watch` calls it."""

    def __init__(self, liveness_file: Path) -> None:
        self._file = liveness_file
        self._said: dict[str, list[tuple[float, str]]] = {}

    def __call__(self) -> Mapping[str, Told]:
        """Read the file."""
        told: dict[str, Told] = {}
        for each in json.loads(self._file.read_bytes())["backends"]:
            told[each["name"]] = Told(routable=each["routable"], verdict=each["verdict"], instance=each["instance"])
            said = self._said.setdefault(each["name"], [])
            if not said or said[-1][1] != each["verdict"]:
                said.append((time.monotonic(), each["verdict"]))
        return told

    def is_up(self, name: str) -> bool:
        """Whether `name` is said to work at the moment."""
        said = self._said.get(name, [])
        return bool(said) and said[-1][1] in UP

    def verdicts(self, name: str, *, since: float, until: float) -> list[str]:
        """Return what was said of `name` between two moments, in order."""
        said = list(self._said.get(name, ()))
        ends = [at for at, _ in said[1:]] + [math.inf]
        return [verdict for (at, verdict), end in zip(said, ends, strict=True) if end > since and at < until]


def worst(verdicts: list[str]) -> str:
    """Return the worst of them."""
    return max(verdicts, key=WORST_LAST.index, default="-")


class Starts:
    """Follows the engine's own events: every start of a container, for as long as the `with` block lasts."""

    def __init__(self, found: Found) -> None:
        self._client = found.client(timeout_s=3600)
        self._stream = self._client.events(decode=True, filters={"type": "container", "event": "start"})
        self._seen: list[tuple[float, str]] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="starts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._thread.join(10.0)
        self._client.close()

    def of(self, container: str, *, since: float, until: float) -> list[float]:
        """Return when a container was started, between two moments."""
        return [at for at, name in list(self._seen) if name == container and since <= at < until]

    def first(self, container: str, *, after: float, within_s: float) -> float | None:
        """Wait for a start and return when it was; None: there was none."""
        with self._news:
            self._news.wait_for(lambda: bool(self.of(container, since=after, until=math.inf)), within_s)
        return next(iter(self.of(container, since=after, until=math.inf)), None)

    def _follow(self) -> None:
        for name in self._names():
            with self._news:
                self._seen.append((time.monotonic(), name))
                self._news.notify_all()

    def _names(self) -> Iterator[str]:
        for event in self._stream:
            yield str(event["Actor"]["Attributes"]["name"])
