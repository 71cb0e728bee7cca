"""A server for what llama.cpp's own cannot be made to do: garbage, half a body, ten gigabytes. Raw sockets."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

DRIP_S = 0.01
MEBIBYTE = bytes(1024 * 1024)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> dict[str, Any]:
        """The request's body."""
        return dict(json.loads(self.body))


Behaviour = Callable[["Line"], Awaitable[None]]


class Line:
    """One connection, and the means to answer on it badly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.sent = 0

    async def send(self, data: bytes) -> None:
        """Send as it stands."""
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def send_head(self, status: str = "200 OK", kind: str = "application/json", **headers: str) -> None:
        """Send a head without a length: the body ends with the connection."""
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def stay_silent(self) -> None:
        """Send nothing more, until the peer hangs up."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        """Hang up without a goodbye."""
        linger = (1).to_bytes(4, "little") + bytes(4)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


class FakeModelServer:
    """Meets every request with `behave`, and keeps what it was asked; `sent` counts the bytes that went out."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.asked: list[Asked] = []
        self.sent = 0
        self.connections = 0
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        line = Line(reader, writer)
        with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            self.asked.append(await _read_request(reader, connection=self.connections))
            await self.behave(line)
        self.sent += line.sent
        writer.close()


async def _read_request(reader: asyncio.StreamReader, *, connection: int) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    pairs = [each.partition(":") for each in rest]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, body, connection)


def says(body: str | bytes, status: str = "200 OK", kind: str = "application/json", **headers: str) -> Behaviour:
    """Answer with `body`."""
    content = body.encode() if isinstance(body, str) else body

    async def behave(line: Line) -> None:
        await line.send_head(status, kind, Content_Length=str(len(content)), **headers)
        await line.send(content)

    return behave


def streams(*events: object, ending: str = "data: [DONE]\n\n") -> Behaviour:
    """Answer with a stream of events: text as it stands, anything else as the JSON of one `data:` line."""
    lines = [each if isinstance(each, str) else f"data: {json.dumps(each)}\n\n" for each in events]
    return says("".join(lines) + ending, kind="text/event-stream")


def sends(*raw: bytes) -> Behaviour:
    """Send raw bytes and hang up."""

    async def behave(line: Line) -> None:
        for each in raw:
            await line.send(each)

    return behave


def stalls_after(raw: bytes) -> Behaviour:
    """Send raw bytes, then nothing more."""

    async def behave(line: Line) -> None:
        await line.send(raw)
        await line.stay_silent()

    return behave


def drips(beginning: bytes, drop: bytes) -> Behaviour:
    """Send a beginning, and a drop every now and then, for ever."""

    async def behave(line: Line) -> None:
        await line.send(beginning)
        while True:
            await line.send(drop)
            await asyncio.sleep(DRIP_S)

    return behave


def floods(kind: str = "application/json", *, gigabytes: int = 10) -> Behaviour:
    """Send a body of so many gigabytes, as fast as they are taken."""

    async def behave(line: Line) -> None:
        await line.send_head(kind=kind, Content_Length=str(gigabytes * 1024**3))
        for _ in range(gigabytes * 1024):
            await line.send(MEBIBYTE)

    return behave


async def resets(line: Line) -> None:
    """Take the request and drop it."""
    line.reset()


async def silent(line: Line) -> None:
    """Take the request and never answer."""
    await line.stay_silent()


def piece(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one chunk of a streamed answer."""
    delta = {key: value for key, value in {"content": content, **more}.items() if value is not None}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def usage(tokens: object) -> dict[str, Any]:
    """Return the last chunk of a streamed answer."""
    return {"object": "chat.completion.chunk", "choices": [], "usage": {"completion_tokens": tokens}}
