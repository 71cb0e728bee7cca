"""Lets few at once ask what the history must be read for: what is written before an act must not queue behind them.

Whoever comes by the unix socket may pass whatever the crowd.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from supervisor.publish.answers import Refusal

AT_ONCE = 2
Handler = Callable[[Request], Awaitable[Response]]


class Turnstile:
    """Counts who is inside."""

    def __init__(self, *, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._inside = 0

    def through(self, answer: Handler) -> Handler:
        """Return `answer` behind the turnstile."""

        async def pass_through(request: Request) -> Response:
            if self._inside >= self._at_once and not request.app.state.trusted:
                why = "others are reading the history; ask again in a second"
                raise Refusal(503, "Busy", why, headers={"Retry-After": "1"})
            self._inside += 1
            try:
                return await answer(request)
            finally:
                self._inside -= 1

        return pass_through
