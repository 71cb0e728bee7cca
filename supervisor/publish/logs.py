"""`GET /v1/targets/{name}/log`: what a target printed, and with `follow=1` what it prints.

A model server's log may hold its users' words: it is for whoever may change things, and goes nowhere else. A reader
that is slow holds up its own stream until it is hung up on, and costs no memory.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from supervisor.errors import EngineUnreachable, SupervisorError
from supervisor.publish.answers import Refusal
from supervisor.publish.asked import flag, known, number
from supervisor.publish.board import Board
from supervisor.publish.services import Services

MOST_FOLLOWED = 8  # each has a connection to its engine
USUAL_BYTES, MOST_BYTES = 1600, 1 << 20  # the first is supervisorctl's
MOST_LINES = 10_000
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Accel-Buffering": "no"}


class Logs:
    """Tells what targets printed."""

    def __init__(self, board: Board, *, services: Services, authorize: Callable[[Request], None]) -> None:
        """`authorize` raises where the request may change nothing, and may not read this either."""
        self._board = board
        self._services = services
        self._authorize = authorize
        self._over = asyncio.Event()
        self.followed = 0

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [Route("/v1/targets/{name}/log", self._log)]

    def end(self) -> None:
        """Let go whoever follows one."""
        self._over.set()

    async def _log(self, request: Request) -> Response:
        self._authorize(request)
        name, follows = known(request, self._board).name, flag(request, "follow")
        if follows and self.followed >= MOST_FOLLOWED:
            said = f"{MOST_FOLLOWED} logs are followed already, and there are no more; read this one without follow"
            raise Refusal(503, "TooManyStreams", said, headers={"Retry-After": "5"})
        told = self._services.log(name, max_bytes=_max_bytes(request), lines=_lines(request))
        try:
            first = await anext(told)
        except SupervisorError as error:
            await told.aclose()
            status, code = (503, "EngineUnreachable") if isinstance(error, EngineUnreachable) else (409, "NoLog")
            raise Refusal(status, code, str(error)) from error
        if not follows or request.method == "HEAD":
            await told.aclose()
            return Response(first.encode(errors="replace"), headers=HEADERS, media_type="text/plain")
        return StreamingResponse(self._followed(first, told), headers=HEADERS, media_type="text/plain")

    async def _followed(self, first: str, told: AsyncGenerator[str, None]) -> AsyncIterator[bytes]:
        self.followed += 1
        try:
            async with aclosing(told):
                yield first.encode(errors="replace")
                while (piece := await self._next(told)) is not None:
                    yield piece.encode(errors="replace")
        finally:
            self.followed -= 1

    async def _next(self, told: AsyncGenerator[str, None]) -> str | None:
        """Return what comes next; None: nothing, or we are being ended."""
        async with asyncio.TaskGroup() as both:
            over, coming = both.create_task(self._over.wait()), both.create_task(anext(told, None))
            await asyncio.wait((over, coming), return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            coming.cancel()
        return None if coming.cancelled() else coming.result()


def _max_bytes(request: Request) -> int:
    usual = USUAL_BYTES if "lines" not in request.query_params else MOST_BYTES
    text = request.query_params.get("bytes", str(usual))
    most = number("bytes", text, int, what="a whole number")
    if not 0 <= most <= MOST_BYTES:
        raise HTTPException(400, f"bytes = {text} must lie between 0 and {MOST_BYTES}")
    return most


def _lines(request: Request) -> int | None:
    text = request.query_params.get("lines")
    if text is None:
        return None
    lines = number("lines", text, int, what="a whole number")
    if not 0 <= lines <= MOST_LINES:
        raise HTTPException(400, f"lines = {text} must lie between 0 and {MOST_LINES}")
    return lines
