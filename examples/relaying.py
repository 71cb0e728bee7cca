"""Pass a streamed answer on, event by event, and say so where it dies half-way, to the client and to the supervisor.

Nothing in it waits without a deadline.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx

from examples.asking import Answer, ClientLeft, Patience
from examples.telling import ERROR_INSIDE, NoAnswer, is_out, tell_failure, tell_success, verdict_on
from supervisor.client import Liveness

WHOLE_EVENTS = re.compile(rb".*(?:\n\n|\r\n\r\n)", re.DOTALL)
END_OF_ANSWER = b"data: [DONE]"
MAX_EVENT_BYTES = 1 << 20
BACKEND_DIED = "backend_died"

log = logging.getLogger("router")


async def events(
    answer: Answer, client_left: "asyncio.Future[None]", liveness: Liveness, patience: Patience
) -> AsyncGenerator[bytes]:
    """Yield events as they come; where the stream dies, the last one is an error.

    Whole events only: an error sent after half of one would be read as its other half.

    Raises:
        ClientLeft: the client hung up.
    """
    pending, has_error = answer.body, False
    try:
        while True:
            whole = WHOLE_EVENTS.match(pending)
            size = whole.end() if whole else len(pending) if len(pending) > MAX_EVENT_BYTES else 0
            ready, pending = pending[:size], pending[size:]
            has_error = has_error or ERROR_INSIDE.search(ready) is not None
            if END_OF_ANSWER in ready and not has_error:
                tell_success(liveness, answer.backend, first_token_s=answer.first_token_s)
            if ready:
                yield ready
            if END_OF_ANSWER in ready:
                return
            pending += await _next_piece(answer, client_left, liveness, patience)
    except (NoAnswer, httpx.HTTPError) as death:
        message = f"{answer.backend.name} stopped in the middle of its answer: {death or type(death).__name__}"
        log.warning("%s", message)
        if not has_error:  # one that was told of in the stream may have been the request's own
            tell_failure(liveness, answer.backend, death)
        yield error_event(message)
    finally:
        await answer.response.aclose()


def error_event(message: str) -> bytes:
    """Return an event in the shape that OpenAI's clients raise as an error."""
    error = {"message": message, "type": "server_error", "code": BACKEND_DIED}
    return f"data: {json.dumps({'error': error})}\n\n".encode()


async def _next_piece(
    answer: Answer, client_left: "asyncio.Future[None]", liveness: Liveness, patience: Patience
) -> bytes:
    clock = asyncio.get_running_loop().time
    began_s = clock()
    reading = asyncio.create_task(_read(answer))
    try:
        while not reading.done():
            waiting_for: set[asyncio.Future[Any]] = {reading, client_left}
            await asyncio.wait(waiting_for, timeout=patience.watch_s, return_when=asyncio.FIRST_COMPLETED)
            if client_left.done():
                raise ClientLeft
            quiet_s = clock() - began_s
            if not reading.done() and quiet_s >= patience.quiet_s and is_out(liveness, answer.backend.name):
                raise NoAnswer(verdict_on(liveness, answer.backend.name))
            if not reading.done() and quiet_s >= patience.idle_s:
                raise NoAnswer(f"nothing came for {quiet_s:.0f} s")
        return reading.result()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read(answer: Answer) -> bytes:
    rest: AsyncIterator[bytes] = answer.rest or answer.response.aiter_raw()
    if not (piece := await anext(rest, b"")):
        raise NoAnswer("it ended before it was done")
    return piece
