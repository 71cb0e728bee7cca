"""A router of BenchAI's shape in front of model servers of our making; what the supervisor says, the test writes."""

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from testbed.leaving import Leaving
from testbed.routers.base import Served
from testbed.routers.benchai import BenchaiRouter
from tests.fakes.documents import Document, document, entry, publish
from tests.fakes.ear import Ear
from tests.fakes.upstream import Behaviour, Connection, Upstream, answers

ALIASES: Final = {"general": "general", "planner": "planner", "research": "planner", "code": "code", "vision": "vision"}
NAMES: Final = ("general", "planner", "code", "vision")
ENOUGH_S: Final = 10.0
_numbers: Final = itertools.count()


class BenchaiTown(Leaving):
    """The servers, the document and whoever takes reports live as long as it; routers come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "liveness.json"
        self._stack = ExitStack()
        self.ear = self._stack.enter_context(Ear(at=folder / "control.sock"))
        self.upstreams = {name: self._stack.enter_context(Upstream()) for name in NAMES}
        self.calm()

    def leave(self) -> None:
        """End everything."""
        self._stack.close()

    def calm(self) -> None:
        """Let everybody answer, and say so; forget what was asked and told."""
        self.behave(**{name: answers(f"from {name}") for name in NAMES})
        for upstream in self.upstreams.values():
            upstream.connections.clear()
        self.ear.connections.clear()
        self.say()

    def behave(self, **behaviours: Behaviour) -> None:
        """Have servers behave so from now on."""
        for name, behave in behaviours.items():
            self.upstreams[name].behave = _healthy_and(behave)

    def say(self, *more: Document, valid_for_s: float = 60.0, **changes: Mapping[str, Any]) -> None:
        """Publish that all backends are ready, except for `changes` by name, and that there are `more`."""
        models = {name: tuple(alias for alias, behind in ALIASES.items() if behind == name) for name in NAMES}
        entries = [
            entry(name, **{"url": self.upstreams[name].url, "models": models[name], **changes.get(name, {})})
            for name in NAMES
        ]
        publish(self.file, document(*entries, *more, now_s=time.time(), valid_for_s=valid_for_s))

    def asked(self) -> dict[str, int]:
        """Return how often each server that was asked at all was asked for an answer."""
        counts = {name: self._count(upstream) for name, upstream in self.upstreams.items()}
        return {name: count for name, count in counts.items() if count}

    @contextmanager
    def router(self, **extra: str) -> Iterator[BenchaiRouter]:
        """Run a router; `extra` goes to its environment."""
        served = Served(
            backends={name: upstream.url for name, upstream in self.upstreams.items()},
            models={**{alias: (name,) for alias, name in ALIASES.items()}, "auto": NAMES},
            liveness_file=self.file,
            supervisor_url="http://127.0.0.1:1",
            control_socket=self.folder / "control.sock",
            extra={"BENCHAI_PLAN_TIMEOUT_S": "20", "BENCHAI_TIMEOUT_S": "20", **extra},
        )
        with BenchaiRouter(self.folder / f"router-{next(_numbers)}", served) as router:
            router.start()
            yield router

    def _count(self, upstream: Upstream) -> int:
        heads = [connection.head for connection in list(upstream.connections)]
        return sum(head.startswith("POST /v1/chat/completions") for head in heads)


def request(model: str, *, stream: bool = False, text: str = "", **more: Any) -> dict[str, Any]:
    """Return a request's body, of its own unless `text` is given: the router answers the same one from its cache."""
    content = text or f"say hi, number {next(_numbers)}"
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": content}], **more}


def ask(router: BenchaiRouter, model: str, *, within_s: float = ENOUGH_S, **more: Any) -> httpx.Response:
    """Send a chat and return what came."""
    url = f"{router.url}/v1/chat/completions"
    return httpx.post(
        url, json=request(model, **more), headers={"Origin": "http://ui"}, timeout=within_s, trust_env=False
    )


def _healthy_and(behave: Behaviour) -> Behaviour:
    """Say `ok` at `/health` whatever becomes of chats, as a hung server does."""

    def behave_well_there(connection: Connection) -> None:
        (answers("ok") if connection.head.startswith("GET /health") else behave)(connection)

    return behave_well_there
