"""A relay in front of each model server that sees which requests were sent there, whoever sent them and whatever came.

What a router sends to a hung server is answered by nobody and counted by nothing of the server's own, so it is read on
the way. A server that is not there is like one behind a published container port: connections are taken and dropped.
"""

import asyncio
import contextlib
import itertools
import re
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Final

from testbed.clients import LOOPBACK, free_port
from testbed.leaving import Leaving

MARK: Final = re.compile(rb"mark-\d{6}-")
LONGEST_MARK: Final = 12
PIECE_BYTES: Final = 65536
_numbers: Final = itertools.count()


def new_mark() -> str:
    """Return a word for one request, by which a tap knows it again."""
    return f"mark-{next(_numbers):06d}-"


class Tap:
    """One relay: where it listens, where it leads, and the marks of the requests that went through."""

    def __init__(self) -> None:
        self.port = free_port()
        self.server_port = free_port()
        self.seen_at: dict[str, float] = {}  # when each mark came by first, in monotonic seconds

    @property
    def url(self) -> str:
        """Where routers and the daemon find the server."""
        return f"http://{LOOPBACK}:{self.port}"

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection to its end."""
        with contextlib.suppress(OSError, asyncio.CancelledError):
            up_reader, up_writer = await asyncio.open_connection(LOOPBACK, self.server_port)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, up_writer, notes=True))
                both.create_task(self._pass_on(up_reader, writer))
        writer.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, notes: bool = False
    ) -> None:
        tail = b""
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                if notes:
                    seen = tail + piece
                    for mark in MARK.findall(seen):
                        self.seen_at.setdefault(mark.decode(), time.monotonic())
                    tail = seen[-LONGEST_MARK:]
                writer.write(piece)
                await writer.drain()
            if notes:  # a client that has left; a server that has ended its answer has ended the connection
                writer.transport.abort()
                return
        writer.close()


class Taps(Leaving):
    """Relays by name, in a thread of their own."""

    def __init__(self, names: Iterable[str]) -> None:
        self._taps = {name: Tap() for name in names}
        self._ended: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        listening: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)), name="taps", daemon=True)
        self._thread.start()
        listening.result(10.0)

    def __getitem__(self, name: str) -> Tap:
        return self._taps[name]

    def sent(self, mark: str) -> set[str]:
        """Return the names of those whom a request was sent to."""
        return {name for name, tap in self._taps.items() if mark in tap.seen_at}

    def leave(self) -> None:
        """Drop every connection and end."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10.0)

    async def _serve(self, listening: "Future[None]") -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as servers:
            for tap in self._taps.values():
                server = await asyncio.start_server(tap.meet, LOOPBACK, tap.port)
                servers.callback(server.close)
            listening.set_result(None)
            await self._ended.wait()
