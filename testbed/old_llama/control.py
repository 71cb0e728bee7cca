"""Where faults are switched on: a port of its own, so that it is heard whatever the server itself suffers from."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from testbed.old_llama.faults import Fault, Faults
from testbed.old_llama.loop import Loop, Wake


class Control(HTTPServer):
    """Takes `POST /FAULT`."""

    def __init__(self, address: tuple[str, int], loop: Loop, faults: Faults) -> None:
        super().__init__(address, _Switch)
        self.loop = loop
        self.faults = faults


class _Switch(BaseHTTPRequestHandler):
    server: Control

    def do_POST(self) -> None:
        """Switch one fault on, and say 204 once it is."""
        try:
            self.server.faults.set(Fault(self.path.strip("/")))
        except ValueError:
            self.send_response(404)
        else:
            self.server.loop.post(Wake())
            self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name is inherited
        """Log nothing."""
