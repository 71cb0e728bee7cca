"""Calls to the Docker engine, bounded in time and in number, with the SDK's errors turned into ours.

At most one call per lane is under way: a call that the engine never answers keeps its thread, and nobody may pile
more threads upon it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from docker import APIClient
from docker.errors import APIError, NotFound

from supervisor.engines.docker_pool import SDK_ERRORS, ClientPool
from supervisor.engines.masked import without_secrets
from supervisor.errors import EngineRefused, EngineUnreachable, SupervisorError, TargetMissing

T = TypeVar("T")

# From whoever stands before the engine: a proxy, or an authorisation plugin of the engine's own.
DENIED = 403
NO_ENGINE_BEHIND = frozenset({502, 503, 504})
ALLOW = "let the proxy or the plugin allow the calls that docs/security.md lists"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """An answer that the engine owes us; past `due_at` it is overdue."""

    what: str
    asked_at: float
    due_at: float
    future: Future[Any]


class EngineCalls:
    """Asks the engine through a pool of threads and waits no longer than told."""

    def __init__(self, *, host: str, client_timeout_s: float, workers: int) -> None:
        self._host = host
        self._workers = workers
        self._pool = ClientPool(host=host, timeout_s=client_timeout_s, workers=workers)
        self._owed: dict[Hashable, Owed] = {}

    async def ask(self, lane: Hashable, what: str, work: Callable[[APIClient], T], *, limit_s: float) -> T:
        """Return what `work` returns. `what` completes "Docker did not ..." for the errors.

        A call in the same lane waits for an earlier one, but fails at once if that one is overdue. Not cancel-safe:
        once a thread has begun, the call runs on.

        Raises:
            EngineUnreachable: no answer within `limit_s`, or none at all.
            EngineRefused: the engine said no.
            TargetMissing: the engine has no such container.
        """
        future: Future[T] | None = None
        try:
            async with asyncio.timeout(limit_s):
                await self._turn_in(lane, what)
                future = self._pool.submit(work)
                now = time.monotonic()
                self._owed[lane] = Owed(what=what, asked_at=now, due_at=now + limit_s, future=future)
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise EngineUnreachable(self._too_late(what, future, limit_s=limit_s)) from error
        except SDK_ERRORS as error:
            raise translated(error, what=what, host=self._host) from error

    def refuse_if_busy(self, lane: Hashable, what: str) -> None:
        """Raise EngineUnreachable if a call in this lane is still unanswered."""
        owed = self._owed.get(lane)
        if owed is not None and not owed.future.done():
            age_s = time.monotonic() - owed.asked_at
            raise EngineUnreachable(
                f"Docker was not asked to {what}: it still owes the answer to an earlier call, to {owed.what},"
                f" for {age_s:.1f}s; look for a stuck container with `docker ps`"
            )

    def forget(self, name: str) -> None:
        """Forget the answers to calls about `name`, in whose lanes it is the second part; one that is owed is kept."""
        lanes = [lane for lane in self._owed if isinstance(lane, tuple) and lane[1] == name]
        for lane in lanes:
            if self._owed[lane].future.done():
                del self._owed[lane]

    def close(self) -> None:
        """Begin nothing more; calls under way run on, and nobody waits for them."""
        self._pool.close()

    async def _turn_in(self, lane: Hashable, what: str) -> None:
        while (owed := self._owed.get(lane)) is not None and not owed.future.done():
            if time.monotonic() >= owed.due_at:
                self.refuse_if_busy(lane, what)
            await _finished(owed.future)

    def _too_late(self, what: str, future: Future[Any] | None, *, limit_s: float) -> str:
        if future is None:
            return f"Docker was not asked to {what} within {limit_s:g}s: it still owes the answer to an earlier call"
        if future.cancelled():
            return f"Docker was not asked to {what} within {limit_s:g}s: all {self._workers} threads wait for answers"
        return f"Docker did not {what} within {limit_s:g}s; the engine hangs, or the container is stuck"


async def _finished(future: Future[Any]) -> None:
    """Wait until `future` is done, whatever came of it."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it went whoever waited
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    await done.wait()


def translated(error: Exception, *, what: str, host: str) -> SupervisorError:
    """Return our error for one of the SDK's."""
    answer = _answer(error)
    if answer is None or answer.status_code in NO_ENGINE_BEHIND:
        return EngineUnreachable(f"Docker did not {what}: no answer at {host}: {reason(error)}")
    if answer.status_code == DENIED:
        return EngineRefused(f"Docker did not {what}: {reason(error)}")
    kind = TargetMissing if isinstance(answer, NotFound) else EngineRefused
    return kind(f"Docker did not {what}: {_words(answer)}")


def _answer(error: BaseException) -> APIError | None:
    """Return what came over HTTP instead of what was asked for; None where nothing came."""
    answers = (cause for cause in _causes(error) if isinstance(cause, APIError) and cause.response is not None)
    return next(answers, None)


def _words(error: APIError) -> str:
    """Return the engine's own words, which may quote the command line of a container; of a page nothing."""
    words = str(error.explanation or error)
    return str(error.status_code) if words.lstrip().startswith("<") else without_secrets(words)


def reason(error: BaseException) -> str:
    """Return why the engine could not be talked to, in words that say what to do."""
    answer = _answer(error)
    if answer is not None and answer.status_code == DENIED:
        return f"it was denied before it came to the engine ({_words(answer)}); {ALLOW}"
    if answer is not None and answer.status_code in NO_ENGINE_BEHIND:
        return f"a proxy answers, and no engine behind it ({answer.status_code}); is the engine running?"
    chain = list(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in chain):
        return "permission denied; run the daemon as root or in the group that owns the socket"
    if any(isinstance(cause, FileNotFoundError) for cause in chain):
        return "there is no such socket; is the engine running, and is docker.host right?"
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return "connection refused; is the engine running, and is docker.host right?"
    if any(isinstance(cause, (TimeoutError, requests.Timeout)) for cause in chain):
        return "it took too long; the engine hangs, or the container is stuck and cannot be killed"
    return str(error) or type(error).__name__


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes
