"""`POST /v1/targets/{name}/signal|probe|drain`: what an operator does to a target that goes on running.

It checks what is asked for and passes it on; it decides nothing.
"""

import signal
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.core.liveness import word
from supervisor.publish.answers import answer_document
from supervisor.publish.asked import flag, for_s, hold_until, known, wait_s, why
from supervisor.publish.board import Board
from supervisor.publish.services import Services

PROBED_WITHIN_S = 60.0  # where nobody says how long to wait
SIGNALS = {each.name.removeprefix("SIG"): each for each in signal.Signals if not each.name.startswith("SIGRT")}


class Tending:
    """Answers the requests about one target that are neither start, stop nor hold."""

    def __init__(self, board: Board, *, services: Services, authorize: Callable[[Request], None]) -> None:
        """`authorize` raises where the request may change nothing."""
        self._board = board
        self._services = services
        self._authorize = authorize

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("/v1/targets/{name}/probe", self._probe, methods=["POST"]),
            Route("/v1/targets/{name}/drain", self._drain, methods=["POST"]),
            Route("/v1/targets/{name}/signal", self._signal, methods=["POST"]),
        ]

    async def _probe(self, request: Request) -> Response:
        self._authorize(request)
        name = known(request, self._board).name
        probed = await self._services.probe(
            name,
            wait_s=wait_s(request, usual_s=PROBED_WITHIN_S),
            patient=flag(request, "patient"),
            wakes=flag(request, "wake"),
        )
        state = known(request, self._board).state
        first_token_s = probed.first_token_s
        told = {
            "name": name,
            "asked": probed.asked,
            "ok": probed.ok,
            "verdict": str(state.judgement.verdict),
            "state": str(word(state)),
            "reply": None if probed.reply is None else str(probed.reply),
            "first_token_ms": None if first_token_s is None else round(first_token_s * 1000, 1),
            "detail": probed.detail,
        }
        return answer_document(told)

    async def _drain(self, request: Request) -> Response:
        self._authorize(request)
        name = known(request, self._board).name
        drained = await self._services.drain(
            name, for_s=for_s(request), why=why(request), wait_s=wait_s(request, usual_s=0.0)
        )
        told = {
            "name": name,
            "drained": drained.is_drained,
            "until": hold_until(drained.hold),
            "serves_nobody": drained.serves_nobody,
        }
        return answer_document(told)

    async def _signal(self, request: Request) -> Response:
        self._authorize(request)
        name, number = known(request, self._board).name, _number(request)
        outcome = await self._services.signal(name, number)
        state = known(request, self._board).state
        told = {"name": name, "signal": number.name, "outcome": outcome.outcome, "message": outcome.message}
        return answer_document({**told, "state": str(word(state))})


def _number(request: Request) -> signal.Signals:
    text = request.query_params.get("signal", "")
    plain = text.upper().removeprefix("SIG")
    by_number = {str(int(each)): each for each in SIGNALS.values()}
    found = SIGNALS.get(plain) or by_number.get(plain)
    if found is None:
        raise HTTPException(400, f"signal = {text!r} is no signal; known are {', '.join(SIGNALS)}")
    return found
