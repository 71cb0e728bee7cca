"""Stand between the router and its model servers: no request goes to one that is out, none waits for one that is lost.

It meets every request that httpx sends to a backend's address, whichever function of the router sends it, and tells
the supervisor what became of it. Nothing of what was asked or answered is kept or told.
"""

from __future__ import annotations

import asyncio
import errno
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx

from .desk import Backend, Desk
from .words import ATTEMPT, Attempt

WATCH_S = 0.25  # between two looks at the liveness, each an os.stat
QUIET_S = 2.0  # a stream that still moves is left alone, whatever is said of its server
END_OF_ANSWER = b"data: [DONE]"
ERROR_INSIDE = re.compile(rb'(?:^|\n)(?:data:\s*)?\{\s*"error"\s*:|^error:')
# A router that has run out of something can reach nobody, and nobody is to blame.
OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)
INFERENCE = ("/completions", "/completion", "/embeddings", "/infill")

Send = Callable[..., Awaitable[httpx.Response]]


def watch_requests(desk: Desk) -> None:
    """Have `desk` asked about every request that httpx sends from now on."""
    original: Send = httpx.AsyncClient.send
    original = getattr(original, "unguarded", original)

    async def send(client: httpx.AsyncClient, request: httpx.Request, **how: Any) -> httpx.Response:
        home = desk.backend_at(request.url.host, request.url.port or 80) if _is_inference(request) else None
        if home is None:
            return await original(client, request, **how)
        return await _Asking(desk, original, client, how).answer(request, home)

    send.unguarded = original  # type: ignore[attr-defined]
    httpx.AsyncClient.send = send  # type: ignore[assignment]


class _Asking:
    """One request of the router's, sent to one backend after the other until one answers."""

    def __init__(self, desk: Desk, send: Send, client: httpx.AsyncClient, how: dict[str, Any]) -> None:
        self._desk = desk
        self._send = send
        self._client = client
        self._how = how
        self._attempt = ATTEMPT.get() or Attempt(None)

    async def answer(self, request: httpx.Request, home: Backend) -> httpx.Response:
        """Return the first answer, or raise what httpx raises where there is none."""
        self._attempt.reached = True
        tried: set[str] = set()
        failure: httpx.TransportError | None = None
        while backend := self._next(home, tried):
            tried.add(backend.name)
            self._attempt.asked.add(backend.name)
            try:
                response = await self._ask(backend, request if backend is home else _sent_to(backend, request))
            except httpx.TransportError as error:
                failure = error
                if isinstance(error, (httpx.ReadTimeout, httpx.WriteTimeout)):
                    break  # the router's own patience is over: nobody else may take as long again
                continue
            if _is_its_own_failure(response.status_code) and self._next(home, tried):
                await response.aclose()
                continue
            return response
        if failure is None:
            self._attempt.note(self._desk.word_on(home.name))
            failure = httpx.ConnectError(self._desk.word_on(home.name), request=request)
        raise failure

    def _next(self, home: Backend, tried: set[str]) -> Backend | None:
        candidates = self._desk.candidates(self._attempt.alias, home)
        return next((home if each.name == home.name else each for each in candidates if each.name not in tried), None)

    async def _ask(self, backend: Backend, request: httpx.Request) -> httpx.Response:
        began_s = time.monotonic()
        try:
            sending = self._send(self._client, request, **self._how)
            response: httpx.Response = await _watched(sending, self._desk, backend, request)
        except httpx.TransportError as error:
            _note(self._desk, self._attempt, backend, error)
            raise
        if response.status_code >= 400:
            self._attempt.note(f"{backend.name} answered {response.status_code}", status=response.status_code)
            if _is_its_own_failure(response.status_code) and response.status_code != 429:
                self._desk.liveness.report(backend, ok=False, error=f"answered {response.status_code}")
            return response
        self._attempt.clear()
        if self._how.get("stream"):
            response.stream = _Stream(response, self._desk, self._attempt, backend, began_s)
        elif not ERROR_INSIDE.search(response.content):
            self._desk.liveness.report(backend, ok=True)
        return response


class _Stream(httpx.AsyncByteStream):
    """A streamed answer on its way to the router."""

    def __init__(
        self, response: httpx.Response, desk: Desk, attempt: Attempt, backend: Backend, began_s: float
    ) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - an AsyncClient's is
        self._inner = response.stream
        self._request = response.request
        self._desk, self._attempt, self._backend = desk, attempt, backend
        self._began_s = began_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = self._inner.__aiter__()
        first_token_s: float | None = None
        last, is_well = b"", True
        while True:
            try:
                piece = await _watched(_piece(pieces), self._desk, self._backend, self._request, QUIET_S)
            except httpx.TransportError as error:
                _note(self._desk, self._attempt, self._backend, error)
                raise
            if piece is None:
                return
            if first_token_s is None:
                first_token_s = time.monotonic() - self._began_s
            if is_well and ERROR_INSIDE.search(piece):
                is_well = False
                self._attempt.note(f"{self._backend.name} broke off with an error")
            last = (last + piece)[-len(END_OF_ANSWER) - len(piece) :]  # it may come in two pieces
            if is_well and END_OF_ANSWER in last:
                is_well = False  # told once
                self._desk.liveness.report(self._backend, ok=True, first_token_s=first_token_s)
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _piece(pieces: AsyncIterator[bytes]) -> bytes | None:
    async for piece in pieces:
        return piece
    return None


async def _watched(
    waiting: Awaitable[Any], desk: Desk, backend: Backend, request: httpx.Request, quiet_s: float = 0.0
) -> Any:
    """Wait, but not for a backend that is lost. Raises httpx.ReadError then."""
    began_s = time.monotonic()
    task = asyncio.ensure_future(waiting)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=WATCH_S)
            is_quiet = time.monotonic() - began_s >= quiet_s
            if is_quiet and not task.done() and desk.is_lost(backend.name):
                break
        else:
            return task.result()
    except asyncio.CancelledError:
        await _let_go(task)
        raise
    await _let_go(task)
    raise httpx.ReadError(f"given up, {desk.word_on(backend.name)}", request=request)


async def _let_go(task: asyncio.Future[Any]) -> None:
    task.cancel()
    for outcome in await asyncio.gather(task, return_exceptions=True):
        if isinstance(outcome, httpx.Response):
            await outcome.aclose()


def _note(desk: Desk, attempt: Attempt, backend: Backend, error: httpx.TransportError) -> None:
    what = str(error) or type(error).__name__
    said = what if backend.name in what else f"{backend.name}: {what}"
    attempt.note(said, is_too_late=isinstance(error, httpx.TimeoutException))
    if not desk.is_lost(backend.name) and not _is_our_own(error):  # else the supervisor has said so itself
        desk.liveness.report(backend, ok=False, error=type(error).__name__)


def _is_inference(request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path.endswith(INFERENCE)


def _is_its_own_failure(status: int) -> bool:
    return status >= 500 or status == 429


def _sent_to(backend: Backend, request: httpx.Request) -> httpx.Request:
    url = httpx.URL(backend.url)
    headers = [(name, value) for name, value in request.headers.multi_items() if name != "host"]
    there = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)
    return httpx.Request(request.method, there, headers=headers, content=request.content, extensions=request.extensions)


def _is_our_own(error: BaseException) -> bool:
    return any(isinstance(cause, OSError) and cause.errno in OUT_OF for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
