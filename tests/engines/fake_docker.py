"""An engine's HTTP on a Unix socket, for what no real engine can be made to do: to hang over one question alone."""

import json
import socketserver
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.engines.inspections import TOP, inspection

TRICKLE_EVERY_S = 0.1
ASKED_AT = "2026-11-23T13:00:00Z"  # by its clock
VERSION = {"ApiVersion": "1.43", "MinAPIVersion": "1.24"}


class FakeDocker:
    """Has one container, `general`, and does nothing to it but what a test writes into it.

    `hangs` and `trickles` are ends of paths, such as "/top": those are never answered, and these a byte at a time.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "docker.sock"
        self.host = f"unix://{path}"
        self.container: dict[str, Any] | None = inspection(Config={"Tty": False})
        self.events: list[Mapping[str, Any]] = []
        self.hangs: set[str] = set()
        self.trickles: set[str] = set()
        self.asked: list[str] = []  # ends of paths
        self.refusal = ""  # what it says to whoever wants something done
        self.is_over = threading.Event()
        self._server = _Server(str(path), _Handler)
        self._server.fake = self

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, end: str) -> tuple[int, Any]:
        """Return the status and the body for a path that ends so."""
        if end in ("/restart", "/stop", "/start"):
            return (500, {"message": self.refusal}) if self.refusal else (204, b"")
        if self.container is None:
            return 404, {"message": "No such container: general"}
        bodies: dict[str, Any] = {
            "/json": self.container,
            "/top": TOP,
            "/logs": b"",
            "/networks": [],
            "/info": {"SystemTime": ASKED_AT},
            "/events": b"\n".join(json.dumps(each).encode() for each in self.events),
        }
        return (200, bodies[end]) if end in bodies else (404, {"message": f"no {end}"})


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    fake: FakeDocker


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's
        """Say nothing."""

    def do_GET(self) -> None:
        fake, end = self.server.fake, "/" + urlsplit(self.path).path.rpartition("/")[2]
        if end == "/version":
            self._send(200, json.dumps(VERSION).encode())
            return
        fake.asked.append(end)
        if end in fake.hangs:
            fake.is_over.wait()
        status, body = fake.answer(end)
        self._send(status, body if isinstance(body, bytes) else json.dumps(body).encode(), slowly=end in fake.trickles)

    def do_POST(self) -> None:
        self.do_GET()

    def _send(self, status: int, body: bytes, *, slowly: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._write(body)
        while slowly and not self.server.fake.is_over.wait(TRICKLE_EVERY_S):
            self._write(b"x")
        self.wfile.write(b"0\r\n\r\n")

    def _write(self, chunk: bytes) -> None:
        if chunk:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
