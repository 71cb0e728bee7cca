"""A small server that misbehaves to order: silent, slow, half a body, a stream that dies. A thread per connection."""

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

POLL_S = 0.02


class Connection:
    """One request, and the means to answer it badly. `peer_left` is set where the peer ends a silence by leaving."""

    def __init__(self, peer: socket.socket, ended: threading.Event) -> None:
        self._peer = peer
        self._ended = ended
        self.peer_left = threading.Event()
        self.head, self.body = self._read_request()

    @property
    def is_over(self) -> bool:
        """Say whether the test is over."""
        return self._ended.is_set()

    @property
    def json(self) -> dict[str, Any]:
        """The request's body."""
        return dict(json.loads(self.body or b"{}"))

    def send(self, text: str) -> None:
        """Send as it stands."""
        self._peer.sendall(text.encode())

    def send_head(self, kind: str, length: int | None = None, status: str = "200 OK") -> None:
        """Send the head; without a length the body is to come in chunks."""
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.send(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{framing}\r\nConnection: close\r\n\r\n")

    def send_chunk(self, text: str) -> None:
        """Send one chunk of a chunked body; an empty one ends it."""
        self.send(f"{len(text.encode()):x}\r\n{text}\r\n")

    def send_event(self, word: str) -> None:
        """Send one piece of a streamed answer."""
        self.send_chunk(f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n")

    def wait(self, seconds: float) -> None:
        """Do nothing for a while, or until the test is over."""
        self._ended.wait(seconds)

    def stay_silent(self) -> None:
        """Send nothing more, until the peer hangs up or the test is over."""
        self._peer.settimeout(POLL_S)
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                if not self._peer.recv(4096):
                    self.peer_left.set()
                    return

    def has_been_left(self) -> bool:
        """Say at once whether the peer has hung up."""
        with contextlib.suppress(OSError):
            is_readable = select.select([self._peer], [], [], 0)[0]
            return bool(is_readable) and not self._peer.recv(1, socket.MSG_PEEK)
        return True

    def reset(self) -> None:
        """Hang up without a goodbye."""
        self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4))

    def _read_request(self) -> tuple[str, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._peer.recv(65536) or b"\r\n\r\n"
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        expected = sum(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        # A body in chunks is read to its end, and left as it came: who answers and goes before that is reset.
        while "transfer-encoding: chunked" in lines and not body.endswith(b"\r\n0\r\n\r\n"):
            body += self._peer.recv(65536) or b"\r\n0\r\n\r\n"
        while len(body) < expected:
            body += self._peer.recv(65536)
        return head.decode("latin-1"), body


Behaviour = Callable[[Connection], None]


def answers(text: str) -> Behaviour:
    """Answer as a model server does, streamed where that is asked for."""

    def behave(connection: Connection) -> None:
        if connection.json.get("stream"):
            connection.send_head("text/event-stream")
            for word in text.split():
                connection.send_event(word)
            connection.send_chunk("data: [DONE]\n\n")
            connection.send_chunk("")
        else:
            body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})
            connection.send_head("application/json", len(body))
            connection.send(body)

    return behave


def silent(connection: Connection) -> None:
    """Take the request and never answer: what a hung server does."""
    connection.stay_silent()


def resets(connection: Connection) -> None:
    """Take the request and drop it: a port proxy before its server has bound."""
    connection.reset()


def fails(status: str, body: str = "{}") -> Behaviour:
    """Answer with an error status, such as `503 Service Unavailable`."""

    def behave(connection: Connection) -> None:
        connection.send_head("application/json", len(body.encode()), status)
        connection.send(body)

    return behave


def streams_then(words: str, ending: Behaviour, *, between_s: float = 0.0) -> Behaviour:
    """Begin a streamed answer well, and go on as `ending` does."""

    def behave(connection: Connection) -> None:
        connection.send_head("text/event-stream")
        for word in words.split():
            connection.send_event(word)
            connection.wait(between_s)
        ending(connection)

    return behave


def sends_then(text: str, ending: Behaviour) -> Behaviour:
    """Send `text` raw and go on as `ending` does."""

    def behave(connection: Connection) -> None:
        connection.send(text)
        ending(connection)

    return behave


def hangs_up(_: Connection) -> None:
    """End the connection."""


def drips(connection: Connection) -> None:
    """Send a byte now and then, for ever."""
    while not connection.is_over:
        connection.send("x")
        connection.wait(POLL_S)


class Floods:
    """Send without end; count the bytes that were taken."""

    def __init__(self) -> None:
        self.sent_bytes = 0

    def __call__(self, connection: Connection) -> None:
        """Send until the peer hangs up."""
        while not connection.is_over:
            connection.send("x" * 65536)
            self.sent_bytes += 65536


class Upstream:
    """Meet every connection with `behave`, which may be changed at any time; keep the connections for looking at.

    It listens on a free port or, where a path is given, on a unix socket there.
    """

    def __init__(self, behave: Behaviour = silent, *, at: Path | None = None) -> None:
        self.behave = behave
        self.connections: list[Connection] = []
        self._ended = threading.Event()
        if at is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(at))
            self._listener.listen()
            self.url = f"unix://{at}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._listener.settimeout(POLL_S)
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up on everybody and listen no more."""
        self.end()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def end(self) -> None:
        """Let every connection go."""
        self._ended.set()

    def _accept(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                peer, _ = self._listener.accept()
                thread = threading.Thread(target=self._meet, args=(peer,))
                self._threads.append(thread)
                thread.start()

    def _meet(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.settimeout(5)
            connection = Connection(peer, self._ended)
            self.connections.append(connection)
            self.behave(connection)
