"""A router in front of model servers of our making, with a supervisor's word that the test writes."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn

from examples.asking import Patience
from examples.router import create_app
from supervisor.client import Backend, Liveness
from tests.fakes.documents import Document, document, entry, out, publish
from tests.fakes.ear import Ear
from tests.fakes.upstream import Behaviour, Upstream

ENOUGH_S = 10.0
QUICK = Patience(second_try_s=0.2, watch_s=0.02, quiet_s=0.1, connect_s=2.0)


@dataclass
class Town:
    """Backends by name, each an alias of its own, behind the demo router."""

    folder: Path
    patience: Patience = QUICK
    source: str | None = None  # of the liveness; None: the file that `say` writes
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)  # URLs of backends that are not ours

    def __post_init__(self) -> None:
        self.file = self.folder / "liveness.json"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stack.close()

    def settle(self, **behaviours: Behaviour) -> None:
        """Start a model server per name."""
        for name, behave in behaviours.items():
            self.upstreams[name] = self._stack.enter_context(Upstream(behave))

    def url_of(self, name: str) -> str:
        """Return where backend `name` listens."""
        return self.upstreams[name].url if name in self.upstreams else self.elsewhere[name]

    def listen(self) -> Ear:
        """Start what takes the router's reports, beside the file of the liveness."""
        return self._stack.enter_context(Ear(at=self.folder / "control.sock"))

    @property
    def names(self) -> list[str]:
        """All backends."""
        return [*self.upstreams, *self.elsewhere]

    def say(self, *, valid_for_s: float = 60.0, silent_on: str = "", **changes: Document) -> None:
        """Publish that all backends are ready, except for `changes`, by name, and say nothing of one."""
        named = [name for name in self.names if name != silent_on]
        entries = [entry(name, **{"url": self.url_of(name), **changes.get(name, {})}) for name in named]
        publish(self.file, document(*entries, now_s=time.time(), valid_for_s=valid_for_s))

    def open(self) -> httpx.Client:
        """Start the router and return a client of it."""
        own_table = [Backend(name, self.url_of(name), models=(name,)) for name in self.names]
        liveness = Liveness(self.source or self.file, own_table=own_table)
        app = create_app(liveness, own_table, self.patience, poll=self.source is not None)
        url = self._stack.enter_context(_served(app))
        return self._stack.enter_context(httpx.Client(base_url=url, timeout=ENOUGH_S, trust_env=False))


def hung() -> Document:
    """Return the changes that make a backend hung."""
    entry_of_hung = out("hung")
    return {key: entry_of_hung[key] for key in ("routable", "weight", "verdict", "reason", "message", "retry_after_s")}


def ask(client: httpx.Client, model: str = "auto", **more: Any) -> httpx.Response:
    """Send the request that everybody sends."""
    messages = [{"role": "user", "content": "say hi"}]
    body = {"model": model, "messages": messages, "max_tokens": 10, **more}
    return client.post("/v1/chat/completions", json=body)


def content(response: httpx.Response) -> str:
    """Return the text of an answer, streamed or not."""
    if response.headers["content-type"].startswith("text/event-stream"):
        return " ".join(words(events(response.text)))
    return str(response.json()["choices"][0]["message"]["content"])


def events(stream: str) -> list[dict[str, Any]]:
    """Return a stream's events but for `[DONE]`; every one must be whole."""
    lines = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def words(stream: list[dict[str, Any]]) -> list[str]:
    """Return the pieces of text in a stream's events."""
    deltas = [event["choices"][0]["delta"] for event in stream if event.get("choices")]
    return [delta["content"] for delta in deltas if delta.get("content")]


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + ENOUGH_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@contextlib.contextmanager
def _served(app: Any) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
