"""The HTTP face: what is believed, for routers and people, and the few things an operator may ask for.

It reads the board, passes requests on to `operate` and routers' reports to `report`; it decides nothing. Holds and
incidents are in `operations.py`, what load balancers ask in `balancers.py`, events in `streams.py`.
"""

import hmac
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from supervisor.core.events import Verb
from supervisor.core.liveness import Clocks, Word, word
from supervisor.core.observations import TrafficSeen
from supervisor.publish import openapi
from supervisor.publish.answers import Refusal, answer_document, answer_error, fail, refuse
from supervisor.publish.asked import DEFAULT_WAIT_S, flag, known, wait_s
from supervisor.publish.balancers import Balancers
from supervisor.publish.board import Board
from supervisor.publish.logs import Logs
from supervisor.publish.operations import Holds, Incidents, Operations
from supervisor.publish.past import Past
from supervisor.publish.reloads import Reloads, Rereads
from supervisor.publish.reports import MAX_BODY_BYTES, MAX_ERROR, BadReportError, parse, printable, target_of
from supervisor.publish.services import History, Outcome, Services
from supervisor.publish.streams import Streams
from supervisor.publish.tending import Tending
from supervisor.publish.turnstile import Turnstile
from supervisor.publish.why import TRANSITIONS, why

Operate = Callable[[str, Verb, float, bool], Awaitable[Outcome]]  # ... and whether it drains first
Report = Callable[[str, TrafficSeen], bool]  # False: there is no such target


def _clocks() -> Clocks:
    return Clocks(now=time.monotonic(), wall=datetime.now(UTC))


class Api:
    """Answers HTTP requests from the board's snapshots."""

    def __init__(
        self,
        board: Board,
        *,
        operate: Operate,
        report: Report,
        history: History,
        holds: Holds,
        incidents: Incidents,
        rereads: Rereads,
        services: Services,
        token: str,
        clocks: Callable[[], Clocks] = _clocks,
    ) -> None:
        self._board = board
        self._operate = operate
        self._report = report
        self._history = history
        self._token = token
        self._clocks = clocks
        self._turnstile = turnstile = Turnstile()
        self._operations = Operations(
            board, holds=holds, incidents=incidents, authorize=self._authorize, turnstile=turnstile
        )
        self._reloads = Reloads(rereads, authorize=self._authorize)
        self._streams = Streams(board)
        self._described = openapi.document()
        self._balancers = Balancers(board)
        self._past = Past(board, history=history, acts=services.acts, turnstile=turnstile)
        self._tending = Tending(board, services=services, authorize=self._authorize)
        self._logs = Logs(board, services=services, authorize=self._authorize)

    def app(self, *, trusted: bool) -> Starlette:
        """Return the application; `trusted` where whoever can connect may also change things (the unix socket)."""
        routes = [
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/openapi.json", self._openapi),
            Route("/v1/liveness", self._liveness),
            *self._balancers.routes(),
            *self._past.routes(),
            Route("/v1/events", self._streams.answer),
            Route("/v1/status", self._status),
            Route("/v1/targets/{name}/why", self._turnstile.through(self._why)),
            *self._reloads.routes(),
            *self._logs.routes(),
            *self._operations.routes(),  # before the verbs, whose route would take `hold` for one
            *self._tending.routes(),
            Route("/v1/targets/{name}/{verb}", self._target, methods=["POST"]),
            Route("/v1/observations", self._observations, methods=["POST"]),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: refuse, Exception: fail})
        app.state.trusted = trusted
        return app

    def settle(self, *, token: str) -> None:
        """Let in whoever knows this token from now on, and nobody who knew another."""
        self._token = token

    def end(self) -> None:
        """Let go whoever is being told for as long as we live."""
        self._board.feed.end()
        self._logs.end()

    async def _livez(self, _: Request) -> Response:
        if self._board.ticks:
            return JSONResponse({"status": "ok"})
        return answer_error(
            503, "LoopLate", "a target's owner has not taken a turn for too long; restart the supervisor"
        )

    async def _readyz(self, _: Request) -> Response:
        if self._board.ticks and self._board.has_looked:
            return JSONResponse({"status": "ok"})
        return answer_error(503, "NotYet", "not every target has been looked at yet; ask again in a few seconds")

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(self._described)

    async def _liveness(self, request: Request) -> Response:
        document = self._board.document
        headers = {
            "ETag": document.etag,
            "Liveness-Expires-At": document.expires_at,
            "Cache-Control": "no-cache",
        }
        if document.etag in _etags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(document.body, media_type="application/json", headers=headers)

    async def _status(self, _: Request) -> Response:
        return JSONResponse(self._board.status())

    async def _why(self, request: Request) -> Response:
        snapshot, clocks = known(request, self._board), self._clocks()
        transitions = await self._history(snapshot.name, TRANSITIONS)
        return answer_document(why(snapshot, clocks=clocks, transitions=transitions))

    async def _observations(self, request: Request) -> Response:
        self._authorize(request)
        try:
            reports = parse(await _body(request, most=MAX_BODY_BYTES))
        except BadReportError as error:
            raise HTTPException(400, str(error)) from error
        taken = 0
        unknown: dict[str, None] = {}
        for each in reports:
            if self._report(target_of(each.backend, self._board.snapshots), each.seen):
                taken += 1
            else:
                unknown[printable(each.backend, most=MAX_ERROR)] = None
        return JSONResponse({"taken": taken, "unknown": list(unknown)}, status_code=202)

    async def _target(self, request: Request) -> Response:
        self._authorize(request)
        name = known(request, self._board).name
        verb = _verb(request.path_params["verb"])
        within_s, drains = wait_s(request, usual_s=DEFAULT_WAIT_S), flag(request, "drain", usual=True)
        outcome = await self._operate(name, verb, within_s, drains)
        after = self._board.find(name)  # it may be watched no more
        state = word(after.state) if after else Word.UNKNOWN
        told = {"name": name, "verb": str(verb), "outcome": outcome.outcome, "message": outcome.message}
        return JSONResponse({**told, "stopped": list(outcome.stopped), "state": str(state)})

    def _authorize(self, request: Request) -> None:
        """Let those in who may open the unix socket, and those who know the token; everybody else is refused."""
        if request.app.state.trusted:
            return
        if not self._token:
            why = "changes come in, and logs go out, by the unix socket only; set http.token to allow both here"
            raise HTTPException(403, why)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        matches = hmac.compare_digest(given.strip().encode("latin-1"), self._token.encode())
        if scheme.lower() != "bearer" or not matches:
            why = "the token is missing or wrong; send it as 'Authorization: Bearer …'"
            raise HTTPException(401, why, headers={"WWW-Authenticate": "Bearer"})


async def _body(request: Request, *, most: int) -> bytes:
    """Return the body, as long as it is no longer than it may be."""
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                raise HTTPException(413, f"the body is longer than {most} bytes; send fewer at once")
    except ClientDisconnect as error:
        raise HTTPException(400, "the body broke off") from error
    return body


def _etags(header: str) -> set[str]:
    """Return the validators in the weak form that we make; comparing weakly is what they are for."""
    return {f"W/{each.strip().removeprefix('W/')}" for each in header.split(",")}


def _verb(word: str) -> Verb:
    try:
        return Verb(word)
    except ValueError as error:
        verbs = ", ".join([*Verb, "hold", "release", "drain", "probe", "signal"])
        raise Refusal(404, "NoSuchVerb", f"cannot {word} a target; known are {verbs}") from error
