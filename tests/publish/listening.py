"""A reader of Server-Sent Events, who takes them one by one, and a server that has nothing else to tell."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from supervisor.publish.answers import refuse
from supervisor.publish.board import Board
from supervisor.publish.server import HttpServer, Limits, bind_tcp
from supervisor.publish.streams import Streams

SOON_S = 5.0
USUAL = Limits()


@dataclass
class Told:
    """One event, or the fields that came without one: a comment's name is empty."""

    fields: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What it tells of; empty for a comment, or for `retry` alone."""
        return self.fields.get("event", "")

    @property
    def id(self) -> str:
        """Its id, empty where it has none."""
        return self.fields.get("id", "")

    @property
    def data(self) -> dict[str, Any]:
        """What it tells."""
        return dict(json.loads(self.fields["data"]))


class Ear:
    """Reads one stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def hear(self, *, within_s: float = SOON_S) -> Told:
        """Return the next event; StopAsyncIteration at the end of the stream."""
        told = Told()
        async with asyncio.timeout(within_s):
            while line := await anext(self._lines):
                name, colon, value = line.partition(":")
                assert colon, line
                assert name not in told.fields, "one line each"
                told.fields[name] = value.removeprefix(" ")
        return told

    async def hear_next(self, *kinds: str) -> list[Told]:
        """Return the next events, which are of these kinds."""
        told = [await self.hear() for _ in kinds]
        assert [each.kind for each in told] == list(kinds)
        return told

    async def until(self, kind: str) -> Told:
        """Return the next event of a kind, whatever comes before it."""
        while (told := await self.hear()).kind != kind:
            pass
        return told

    async def has_ended(self) -> bool:
        """Read on, and return whether the stream ends soon."""
        try:
            while True:
                await self.hear()
        except StopAsyncIteration:
            return True
        except TimeoutError:
            return False


@contextlib.asynccontextmanager
async def listening(
    client: httpx.AsyncClient, *, last_id: str | None = None, path: str = "/v1/events"
) -> AsyncIterator[Ear]:
    """Listen to a stream; how long to wait for it to go on has been said already."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        ear = Ear(response)
        assert (await ear.hear()).fields == {"retry": "2000"}
        yield ear


@contextlib.asynccontextmanager
async def telling(
    board: Board, *, limits: Limits = USUAL, **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Streams, HttpServer]]:
    """Serve a board's events and nothing else."""
    streams = Streams(board, **settings)
    app = Starlette(routes=[Route("/v1/events", streams.answer)], exception_handlers={HTTPException: refuse})
    listener = bind_tcp("127.0.0.1", 0)
    server = HttpServer(listener, app, at_end=board.feed.end, limits=limits)
    running = asyncio.create_task(server.run())
    try:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as client:
            yield client, streams, server
    finally:
        server.stop()
        await running
