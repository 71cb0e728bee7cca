"""`GET /v1/history`: how targets came to be where they are, newest first."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.publish.answers import answer_document, no_such, unreadable
from supervisor.publish.asked import limit_of
from supervisor.publish.board import Board
from supervisor.publish.turnstile import Turnstile

History = Callable[[str, int], Awaitable[list[dict[str, Any]] | None]]  # newest first; None: it cannot be read


class Past:
    """Tells the transitions of one target, or of all."""

    def __init__(self, board: Board, *, history: History, turnstile: Turnstile) -> None:
        self._board = board
        self._history = history
        self._turnstile = turnstile

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [Route("/v1/history", self._turnstile.through(self._transitions))]

    async def _transitions(self, request: Request) -> Response:
        limit, target = limit_of(request), request.query_params.get("target")
        names = [each.name for each in self._board.snapshots]
        if target and target not in names:
            raise no_such("target", target, names)
        told: list[dict[str, Any]] = []
        for name in [target] if target else names:
            transitions = await self._history(name, limit)
            if transitions is None:
                raise unreadable()
            told += [{"target": name, **each} for each in transitions]
        # A target's own are in order already, and stay so where two are of the same millisecond.
        told.sort(key=lambda each: str(each["at"]), reverse=True)
        return answer_document({"transitions": told[:limit]})
