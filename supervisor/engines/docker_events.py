"""The engine's events, read in a daemon thread and handed to the loop: one connection, until it ends or is cut.

Retries nothing; whoever listens connects anew.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from threading import Thread
from typing import Any

from docker.errors import StreamParseError
from docker.types import CancellableStream

from supervisor.engines.docker_calls import reason
from supervisor.engines.docker_pool import SDK_ERRORS, connect
from supervisor.engines.docker_state import ContainerEvent, read_event

# Not the healthcheck's exec_* and health_status: they come all the time and say nothing about life and death.
ACTIONS = ["create", "destroy", "die", "kill", "oom", "pause", "rename", "restart", "start", "stop", "unpause"]


@dataclass(frozen=True, slots=True)
class Connected:
    """Events flow from here on; what happened before, nobody told us."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come."""

    reason: str


class EventStream:
    """One connection to the engine's container events."""

    def __init__(self, *, host: str, connect_timeout_s: float) -> None:
        self._host = host
        self._connect_timeout_s = connect_timeout_s
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Connected | ContainerEvent | Ended] = asyncio.Queue()
        self._stream: CancellableStream[dict[str, Any]] | None = None
        self._is_cut = False
        Thread(target=self._read, name="docker-events", daemon=True).start()

    async def next(self) -> Connected | ContainerEvent | Ended:
        """Return what comes next; after `Ended` nothing does."""
        return await self._items.get()

    def cut(self) -> None:
        """End the connection and with it the thread, wherever it is; from here on nothing comes."""
        self._is_cut = True
        if self._stream is not None:
            # What has already ended has no socket any more.
            with contextlib.suppress(AttributeError, *SDK_ERRORS):
                self._stream.close()

    def _read(self) -> None:
        why = "the engine closed the stream"
        try:
            self._follow()
        except (*SDK_ERRORS, StreamParseError, ValueError) as error:  # the last two: torn in the middle of an event
            why = reason(error)
        finally:
            self._put(Ended(why))

    def _follow(self) -> None:
        with contextlib.closing(connect(self._host, timeout_s=self._connect_timeout_s)) as client:
            self._stream = client.events(decode=True, filters={"type": "container", "event": ACTIONS})
            if self._is_cut:  # while we connected, when there was no stream to close
                self.cut()
                return
            self._put(Connected())
            for event in self._stream:
                self._put(read_event(event))

    def _put(self, item: Connected | ContainerEvent | Ended) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
