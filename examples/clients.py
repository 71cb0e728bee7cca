"""A client of the router, like an editor's: it asks twice a second, streaming every other time, and keeps the score."""

import itertools
import json
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import httpx

from examples.relaying import BACKEND_DIED

ASK = {"model": "auto", "messages": [{"role": "user", "content": "say hi"}], "max_tokens": 10}
EVERY_S = 0.5
WITHIN_S = 5.0  # what was promised for the first word of an answer: longer counts as hung
BEGUN_WITHIN_S = 30.0  # ... and for an answer that has begun: its end, or word that its server died over it


class AnswerCutError(Exception):
    """The server died over an answer that had begun, and the router said so. Nobody else could have gone on with it."""


class Clients:
    """Sends the same request on and on, each in a thread of its own, so that one that hangs delays no other."""

    def __init__(self, router_url: str, *, within_s: float = WITHIN_S, begun_within_s: float = BEGUN_WITHIN_S) -> None:
        self._url = f"{router_url}/v1/chat/completions"
        self._within_s = within_s
        self._begun_within_s = begun_within_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=16)
        self._latest: deque[str] = deque(maxlen=1)
        self._clock = threading.Thread(target=self._tick, daemon=True)
        self._score: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.complaints: list[str] = []

    @property
    def sent(self) -> int:
        """Requests sent so far."""
        return self._score["sent"]

    @property
    def answered(self) -> int:
        """Requests that brought content."""
        return self._score["answered"]

    @property
    def refused(self) -> int:
        """Requests refused with 503 and Retry-After."""
        return self._score["refused"]

    @property
    def cut(self) -> int:
        """Answers that a fault cut off in their midst, and that ended with an error saying so."""
        return self._score["cut"]

    @property
    def hung(self) -> int:
        """Requests without a first word in time, or without an end."""
        return self._score["hung"]

    @property
    def wrong(self) -> int:
        """Requests that ended in any other way; `complaints` has the details."""
        return self._score["wrong"]

    def latest(self) -> str:
        """Return how the last request ended."""
        return ", ".join(self._latest) or "-"

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._clock.join()
        self._threads.shutdown()

    def _tick(self) -> None:
        for number in itertools.count():
            self._threads.submit(self._ask, stream=bool(number % 2))
            if self._stop.wait(EVERY_S):
                return

    def _ask(self, *, stream: bool) -> None:
        began = time.monotonic()
        try:
            outcome, detail = self._answer(stream=stream)
        except httpx.TimeoutException:
            outcome, detail = "hung", "HUNG"
        except AnswerCutError as cut:
            outcome, detail = "cut", f"cut: {cut}"
        except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
            outcome, detail = "wrong", f"{type(error).__name__}: {error}"
        took_s = time.monotonic() - began
        with self._lock:
            self._score["sent"] += 1
            self._score[outcome] += 1
            self.slowest_s = max(self.slowest_s, took_s)
            self._latest.append(f"{detail} {took_s:.1f}s")
            if outcome in ("hung", "wrong"):
                self.complaints.append(f"{'streaming' if stream else 'plain'} request after {took_s:.1f}s: {detail}")

    def _answer(self, *, stream: bool) -> tuple[str, str]:
        began = time.monotonic()
        timeout = httpx.Timeout(self._within_s, read=self._begun_within_s)
        body = {**ASK, "stream": stream}
        with httpx.stream("POST", self._url, json=body, timeout=timeout, trust_env=False) as response:
            if time.monotonic() - began > self._within_s:  # the router sends no head before an answer has begun
                return "hung", "HUNG"
            text = b""
            for chunk in response.iter_bytes():
                text += chunk
                if time.monotonic() - began > self._begun_within_s:
                    return "hung", "HUNG"
            by = response.headers.get("x-backend", "?")
            if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in response.headers:
                return "refused", "503"
            response.raise_for_status()
            content = _streamed(text) if stream else json.loads(text)["choices"][0]["message"]["content"]
            return ("answered", f"by {by}") if content else ("wrong", f"an empty answer by {by}")


def _streamed(text: bytes) -> str:
    """Return what a stream of chunks said.

    Raises:
        AnswerCutError: its server died over it.
        ValueError: any other error in its midst.
    """
    said = []
    for line in text.decode().splitlines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        chunk = json.loads(line.removeprefix("data: "))
        if "error" in chunk:
            died = chunk["error"].get("code") == BACKEND_DIED
            raise AnswerCutError(chunk["error"]["message"]) if died else ValueError(str(chunk["error"]))
        said += [choice["delta"].get("content") or "" for choice in chunk.get("choices", [])]
    return "".join(said)
