"""`GET /v1/history`: how targets came to be where they are, and what was done to them, newest first."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.publish.answers import answer_document, no_such, unreadable
from supervisor.publish.asked import limit_of
from supervisor.publish.board import Board
from supervisor.publish.services import History
from supervisor.publish.turnstile import Turnstile


class Past:
    """Tells the transitions of one target, or of all, and the acts beside them."""

    def __init__(self, board: Board, *, history: History, acts: History, turnstile: Turnstile) -> None:
        self._board = board
        self._history = history
        self._acts = acts
        self._turnstile = turnstile

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [Route("/v1/history", self._turnstile.through(self._past))]

    async def _past(self, request: Request) -> Response:
        limit, target = limit_of(request), request.query_params.get("target")
        names = [each.name for each in self._board.snapshots]
        if target and target not in names:
            raise no_such("target", target, names)
        asked = [target] if target else names
        told = {
            "transitions": await _newest(self._history, asked, limit=limit, by="at"),
            "acts": await _newest(self._acts, asked, limit=limit, by="began_at"),
        }
        return answer_document(told)


async def _newest(history: History, names: list[str], *, limit: int, by: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for name in names:
        kept = await history(name, limit)
        if kept is None:
            raise unreadable()
        told += [{"target": name, **each} for each in kept]
    # A target's own are in order already, and stay so where two are of the same millisecond.
    told.sort(key=lambda each: str(each[by]), reverse=True)
    return told[:limit]
