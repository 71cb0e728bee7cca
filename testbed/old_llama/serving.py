"""The HTTP side: a fixed pool of threads, each held by one connection for as long as it lasts."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from queue import SimpleQueue
from socketserver import TCPServer
from typing import Any, Final

from testbed.old_llama import shapes
from testbed.old_llama.faults import Fault, Faults
from testbed.old_llama.loop import NO_TASK, Cancel, Completion, Done, Look, Loop, State, Token, count

KEEP_ALIVE_S: Final = 5.0  # an idle connection holds its thread for so long
PATIENCE_S: Final = 600.0  # ... and one that is being read from or written to for so long
STALLS_AFTER: Final = 2
GARBAGE: Final = "/"
CHATS: Final = ("/v1/chat/completions", "/chat/completions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What every connection needs to know."""

    loop: Loop
    faults: Faults
    model: str
    shows_slots: bool
    shows_metrics: bool
    ready_at: float  # until then it is loading its model, on the monotonic clock

    @property
    def context(self) -> int:
        """Return what one slot has of the context."""
        return self.loop.sizes.context // self.loop.sizes.slots


class Pool(TCPServer):
    """Accepts whatever comes, and has it served when one of its threads is free."""

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], serving: Serving, *, threads: int) -> None:
        self.serving = serving
        self._accepted: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        super().__init__(address, Handler)
        for number in range(threads):
            threading.Thread(target=self._serve, name=f"http-{number}", daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Queue a connection."""
        self._accepted.put((request, client_address))

    def _serve(self) -> None:
        while True:
            request, client_address = self._accepted.get()
            try:
                self.finish_request(request, client_address)
            except OSError:
                pass  # the client has gone
            finally:
                self.shutdown_request(request)


class Handler(BaseHTTPRequestHandler):
    """Serves one connection."""

    protocol_version = "HTTP/1.1"
    server: Pool
    connection: socket.socket

    def handle_one_request(self) -> None:
        """Wait for a request no longer than an idle connection may be kept."""
        self.connection.settimeout(KEEP_ALIVE_S)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Begin to be patient: the first line is there."""
        self.connection.settimeout(PATIENCE_S)
        return super().parse_request()

    def version_string(self) -> str:
        """Return what the Server header says."""
        return "llama.cpp"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name is inherited
        """Log nothing, as those builds do unless told to."""

    def do_GET(self) -> None:
        """Answer a question about the server."""
        serving, path = self.server.serving, self.path.partition("?")[0]
        if time.monotonic() < serving.ready_at:
            self._send(503, shapes.LOADING)
        elif path == "/health":
            self._send(200, {"status": "ok"})
        elif path == "/props":
            sizes = serving.loop.sizes
            self._send(200, shapes.props(model=serving.model, slots=sizes.slots, context=serving.context))
        elif path == "/v1/models":
            self._send(200, shapes.models(serving.model))
        elif path == "/slots":
            self._send_slots()
        elif path == "/metrics":
            self._send_metrics()
        else:
            self._send(404, shapes.NOT_FOUND)

    def do_POST(self) -> None:
        """Answer a chat, or fail to in the way that is asked for."""
        serving = self.server.serving
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if time.monotonic() < serving.ready_at:
            self._send(503, shapes.LOADING)
            return
        if self.path not in CHATS:
            self._send(404, shapes.NOT_FOUND)
            return
        try:
            asked = json.loads(body)
            prompt = shapes.prompt_of(asked)
        except (ValueError, AttributeError) as problem:
            self._send(500, shapes.error(500, str(problem), "server_error"))
            return
        if Fault.BAD_TEMPLATE in serving.faults:
            self._send(400, shapes.BAD_TEMPLATE)
        elif Fault.ERROR_IN_200 in serving.faults:
            self._send(200, shapes.COMPUTE_ERROR)
        elif Fault.SWALLOW in serving.faults:
            threading.Event().wait()
        elif count(prompt) >= serving.context:
            self._send(400, shapes.TOO_LONG)
        else:
            self._chat(asked, prompt)

    def _send_slots(self) -> None:
        serving = self.server.serving
        if not serving.shows_slots:
            self._send(501, shapes.not_started_with("slots"))
            return
        self._send(200, [shapes.slot(each, context=serving.context) for each in self._state().slots])

    def _send_metrics(self) -> None:
        if not self.server.serving.shows_metrics:
            self._send(501, shapes.not_started_with("metrics"))
            return
        self._send_bytes(200, shapes.metrics(self._state()).encode(), "text/plain; version=0.0.4")

    def _state(self) -> State:
        look = Look()
        self.server.serving.loop.post(look)
        return look.out.get()

    def _chat(self, asked: dict[str, Any], prompt: str) -> None:
        serving = self.server.serving
        max_tokens = int(asked.get("max_tokens", -1))
        if Fault.EMPTY in serving.faults:
            pieces: Iterator[Token | Done] = iter([Done(count(prompt), 0)])
            number = NO_TASK
        else:
            task = Completion(prompt=prompt, max_tokens=max_tokens, wanted_slot=int(asked.get("id_slot", NO_TASK)))
            number = serving.loop.post(task)
            pieces = self._pieces(task)
        if asked.get("stream"):
            try:
                self._stream(pieces)
            except OSError:
                serving.loop.post(Cancel(number))
                self.close_connection = True
        else:
            self._answer_whole(pieces)

    def _pieces(self, task: Completion) -> Iterator[Token | Done]:
        """Yield what the loop makes of a task, spoilt where that is the fault."""
        while True:
            piece = task.out.get()
            is_token = isinstance(piece, Token)
            yield Token(GARBAGE) if is_token and Fault.GARBAGE in self.server.serving.faults else piece
            if not is_token:
                return

    def _answer_whole(self, pieces: Iterator[Token | Done]) -> None:
        serving, text = self.server.serving, ""
        for piece in pieces:
            if isinstance(piece, Token):
                text += piece.text
            elif piece.error:
                self._send(500, shapes.COMPUTE_ERROR)
            else:
                self._send(200, shapes.whole(serving.model, text, piece))

    def _stream(self, pieces: Iterator[Token | Done]) -> None:
        """Stream an answer; the head goes out before anything is known, so that even an error has status 200."""
        faults = self.server.serving.faults
        self._send_head(200, "text/event-stream", "Transfer-Encoding", "chunked")
        for sent, piece in enumerate(pieces, start=1):
            self._send_event(piece, is_first=sent == 1)
            if Fault.STALLS_MID_STREAM in faults and sent == STALLS_AFTER:
                threading.Event().wait()
            if Fault.HALF_CLOSED in faults:
                raise ConnectionAbortedError("the fault that was asked for")
        self._send_chunk(b"data: [DONE]\n\n")
        self._send_chunk(b"")

    def _send_event(self, piece: Token | Done, *, is_first: bool) -> None:
        model = self.server.serving.model
        match piece:
            case Token():
                self._send_chunk(_event("data", shapes.chunk(model, piece.text, is_first=is_first)))
            case Done() if piece.error:
                self._send_chunk(_event("error", shapes.COMPUTE_ERROR["error"]))
            case Done():
                self._send_chunk(_event("data", shapes.last_chunk(model, piece)))

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _send(self, status: int, body: Any) -> None:
        self._send_bytes(status, json.dumps(body).encode(), "application/json; charset=utf-8")

    def _send_bytes(self, status: int, body: bytes, kind: str) -> None:
        self._send_head(status, kind, "Content-Length", str(len(body)))
        if Fault.HALF_CLOSED in self.server.serving.faults and self.command == "POST":
            body, self.close_connection = body[: len(body) // 2], True
        self.wfile.write(body)

    def _send_head(self, status: int, kind: str, *length: str) -> None:
        self.send_response_only(status)
        self.send_header("Server", self.version_string())
        self.send_header("Content-Type", kind)
        self.send_header(*length)
        self.end_headers()


def _event(field: str, content: Any) -> bytes:
    return f"{field}: {json.dumps(content)}\n\n".encode()
