"""What is counted and not timed: streams cut, requests of ours that queue, sleepers woken, and tokens spent at rest.

All of it may go on at the same time, on a machine as busy as it likes.
"""

import contextlib
import itertools
import math
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from bench.twins import Server
from bench.users import User, Work
from testbed import tiny_model
from testbed.clients import chat

SUPERVISED: Final = ("stream-one", "stream-two", "sleeper", "resting")
STREAMS: Final = {"stream-one": 1, "stream-two": 2}  # the server, and how many slots and users it has
STREAM_CPUS: Final = 0.35  # so that 2000 tokens of the slow model take about a minute
SLEEPER, SLEEPER_ALONE, RESTING = "sleeper", "sleeper-alone", "resting"
SLEEP_AFTER_S: Final = 5
LOOK_EVERY_S: Final = 0.5
ASK_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What came of the streams, and the most requests that ever waited on a server whose users fill its slots."""

    server: str
    streams: int
    problems: tuple[str, ...]
    most_queued: float  # nan: nobody could look


@dataclass(frozen=True, slots=True, kw_only=True)
class Slept:
    """How one server slept once its only user had gone; None: never."""

    server: str
    asleep_after_s: float | None
    woken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The tokens that a server without users had to read and to write in `seconds`."""

    seconds: float
    read: float
    written: float

    @property
    def per_hour(self) -> float:
        """Return both, as if it went on for an hour."""
        return (self.read + self.written) / self.seconds * 3600


def servers() -> list[Server]:
    """Return the servers that are counted on."""
    tiny, slow = tiny_model.ensure(), tiny_model.ensure(shape=tiny_model.SLOW)
    common = ("-t", "1", "--metrics", "--cache-ram", "64")
    streaming = [
        Server(
            name=name,
            model=slow,
            flags=("-np", str(slots), "-c", str(8192 * slots), *common),
            cpus=STREAM_CPUS,
        )
        for name, slots in STREAMS.items()
    ]
    sleeping = [
        Server(
            name=name,
            model=tiny,
            flags=("-np", "1", "-c", "8192", *common, "--sleep-idle-seconds", str(SLEEP_AFTER_S)),
        )
        for name in (SLEEPER, SLEEPER_ALONE)
    ]
    resting = Server(name=RESTING, model=tiny, flags=("-np", "1", "-c", "8192", *common))
    return [*streaming, *sleeping, resting]


def stream(name: str, url: str, *, seconds: float, seed: int) -> Streamed:
    """Let as many users as there are slots stream one answer after the other for `seconds`, and the last to its end."""
    until = time.monotonic() + seconds
    done: list[User] = []
    with _Deferred(url) as deferred:
        for number in itertools.count():
            users = [User(url, Work.GENERATING, seed=seed + 100 * number + index) for index in range(STREAMS[name])]
            for user in users:
                user.start()
            for user in users:
                user.join()
            done += users
            if time.monotonic() >= until:
                break
    problems = tuple(user.experience.problem for user in done if user.experience.problem)
    return Streamed(server=name, streams=len(done), problems=problems, most_queued=deferred.most)


def sleep_beside(urls: Mapping[str, str], *, seconds: float) -> list[Slept]:
    """Ask both sleepers once, leave them alone for `seconds`, and say when each fell asleep and how often it woke."""
    with contextlib.ExitStack() as stack:
        watched = {
            name: stack.enter_context(httpx.Client(base_url=urls[name], timeout=ASK_TIMEOUT_S, trust_env=False))
            for name in (SLEEPER, SLEEPER_ALONE)
        }
        for name in watched:
            chat(urls[name], timeout_s=ASK_TIMEOUT_S)
        began = time.monotonic()
        seen: dict[str, list[tuple[float, bool]]] = {name: [] for name in watched}
        while time.monotonic() - began < seconds:
            for name, client in watched.items():
                is_asleep = bool(client.get("/props").raise_for_status().json()["is_sleeping"])  # does not wake it
                seen[name].append((time.monotonic() - began, is_asleep))
            time.sleep(LOOK_EVERY_S)
    return [_slept(name, looks) for name, looks in seen.items()]


def rest(url: str, *, seconds: float) -> Spent:
    """Leave a server without users for `seconds`, and return what it had to do meanwhile."""
    before, began = _tokens(url), time.monotonic()
    time.sleep(seconds)
    after, ended = _tokens(url), time.monotonic()
    return Spent(seconds=ended - began, read=after[0] - before[0], written=after[1] - before[1])


class _Deferred:
    """Looks, in a thread of its own, how many requests wait for a slot, and remembers the most."""

    def __init__(self, url: str) -> None:
        self.most = math.nan
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"deferred {url}", daemon=True)

    def __enter__(self) -> "_Deferred":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            with contextlib.suppress(httpx.HTTPError):
                self.most = max(_metrics(self._url)["requests_deferred"], self.most)  # in this order nan gives way


def _slept(name: str, looks: list[tuple[float, bool]]) -> Slept:
    asleep = (at for at, is_asleep in looks if is_asleep)
    woken = sum(was and not now for (_, was), (_, now) in itertools.pairwise(looks))
    return Slept(server=name, asleep_after_s=next(asleep, None), woken=woken)


def _tokens(url: str) -> tuple[float, float]:
    counted = _metrics(url)
    return counted["prompt_tokens_total"], counted["tokens_predicted_total"]


def _metrics(url: str) -> dict[str, float]:
    text = httpx.get(f"{url}/metrics", timeout=ASK_TIMEOUT_S, trust_env=False).raise_for_status().text
    return {name: float(value) for name, value in re.findall(r"^llamacpp:(\w+) (\S+)$", text, re.MULTILINE)}
