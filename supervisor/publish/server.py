"""Serve the API on a loopback port or a unix socket, in the daemon's own event loop.

Whoever connects may be slow, broken or hostile, and shares that loop with what decides: everything is bounded here.
"""

import asyncio
import contextlib
import errno
import math
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from supervisor.errors import StartupError

SOCKET_MODE = 0o660  # who may open it may stop and start targets
SHUTDOWN_S = 1
SLICE_BYTES = 4096
TAKEN_BYTES = 64 * 1024
UNREACHABLE_S = 30.0  # a client's host that acknowledges nothing for so long is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one listener gives to whoever connects to it."""

    connections: int = 256  # at once
    head_bytes: int = 16 * 1024  # of a request, up to one slice more
    head_s: float = 10.0  # from the connection, or its first byte, to its end
    body_s: float = 10.0  # from the end of its head to its own
    idle_s: float = 30.0  # between two requests
    take_s: float = 10.0  # for what we have sent to be taken, or 64 KiB of it, and again for the rest


def _answer(status: str, code: str, message: str, *more: str) -> bytes:
    body = f'{{"error": {{"code": "{code}", "message": "{message}"}}}}'
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "Connection: close", "", body]).encode()


FULL = _answer("503 Service Unavailable", "TooManyConnections", "too many connections are open", "Retry-After: 5")
NO_HTTP = _answer("400 Bad Request", "BadRequest", "that is no HTTP/1.1, or its head is too long")


class _Connection(H11Protocol):
    """uvicorn's connection, which hangs up on whoever lets us wait."""

    def __init__(self, *args: Any, limits: Limits, **others: Any) -> None:
        super().__init__(*args, **others)
        self._limits = limits
        self._awaited: tuple[str, float] | None = None  # what we wait for, and for how long at most
        self._awaited_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections and not self._make_room():
            transport.write(FULL)
            transport.close()
        self._watch()

    def data_received(self, data: bytes) -> None:
        # h11 bounds a head only while it is not whole, so it must not be given one that came in a single piece.
        for begin in range(0, len(data), SLICE_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[begin : begin + SLICE_BYTES])
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Say in our own shape that this was no request; `msg` is uvicorn's."""
        del msg
        self.transport.write(NO_HTTP)
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _make_room(self) -> bool:
        """Hang up on whoever has asked for nothing the longest: silence must lock nobody out who has a question."""
        since = {each: each.silent_since for each in self.connections if isinstance(each, _Connection)}
        silent = {each: at for each, at in since.items() if at is not None and each is not self}
        if not silent:
            return False
        min(silent, key=silent.__getitem__).transport.abort()
        return True

    @property
    def silent_since(self) -> float | None:
        """When it began to ask for nothing; None: it has asked."""
        return self._awaited_since if self._awaited and self._awaited[0] in ("head", "next") else None

    def _watch(self) -> None:
        """Give the client time for what it has to do next, once: more bytes of the same are no reason for more."""
        awaited = self._due()
        if awaited == self._awaited:
            return
        self._stop_timer()
        self._awaited, self._awaited_since = awaited, self.loop.time()
        if awaited is not None:
            self._timer = self.loop.call_later(awaited[1], self._hang_up, self.transport.get_write_buffer_size())

    def _hang_up(self, was_left_bytes: int) -> None:
        """Time is over; whoever has taken a good piece of a long answer is given as much for the next one."""
        if was_left_bytes - self.transport.get_write_buffer_size() < TAKEN_BYTES:
            self.transport.abort()
            return
        self._awaited = None
        self._watch()

    def _due(self) -> tuple[str, float] | None:
        if self.transport.is_closing():
            return "last words", self._limits.take_s
        if self.flow.write_paused:
            return "answer", self._limits.take_s
        if self.conn.their_state is h11.SEND_BODY:
            return "body", self._limits.body_s
        if self.conn.their_state is h11.IDLE:
            has_begun = self.cycle is None or bool(self.conn.trailing_data[0])
            return ("head", self._limits.head_s) if has_begun else ("next", self._limits.idle_s)
        return None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the daemon decides when to end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves one application on one socket that is already bound."""

    def __init__(
        self,
        listener: socket.socket,
        app: Starlette,
        *,
        at_end: Callable[[], None] | None = None,
        limits: Limits = Limits(),
    ) -> None:
        """`at_end` is called before the end: whoever answers without end stops there."""
        config = uvicorn.Config(
            app,
            http=partial(_Connection, limits=limits),  # type: ignore[arg-type]  # it is only ever called
            h11_max_incomplete_event_size=limits.head_bytes,
            timeout_keep_alive=math.ceil(limits.idle_s),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        self._listener = listener
        self._at_end = at_end
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Answer what is under way for a moment longer, then end."""
        if self._at_end is not None:
            self._at_end()
        self._server.should_exit = True


def bind_tcp(host: str, port: int) -> socket.socket:
    """Bind at once, so that a taken port stops the start.

    Raises:
        StartupError: the port is taken or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        # Accepted sockets inherit it; without it, a stream to a host that lost its power lasts a quarter of an hour.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREACHABLE_S * 1000))
        listener.bind((host, port))
        listener.listen()  # two that have only bound one port do not notice each other
    except OSError as error:
        listener.close()
        hint = "something else listens there; set http.port to a free one" if error.errno == errno.EADDRINUSE else ""
        raise StartupError(
            f"http: cannot listen on {host}:{port} ({error.strerror}); {hint or 'check http.host'}"
        ) from error
    return listener


def bind_unix(path: Path) -> socket.socket:
    """Bind `path`, taking over one left behind: the state directory's lock says that nobody else of us runs.

    Raises:
        StartupError: the directory cannot be written, or something stands there that is no socket.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)
        listener.listen()
    except OSError as error:
        listener.close()
        raise StartupError(f"http: cannot make the socket {path} ({error}); check http.socket") from error
    return listener
