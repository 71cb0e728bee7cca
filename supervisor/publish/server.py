"""Serve the API on a loopback port or a unix socket, in the daemon's own event loop."""

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from supervisor.errors import StartupError

SOCKET_MODE = 0o660  # who may open it may stop and start targets
SHUTDOWN_S = 1


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the daemon decides when to end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves one application on one socket that is already bound."""

    def __init__(self, listener: socket.socket, app: Starlette, *, at_end: Callable[[], None] | None = None) -> None:
        """`at_end` is called before the end: whoever answers without end stops there."""
        config = uvicorn.Config(
            app,
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
