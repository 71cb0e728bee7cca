"""For whoever balances load and knows only statuses: one backend, one model, and where everything is for Prometheus."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from supervisor.core.liveness import Snapshot
from supervisor.publish.answers import answer_document, no_such
from supervisor.publish.board import Board

UNKNOWN_RETRY_S = 60  # where a person must act first: the header is no promise, and `retry_after_s` is null
PORTS = {"http": 80, "https": 443}
Entry = Mapping[str, Any]


class Balancers:
    """Answers by status: 200 is routable, 503 is not."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("/v1/backends/{name}", self._backend),
            Route("/v1/models/{alias:path}/ready", self._ready),  # many a model's name has a slash in it
            Route("/v1/http_sd", self._http_sd),
        ]

    async def _backend(self, request: Request) -> Response:
        name, entries = request.path_params["name"], self._board.backends()
        entry = next((each for each in entries if each["name"] == name), None)
        if entry is None:
            raise no_such("backend", name, (each["name"] for each in entries))
        told = {key: entry[key] for key in ("name", "routable", "verdict", "reason", "message", "retry_after_s")}
        return answer_document(told) if entry["routable"] else _unavailable(told, [entry])

    async def _ready(self, request: Request) -> Response:
        alias, entries = request.path_params["alias"], self._board.backends()
        behind = [each for each in entries if alias in each["models"]]
        if not behind:
            raise no_such("model", alias, dict.fromkeys(alias for each in entries for alias in each["models"]))
        routable = sorted((each for each in behind if each["routable"]), key=lambda each: -each["weight"])
        keys = ("name", "url", "weight", "verdict")
        told = {
            "alias": alias,
            "routable": bool(routable),
            "backends": [{key: e[key] for key in keys} for e in routable],
        }
        if routable:
            return answer_document(told)
        why = "; ".join(f"{each['name']}: {each['verdict']}, {each['message']}" for each in behind)
        told |= {"retry_after_s": _soonest_s(behind), "error": {"code": "NothingRoutable", "message": why}}
        return _unavailable(told, behind)

    async def _http_sd(self, _: Request) -> Response:
        return JSONResponse([_group(each) for each in self._board.snapshots])


def _unavailable(told: Mapping[str, Any], behind: Sequence[Entry]) -> Response:
    soonest_s = _soonest_s(behind)
    retry_s = UNKNOWN_RETRY_S if soonest_s is None else int(soonest_s)
    return answer_document(told, status=503, headers={"Retry-After": str(retry_s)})


def _soonest_s(behind: Sequence[Entry]) -> float | None:
    return min((each["retry_after_s"] for each in behind if each["retry_after_s"] is not None), default=None)


def _group(snapshot: Snapshot) -> dict[str, Any]:
    parts = urlsplit(snapshot.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    server = snapshot.evidence.kind
    labels = {
        "__scheme__": parts.scheme,
        "__meta_benchai_name": snapshot.name,
        "__meta_benchai_kind": snapshot.kind,
        # As Prometheus writes lists: every item lies between two commas, so that a rule can match a whole one.
        "__meta_benchai_models": "".join(f",{alias}" for alias in snapshot.models) + ("," if snapshot.models else ""),
        "__meta_benchai_server": "" if server is None else str(server),
    }
    return {"targets": [f"{host}:{parts.port or PORTS[parts.scheme]}"], "labels": labels}
