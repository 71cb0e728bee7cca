"""The demo router: BenchAI's model names on one port, and a model server that hangs keeps nobody waiting.

What a router needs of the supervisor is on this page, in `candidates` and `answer`: ask before choosing, refuse at once
where a fresh document says that nobody can, and go on with your own table where nothing is known. `asking.py` and
`relaying.py` beside it hold what makes it never hang, `telling.py` what it tells the supervisor in return.

    python -m examples.router --liveness /run/benchai-supervisor/liveness.json --port 8085
"""

import argparse
import asyncio
import contextlib
import json
import logging
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import fields, replace
from functools import partial

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from examples.asking import Answer, Asking, ClientLeft, NobodyAnswered, Patience, Question
from examples.relaying import events
from supervisor.client import Backend, Choice, Liveness

CHAT = "/v1/chat/completions"
AUTO = "auto"
OWN_TABLE = (  # BenchAI's; `auto` tries them in this order where they are equally free
    Backend("general", "http://127.0.0.1:8091", models=("general",)),
    Backend("planner", "http://127.0.0.1:8092", models=("planner", "research")),
    Backend("code", "http://127.0.0.1:8093", models=("code",)),
    Backend("vision", "http://127.0.0.1:8094", models=("vision",)),
)
LIVENESS = "/run/benchai-supervisor/liveness.json"
MAX_BODY_BYTES = 10 << 20
UPLOAD_S, DOWNLOAD_S = 30.0, 60.0  # for a client to send its request, and to take one piece of the answer
REFRESH_S = 0.5


class Router:
    """Which backend a model name means at this moment, and the way there and back."""

    def __init__(self, liveness: Liveness, own_table: Iterable[Backend], patience: Patience) -> None:
        self._liveness = liveness
        self._own_table = tuple(own_table)
        self._patience = patience
        # No connections are kept: one that a restarted server has dropped could cost a good request.
        self.client = httpx.AsyncClient(
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=httpx.Timeout(None, connect=patience.connect_s, write=UPLOAD_S),
        )

    @property
    def models(self) -> list[str]:
        """Every name that a client may ask for."""
        own = (alias for backend in self._own_table for alias in backend.models)
        return list(dict.fromkeys([AUTO, *own, *self._liveness.snapshot().models]))

    def candidates(self, model: str) -> Choice:
        """Return who may answer for `model` now, the best first."""
        if model != AUTO:
            return self._liveness.pick(model)
        choice = self._liveness.pick(*(backend.models[0] for backend in self._own_table))
        idlest_first = sorted(choice.candidates, key=lambda backend: (not backend.routable, -backend.weight))
        return replace(choice, candidates=tuple(idlest_first))

    async def answer(self, model: str, body: bytes, client_left: "asyncio.Future[None]") -> Response:
        """Have `body` answered by whoever can, or say at once that nobody can."""
        choice = self.candidates(model)
        if choice.refuse:
            return unavailable(choice.reason, choice.retry_after_s)
        question = Question(path=CHAT, body=body, pick=partial(self.candidates, model), client_left=client_left)
        try:
            async with Asking(self.client, self._liveness, self._patience, question) as asking:
                answer = await asking.first()
        except NobodyAnswered as nobody:
            return unavailable(str(nobody), nobody.retry_after_s, status=504 if nobody.too_late else 503)
        status, headers = answer.response.status_code, _headers(answer)
        if answer.rest is None:
            return Response(answer.body, status, headers)
        return Stream(events(answer, client_left, self._liveness, self._patience), status, headers)

    async def keep_fresh(self) -> None:
        """Fetch the liveness in a thread, again and again, so that no request of ours ever waits for that."""
        while True:
            await asyncio.to_thread(self._liveness.refresh)
            await asyncio.sleep(REFRESH_S)


class Stream(Response):
    """A response whose pieces are sent on as they come, to a client who takes them."""

    def __init__(self, pieces: AsyncGenerator[bytes], status: int, headers: dict[str, str]) -> None:
        super().__init__(None, status, headers)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it. A client that takes nothing is hung up on."""
        async with aclosing(self._pieces) as pieces:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in pieces:
                async with asyncio.timeout(DOWNLOAD_S):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


class Chat:
    """`POST /v1/chat/completions`; an application of its own, because it must hear of the client's leaving."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with contextlib.suppress(ClientDisconnect, ClientLeft, TimeoutError):
            body = await _upload(Request(scope, receive))
            async with _departure(receive) as client_left:
                response = await self._response(body, client_left)
                await response(scope, receive, send)

    async def _response(self, body: bytes, client_left: "asyncio.Future[None]") -> Response:
        if len(body) > MAX_BODY_BYTES:
            return error(413, f"the request is larger than {MAX_BODY_BYTES} bytes", code="request_too_large")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as wrong:
            return error(400, f"the request is not JSON: {wrong}", code="invalid_json")
        model = asked.get("model", AUTO) if isinstance(asked, dict) else None
        if not isinstance(model, str):
            return error(400, "the request is not an object with a model's name in `model`", code="invalid_request")
        if model not in self._router.models:
            known = ", ".join(self._router.models)
            return error(404, f"there is no model {model[:80]!r}; there are: {known}", code="model_not_found")
        return await self._router.answer(model, body, client_left)


def error(status: int, message: str, *, code: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind, "code": code}}, status, headers)


def unavailable(reason: str, retry_after_s: float, *, status: int = 503) -> Response:
    """Return a refusal that says why, and when to come back."""
    headers = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    code = "no_backend_available" if status == 503 else "no_answer_in_time"
    return error(status, reason, code=code, headers=headers)


def create_app(
    liveness: Liveness,
    own_table: Iterable[Backend] = OWN_TABLE,
    patience: Patience | None = None,
    *,
    poll: bool = False,
) -> Starlette:
    """Make the application; `poll` where reading the liveness may take time, as over HTTP."""
    router = Router(liveness, own_table, patience or Patience())

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})  # a constant, as BenchAI's: it says nothing about any model

    async def models(_: Request) -> Response:
        entries = [{"id": model, "object": "model", "created": 0, "owned_by": "benchai"} for model in router.models]
        return JSONResponse({"object": "list", "data": entries})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with router.client, asyncio.TaskGroup() as tasks:
            polling = [tasks.create_task(router.keep_fresh())] if poll else []
            yield
            for task in polling:
                task.cancel()
            await asyncio.to_thread(liveness.close)

    routes = [Route("/health", health), Route("/v1/models", models), Route(CHAT, Chat(router), methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


def _headers(answer: Answer) -> dict[str, str]:
    kind = answer.response.headers.get("content-type", "application/json")
    name = answer.backend.name.encode("ascii", "replace").decode()
    return {"Content-Type": kind, "Cache-Control": "no-store", "X-Backend": name}


async def _upload(request: Request) -> bytes:
    """Read the request's body, or as much of it as shows that it is too large."""
    body = bytearray()
    async with asyncio.timeout(UPLOAD_S):
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                break
    return bytes(body)


@contextlib.asynccontextmanager
async def _departure(receive: Receive) -> AsyncIterator["asyncio.Future[None]"]:
    """Give a future that is done once the client has hung up."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    waiting = asyncio.create_task(wait())
    try:
        yield waiting
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--liveness", default=LIVENESS, help="a path, http://host:port or unix:///a.sock (%(default)s)")
    parser.add_argument("--report-to", help="http://host:port or unix:///a.sock; by default where the liveness is")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8085)
    parser.add_argument(
        "--backend",
        metavar="NAME=URL",
        action="append",
        default=[],
        help="where a backend is, for the router's own table",
    )
    for wait in fields(Patience):
        parser.add_argument(f"--{wait.name.replace('_', '-')}", type=float, default=wait.default)
    asked = vars(parser.parse_args())
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    own_table = _own_table(asked["backend"])
    patience = Patience(**{wait.name: asked[wait.name] for wait in fields(Patience)})
    token = os.environ.get("BENCHAI_SUPERVISOR_TOKEN")  # needed to report over http://
    liveness = Liveness(asked["liveness"], own_table=own_table, report_to=asked["report_to"], token=token)
    app = create_app(liveness, own_table, patience, poll="://" in asked["liveness"])
    uvicorn.run(app, host=asked["host"], port=asked["port"], log_level="warning", timeout_graceful_shutdown=3)


def _own_table(places: Iterable[str]) -> list[Backend]:
    table = {backend.name: backend for backend in OWN_TABLE}
    for place in places:
        name, _, url = place.partition("=")
        table[name] = replace(table.get(name) or Backend(name, url, models=(name,)), url=url)
    return list(table.values())


if __name__ == "__main__":
    main()
