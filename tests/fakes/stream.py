"""The daemon's stream of changes beside its liveness document, and whatever may go wrong with a stream."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from email.utils import formatdate

from tests.fakes.documents import Document, iso
from tests.fakes.upstream import Behaviour, Connection, Upstream

EVENTS, LIVENESS = "/v1/events", "/v1/liveness"
EVENT_STREAM = "Content-Type: text/event-stream; charset=utf-8\r\n"


class FakeStream(Upstream):
    """Serve `liveness` whole at one path and as a stream at another; whoever opens one is told the document first.

    `refusal` answers in place of a stream. `is_mute` opens streams and tells nothing. `chunked` is how HTTP/1.1 sends
    what has no length. `date` is the clock of the server, for its Date header.
    """

    def __init__(self, liveness: Document, *, chunked: bool = False, date: Callable[[], float] = time.time) -> None:
        super().__init__(self._answer)
        self.liveness: Document | None = liveness  # None: it cannot be had whole
        self.refusal: Behaviour | None = None
        self.is_mute = False
        self.told = 0  # events with an id
        self._chunked, self._date = chunked, date
        self._streams: list[Connection] = []
        self._dropped = threading.Event()

    @property
    def opened(self) -> list[Connection]:
        """Every request for a stream so far."""
        return self._asked(EVENTS)

    @property
    def fetched(self) -> list[Connection]:
        """Every request for the whole document so far."""
        return self._asked(LIVENESS)

    @property
    def open(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def tell(self, document: Document) -> None:
        """Believe a new document, and tell it."""
        self.liveness = document
        self.say(self.told_of(document))

    def renew(self, now_s: float, **changes: str | float) -> None:
        """Tell that the document lives on, as of `now_s`."""
        assert self.liveness
        words = {key: self.liveness[key] for key in ("epoch", "revision", "valid_for_s")}
        until_s = now_s + self.liveness["valid_for_s"]
        self.liveness = {**self.liveness, "generated_at": iso(now_s), "expires_at": iso(until_s)}
        words |= {"generated_at": iso(now_s), "expires_at": iso(until_s), **changes}
        self.say(f"event: fresh\ndata: {json.dumps(words)}\n\n")

    def say(self, text: str) -> None:
        """Send something to whoever listens."""
        for stream in list(self._streams):
            with contextlib.suppress(ConnectionError):  # whoever hangs up meanwhile hears nothing more
                self._send(stream, text)

    def told_of(self, document: Document) -> str:
        """Return the event that tells a document."""
        self.told += 1
        return f"id: {document['epoch']}.{self.told}\nevent: liveness\ndata: {json.dumps(document)}\n\n"

    def hang_up(self) -> None:
        """End every stream that is open."""
        self._dropped.set()
        self._dropped = threading.Event()

    def _asked(self, path: str) -> list[Connection]:
        return [each for each in list(self.connections) if each.head.startswith(f"GET {path} ")]

    def _answer(self, connection: Connection) -> None:
        if connection.head.startswith(f"GET {EVENTS} "):
            (self.refusal or self._stream)(connection)
        elif self.liveness is None:
            connection.send("HTTP/1.0 503 Service Unavailable\r\n\r\n")
        else:
            connection.send(f"HTTP/1.0 200 OK\r\nDate: {self._now()}\r\n\r\n{json.dumps(self.liveness)}")

    def _stream(self, connection: Connection) -> None:
        dropped = self._dropped
        framing = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" if self._chunked else "HTTP/1.0 200 OK\r\n"
        connection.send(f"{framing}{EVENT_STREAM}Date: {self._now()}\r\n\r\n")
        if not self.is_mute:
            assert self.liveness
            self._send(connection, "retry: 100\n\n" + self.told_of(self.liveness))
        self._streams.append(connection)
        try:
            while not (connection.is_over or dropped.is_set() or connection.has_been_left()):
                dropped.wait(0.005)
        finally:
            self._streams.remove(connection)

    def _send(self, stream: Connection, text: str) -> None:
        if self._chunked:
            stream.send_chunk(text)
        else:
            stream.send(text)

    def _now(self) -> str:
        return formatdate(self._date(), usegmt=True)


def last_event_id(connection: Connection) -> str:
    """Return what a reader says it has heard last; empty where it does not say."""
    lines = connection.head.split("\r\n")
    return next((line.partition(": ")[2] for line in lines if line.startswith("Last-Event-ID")), "")


def says(status: str, kind: str = "application/json") -> Behaviour:
    """Answer at once, and with nothing in it."""
    return lambda connection: connection.send(f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\n\r\n")
