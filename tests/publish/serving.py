"""The API on a real port and a real socket, and an operator who writes down what reaches him."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from supervisor.core.events import Verb
from supervisor.core.liveness import Clocks, Snapshot
from supervisor.core.observations import TrafficSeen
from supervisor.core.state import Phase
from supervisor.publish.api import Api
from supervisor.publish.board import Board
from supervisor.publish.server import HttpServer, bind_tcp, bind_unix
from supervisor.publish.services import Outcome
from tests.fakes.brakes import Brakes, Remembered, Rereads
from tests.fakes.services import Servants
from tests.publish.believing import HUNG, Time, snapshot

TOKEN = "s3cret-é"  # noqa: S105 - of nothing
BEARER = f"Bearer {TOKEN}".encode()
WATCHED = (
    snapshot("planner"),
    snapshot("code", phase=Phase.SUSPECT, judgement=HUNG),
    snapshot("router", kind="router", models=()),
)


@dataclass
class Operator:
    """Writes down what is asked for, and says that it happened."""

    asked: list[tuple[str, Verb, float, bool]] = field(default_factory=list)
    reported: list[tuple[str, TrafficSeen]] = field(default_factory=list)
    remembered: list[dict[str, Any]] | None = field(default_factory=list)
    remembered_of: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fault: Exception | None = None

    async def operate(self, name: str, verb: Verb, wait_s: float, drains: bool) -> Outcome:
        """Do as if it were done."""
        self.asked.append((name, verb, wait_s, drains))
        if self.fault:
            raise self.fault
        return Outcome(outcome="done", message="ready, first token 0.04s, 1s ago")

    def report(self, name: str, seen: TrafficSeen) -> bool:
        """Take a report about one that is watched."""
        known = name in {each.name for each in WATCHED}
        if known:
            self.reported.append((name, seen))
        return known

    async def history(self, name: str, limit: int) -> list[dict[str, Any]] | None:
        """Return what is remembered, of whom it was said or of everybody."""
        assert name in {each.name for each in WATCHED}
        return None if self.remembered is None else self.remembered_of.get(name, self.remembered)[:limit]


@dataclass
class Served:
    """An API on a port (not trusted) and on a socket (trusted)."""

    time: Time
    board: Board
    operator: Operator
    servants: Servants
    tcp: httpx.AsyncClient
    unix: httpx.AsyncClient
    socket: Path
    app: Starlette
    servers: list[HttpServer]
    tasks: list[asyncio.Task[None]]


@contextlib.asynccontextmanager
async def serving(folder: Path, *, token: str, watched: Sequence[Snapshot] = WATCHED) -> AsyncIterator[Served]:
    """Serve until the end of the block."""
    time, operator = Time(), Operator()
    board, servants = time.board(*watched), Servants()
    api = Api(
        board,
        operate=operator.operate,
        report=operator.report,
        history=operator.history,
        holds=Brakes(),
        incidents=Remembered(),
        rereads=Rereads(),
        services=servants.services(),
        token=token,
        clocks=lambda: Clocks(now=time.now, wall=time.wall),
    )
    listener, socket = bind_tcp("127.0.0.1", 0), folder / "control.sock"
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = api.app(trusted=False)
    servers = [
        HttpServer(listener, app, at_end=api.end),
        HttpServer(bind_unix(socket), api.app(trusted=True), at_end=api.end),
    ]
    tasks = [asyncio.create_task(server.run()) for server in servers]
    tcp = httpx.AsyncClient(base_url=url, trust_env=False, timeout=10)
    unix = httpx.AsyncClient(base_url="http://daemon", transport=httpx.AsyncHTTPTransport(uds=str(socket)), timeout=10)
    try:
        async with tcp, unix:
            yield Served(time, board, operator, servants, tcp, unix, socket, app, servers, tasks)
    finally:
        for server in servers:
            server.stop()
        await asyncio.gather(*tasks)


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of an error, which has one shape."""
    told = response.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"code", "message"}
    assert all(isinstance(each, str) and each for each in told["error"].values())
    return response.status_code, told["error"]["code"]
