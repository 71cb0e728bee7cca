"""Ask model servers until one answers, and let go of one as soon as the supervisor says that it will not.

The half of the demo router that faces the model servers. Nothing in it waits without a deadline.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import httpx

from examples.telling import ERROR_INSIDE, NoAnswer, is_out, tell_failure, tell_success, verdict_on
from supervisor.client import Backend, Choice, Liveness

AT_ONCE = 2  # so that second tries at most double the load
MAX_ANSWER_BYTES = 32 << 20  # of an answer in one piece
MAX_REASON_CHARS = 200

log = logging.getLogger("router")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for what."""

    connect_s: float = 1.0
    first_byte_s: float = 300.0  # busy is not hung, and a long answer on a CPU takes minutes
    blind_s: float = 60.0  # the same while no supervisor vouches for anybody
    second_try_s: float = 1.5  # silence after which another backend is asked too, where there is one
    idle_s: float = 120.0  # between two pieces of a stream
    quiet_s: float = 2.0  # the same, from a backend that is known to be lost
    watch_s: float = 0.25  # between two looks at the liveness, each an os.stat


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request, and who may answer it."""

    path: str
    body: bytes
    pick: Callable[[], Choice]  # asked again and again: the answer changes while we wait
    client_left: "asyncio.Future[None]"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a backend sent: all of it, or of a stream the first piece; `rest` gives the others as they come."""

    backend: Backend
    response: httpx.Response
    body: bytes
    rest: AsyncIterator[bytes] | None = None
    first_token_s: float | None = None  # seen in streams alone


class NobodyAnswered(Exception):
    """No candidate answered; the message says what became of each."""

    def __init__(self, message: str, *, retry_after_s: float, too_late: bool) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.too_late = too_late


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class Asking:
    """One question and everybody who was asked it; whoever is still at it in the end is called off."""

    def __init__(self, client: httpx.AsyncClient, liveness: Liveness, patience: Patience, question: Question) -> None:
        self._client = client
        self._liveness = liveness
        self._patience = patience
        self._question = question
        self._running: dict[asyncio.Task[Answer], Backend] = {}
        self._asked_at_s: dict[str, float] = {}
        self._failures: list[str] = []
        self._clock = asyncio.get_running_loop().time
        self._began_s = self._vouched_at_s = self._last_try_s = self._clock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        for outcome in await asyncio.gather(*self._running, return_exceptions=True):
            if isinstance(outcome, Answer):
                await outcome.response.aclose()

    async def first(self) -> Answer:
        """Return the first answer.

        Raises:
            NobodyAnswered: all failed, or none may be asked, or it took too long.
            ClientLeft: the client hung up.
        """
        left = self._question.client_left
        while True:
            choice = self._question.pick()
            await self._drop_who_is_out()
            self._ask_another(choice)
            self._give_up_where_hopeless(choice)
            waiting_for: set[asyncio.Future[Any]] = {left, *self._running}
            await asyncio.wait(waiting_for, timeout=self._patience.watch_s, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                raise ClientLeft
            for task in [task for task in self._running if task.done()]:
                if answer := self._take(task):
                    return answer

    async def _drop_who_is_out(self) -> None:
        for task, backend in list(self._running.items()):
            if is_out(self._liveness, backend.name) and not task.done():
                del self._running[task]
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                self._note(backend, f"abandoned, {verdict_on(self._liveness, backend.name)}")

    def _ask_another(self, choice: Choice) -> None:
        other = next((backend for backend in choice.candidates if backend.name not in self._asked_at_s), None)
        if other and (not self._running or self._wants_second_try(choice, other)):
            self._asked_at_s[other.name] = self._last_try_s = self._clock()
            self._running[asyncio.create_task(self._ask(other))] = other

    def _wants_second_try(self, choice: Choice, other: Backend) -> bool:
        silent_long = self._clock() - self._last_try_s >= self._patience.second_try_s
        if not choice.known:
            return silent_long  # nobody watches those we wait for, so all are asked in turn
        weights = {backend.name: backend.weight for backend in choice.candidates}
        # Whoever is out of routing by now is hardly a hope: beside one of those and a busy one, nobody would answer.
        hopes = [weights[backend.name] for backend in self._running.values() if backend.name in weights]
        if len(hopes) >= AT_ONCE:
            return False
        return not hopes or (silent_long and other.weight >= max(hopes))

    def _give_up_where_hopeless(self, choice: Choice) -> None:
        now_s = self._clock()
        if choice.known:
            self._vouched_at_s = now_s
        blind = now_s - self._vouched_at_s >= self._patience.blind_s
        too_late = blind or now_s - self._began_s >= self._patience.first_byte_s
        if too_late:
            self._tell_of_silence(self._patience.blind_s if blind else self._patience.first_byte_s)
            self._failures.append(f"no answer after {now_s - self._began_s:.0f} s")
        if too_late or not self._running:
            message = "; ".join(self._failures) or choice.reason or "no model server is known for this model"
            raise NobodyAnswered(message, retry_after_s=choice.retry_after_s, too_late=too_late)

    def _tell_of_silence(self, limit_s: float) -> None:
        for backend in self._running.values():
            silent_s = self._clock() - self._asked_at_s[backend.name]
            if silent_s >= limit_s / 2:  # one that was asked only lately has not failed
                tell_failure(self._liveness, backend, NoAnswer(f"no answer after {silent_s:.0f} s"))

    async def _ask(self, backend: Backend) -> Answer:
        url = f"{backend.url.rstrip('/')}{self._question.path}"
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        request = self._client.build_request("POST", url, content=self._question.body, headers=headers)
        response = await self._client.send(request, stream=True)
        try:
            answer = await _read(backend, response)
            first_token_s = self._clock() - self._asked_at_s[backend.name] if answer.rest else None
            return replace(answer, first_token_s=first_token_s)
        except BaseException:
            await response.aclose()
            raise

    def _take(self, task: asyncio.Task[Answer]) -> Answer | None:
        backend = self._running.pop(task)
        try:
            answer = task.result()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self._note(backend, str(error) or type(error).__name__)
            tell_failure(self._liveness, backend, error)
            return None
        status = answer.response.status_code
        if _is_its_own_failure(status):
            self._note(backend, f"answered {status}: {answer.body.decode(errors='replace')[:MAX_REASON_CHARS]}")
            if status != httpx.codes.TOO_MANY_REQUESTS:
                tell_failure(self._liveness, backend, NoAnswer(f"answered {status}"))
            return None
        if answer.response.is_success and not answer.rest and not ERROR_INSIDE.search(answer.body):
            tell_success(self._liveness, backend, first_token_s=None)
        return answer

    def _note(self, backend: Backend, what: str) -> None:
        log.warning("%s after %.1f s: %s", backend.name, self._clock() - self._began_s, what)
        self._failures.append(f"{backend.name}: {what}")


def _is_its_own_failure(status: int) -> bool:
    # Any other 4xx is about the request, and the next backend would say the same.
    return status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS


async def _read(backend: Backend, response: httpx.Response) -> Answer:
    pieces = response.aiter_raw()
    body = b""
    if response.is_success and response.headers.get("content-type", "").startswith("text/event-stream"):
        # The head alone proves nothing: some servers send it before they have begun.
        if not (body := await anext(pieces, b"")):
            raise NoAnswer("its stream ended before it began")
        return Answer(backend=backend, response=response, body=body, rest=pieces)
    async for piece in pieces:
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise NoAnswer(f"its answer is larger than {MAX_ANSWER_BYTES} bytes")
    return Answer(backend=backend, response=response, body=body)
