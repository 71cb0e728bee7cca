"""An operator's brakes and what went wrong, over HTTP: hold, release, pause, resume, and the incidents.

It checks what is asked for and passes it on to whoever holds us back and whoever remembers; it decides nothing.
"""

from collections.abc import Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from supervisor.core.liveness import iso
from supervisor.core.restraint import EVERY, Hold
from supervisor.publish.answers import Refusal, answer_document, no_such, unreadable
from supervisor.publish.asked import for_s, hold_until, limit_of, why
from supervisor.publish.board import Board
from supervisor.publish.turnstile import Turnstile


class Holds(Protocol):
    """Keeps us from acting on a target because a person says so; the target `EVERY` stands for all of them."""

    async def hold(self, target: str, *, for_s: float | None, why: str) -> Hold:
        """Hold `target` from now on, in place of what was said of it before; `for_s` None: until it is released."""
        ...

    async def release(self, target: str) -> bool:
        """End that hold; False where there was none. Holds on others stand, the one on `EVERY` too."""
        ...

    def all(self) -> tuple[Hold, ...]:
        """Return every hold that has not ended."""
        ...

    def under_way(self) -> tuple[str, ...]:
        """Return the names of the targets that something is being done to now: a hold lets it end."""
        ...


class Incidents(Protocol):
    """Tells of incidents as the history holds them."""

    async def several(self, *, target: str | None, limit: int) -> list[dict[str, Any]] | None:
        """Return those of `target`, or all, the newest first; None where the history cannot be read."""
        ...

    async def one(self, incident_id: str, /) -> dict[str, Any] | None:
        """Return one with its evidence, None where there is none of that id.

        Raises:
            LookupError: the history cannot be read.
        """
        ...


class Operations:
    """Answers the requests about holds and incidents."""

    def __init__(
        self,
        board: Board,
        *,
        holds: Holds,
        incidents: Incidents,
        authorize: Callable[[Request], None],
        turnstile: Turnstile,
    ) -> None:
        """`authorize` raises where the request may change nothing."""
        self._board = board
        self._holds = holds
        self._incidents = incidents
        self._authorize = authorize
        self._turnstile = turnstile

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("/v1/targets/{name}/hold", self._hold, methods=["POST"]),
            Route("/v1/targets/{name}/release", self._release, methods=["POST"]),
            Route("/v1/pause", self._pause, methods=["POST"]),
            Route("/v1/resume", self._resume, methods=["POST"]),
            Route("/v1/holds", self._all),
            Route("/v1/incidents", self._turnstile.through(self._several)),
            Route("/v1/incidents/{id}", self._turnstile.through(self._one)),
        ]

    async def _hold(self, request: Request) -> Response:
        self._authorize(request)
        name = self._known(request.path_params["name"])
        hold = await self._holds.hold(name, for_s=for_s(request), why=why(request))
        return JSONResponse({"name": name, "held": True, "until": hold_until(hold)})

    async def _release(self, request: Request) -> Response:
        self._authorize(request)
        asked = request.path_params["name"]
        is_held = asked in (hold.target for hold in self._holds.all())  # then it need not be watched any more
        name = asked if is_held and asked != EVERY else self._known(asked)
        return JSONResponse({"name": name, "released": await self._holds.release(name)})

    async def _pause(self, request: Request) -> Response:
        self._authorize(request)
        hold = await self._holds.hold(EVERY, for_s=for_s(request), why=why(request))
        return JSONResponse({"paused": True, "until": hold_until(hold), "under_way": list(self._holds.under_way())})

    async def _resume(self, request: Request) -> Response:
        self._authorize(request)
        return JSONResponse({"resumed": await self._holds.release(EVERY)})

    async def _all(self, _: Request) -> Response:
        # What is under way is told here too: whoever has paused us may wait for its end without pausing anew.
        holds, under_way = self._holds.all(), self._holds.under_way()
        return answer_document({"holds": [_told(each) for each in holds], "under_way": list(under_way)})

    async def _several(self, request: Request) -> Response:
        asked = request.query_params.get("target")
        target = self._known(asked) if asked else None
        incidents = await self._incidents.several(target=target, limit=limit_of(request))
        if incidents is None:
            raise unreadable()
        return answer_document({"incidents": incidents})

    async def _one(self, request: Request) -> Response:
        incident_id = request.path_params["id"]
        try:
            incident = await self._incidents.one(incident_id)
        except LookupError as error:
            raise unreadable() from error
        if incident is None:
            message = f"there is no incident {incident_id!r}; GET /v1/incidents lists those that are remembered"
            raise Refusal(404, "NoSuchIncident", message)
        return answer_document(incident)

    def _known(self, name: str) -> str:
        if self._board.find(name) is None:
            raise no_such("target", name, (each.name for each in self._board.snapshots))
        return name


def _told(hold: Hold) -> dict[str, Any]:
    return {
        "target": hold.target,
        "since": iso(hold.since),
        "until": hold_until(hold),
        "why": hold.why,
        "drains": hold.drains,
    }
