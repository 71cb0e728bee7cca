"""`GET /v1/events`: the board's feed as Server-Sent Events, to a bounded number of readers.

A reader has no queue of its own, only its place in the feed: one that is slow falls behind and is hung up on, and costs
no memory. What extends the document's life is sent when the deciding loop stamps it, and at no other time.
"""

import asyncio
import math
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from supervisor.publish.answers import Refusal
from supervisor.publish.board import Board, Document
from supervisor.publish.events import line, message

MOST_STREAMS = 32
MOST_BEHIND = 64  # events that a reader has not taken yet
HEARTBEAT_S = 15.0
FRESH_EVERY_S = 2.0
RETRY = b"retry: 2000\n\n"
HEARTBEAT = b": \n\n"
BUSY_RETRY_S = 5
HEADERS = {
    "Cache-Control": "no-cache",
    "Connection": "close",  # whoever is hung up on shall notice
    "X-Accel-Buffering": "no",  # nginx would gather events
}


class Streams:
    """Tells readers what the board says, each at its own pace."""

    def __init__(
        self,
        board: Board,
        *,
        most: int = MOST_STREAMS,
        most_behind: int = MOST_BEHIND,
        heartbeat_s: float = HEARTBEAT_S,
        fresh_every_s: float = FRESH_EVERY_S,
    ) -> None:
        self._board = board
        self._most = most
        self._most_behind = most_behind
        self._heartbeat_s = heartbeat_s
        self._fresh_every_s = fresh_every_s
        self.open = 0

    async def answer(self, request: Request) -> Response:
        """Begin a stream, from where the reader lost it if it says so."""
        if self.open >= self._most:
            why = f"{self._most} streams are open, and there are no more; read GET /v1/liveness instead"
            raise Refusal(503, "TooManyStreams", why, headers={"Retry-After": str(BUSY_RETRY_S)})
        if request.method == "HEAD":
            head = Response(headers=HEADERS, media_type="text/event-stream")
            del head.headers["content-length"]
            return head
        return _Stream(self, self._told(request.headers.get("last-event-id", "")))

    async def _told(self, last_id: str) -> AsyncIterator[bytes]:
        board, feed, loop = self._board, self._board.feed, asyncio.get_running_loop()
        yield RETRY
        spoke_at, fresh_at = loop.time(), -math.inf
        seen: Document | None = None
        place, may_be_behind = feed.number_of(last_id), feed.latest
        if place is None:
            # What stands there now is what all events up to the last one amount to.
            place = feed.latest
            yield message("liveness", board.document.line, event_id=feed.id_of(place))
        while not feed.is_over:
            news = feed.after(place)
            if news is None or len(news) > may_be_behind:
                return
            for event in news:
                yield event.text
                place, spoke_at = event.number, loop.time()
            may_be_behind = self._most_behind
            if feed.latest > place:
                continue  # more was told while those were being sent
            if board.document is not seen:
                seen = board.document
                if loop.time() - fresh_at >= self._fresh_every_s and not board.has_run_out:
                    yield fresh(seen)
                    spoke_at = fresh_at = loop.time()
                continue
            try:
                async with asyncio.timeout_at(spoke_at + self._heartbeat_s):
                    await feed.change()
            except TimeoutError:
                yield HEARTBEAT
                spoke_at = loop.time()


class _Stream(StreamingResponse):
    """One stream; it counts from when it is promised until it ends, however it ends."""

    def __init__(self, streams: Streams, told: AsyncIterator[bytes]) -> None:
        super().__init__(told, media_type="text/event-stream", headers=HEADERS)
        self._streams = streams
        streams.open += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1


def fresh(document: Document) -> bytes:
    """Return the event that extends the life of what a reader holds."""
    told = {
        "epoch": document.epoch,
        "revision": document.revision,
        "generated_at": document.generated_at,
        "expires_at": document.expires_at,
        "valid_for_s": document.valid_for_s,
    }
    return message("fresh", line(told))
