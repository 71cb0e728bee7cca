"""One client of a router, who notes what came, when, and through whom."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from testbed.clients import chat_body
from testbed.routers.tap import new_mark
from testbed.routers.world import World

CHAT: Final = "/v1/chat/completions"
DONE: Final = "[DONE]"
DEADLINE_S: Final = 20.0  # by then each request has its answer, or is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of one request."""

    status: int
    headers: Mapping[str, str]
    body: str  # of an answer in one piece, or of a refusal
    pieces: tuple[str, ...]  # of a stream: the text of each event that has some
    came_at_s: tuple[float, ...]  # ... and when it came, after the request
    is_done: bool  # a stream that has ended with [DONE]
    took_s: float
    sent_to: frozenset[str]  # the backends that this request has reached

    @property
    def text(self) -> str:
        """Return what the model said."""
        if self.pieces:
            return "".join(self.pieces)
        return str(json.loads(self.body)["choices"][0]["message"]["content"])


def ask(world: World, model: str, *, stream: bool = False, within_s: float = DEADLINE_S, **more: Any) -> Reply:
    """Ask the router and return what came.

    Raises:
        httpx.HTTPError: it did not answer within `within_s`, or broke off.
    """
    mark, began = new_mark(), time.monotonic()
    body = {"model": model, "stream": stream, **chat_body(f"say hi {mark} please", **more)}
    pieces, came_at_s, is_done, whole = [], [], False, ""
    with (
        httpx.Client(timeout=within_s, headers=world.router.client_headers, trust_env=False) as client,
        client.stream("POST", f"{world.router.url}{CHAT}", json=body) as response,
    ):
        if response.status_code == 200 and stream:
            for event in events(response):
                if time.monotonic() - began > within_s:
                    raise httpx.ReadTimeout("the stream has not ended in time")
                is_done = event == DONE
                if text := "" if is_done else said(event):
                    pieces.append(text)
                    came_at_s.append(time.monotonic() - began)
        else:
            whole = response.read().decode()
    return Reply(
        status=response.status_code,
        headers=response.headers,
        body=whole,
        pieces=tuple(pieces),
        came_at_s=tuple(came_at_s),
        is_done=is_done,
        took_s=time.monotonic() - began,
        sent_to=frozenset(world.taps.sent(mark)),
    )


def events(response: httpx.Response) -> Iterator[str]:
    """Yield the data of each event as it comes."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def said(event: str) -> str:
    """Return the text in one event; the first and the last have none."""
    choices = json.loads(event).get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


@dataclass(slots=True)
class Storm:
    """Many clients, one after the other every `every_s`, each in a thread of its own; half of them want a stream."""

    world: World
    model: str
    every_s: float = 0.1
    replies: list[Reply] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # whoever got no answer at all, and why

    @contextlib.contextmanager
    def blowing(self) -> Iterator[None]:
        """Have clients ask all the while, and see the last of them off."""
        enough = threading.Event()
        thread = threading.Thread(target=self._blow, args=(enough,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join(3 * DEADLINE_S)

    def _blow(self, enough: threading.Event) -> None:
        clients: list[threading.Thread] = []
        while not enough.is_set():
            clients.append(threading.Thread(target=self._ask, args=(len(clients) % 2 == 0,), daemon=True))
            clients[-1].start()
            enough.wait(self.every_s)
        for client in clients:
            client.join(2 * DEADLINE_S)

    def _ask(self, stream: bool) -> None:
        try:
            self.replies.append(ask(self.world, self.model, stream=stream))
        except httpx.HTTPError as problem:
            self.lost.append(f"{type(problem).__name__}: {problem} ({'stream' if stream else 'one piece'})")
