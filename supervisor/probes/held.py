"""Hold one question to a server open, however many looks wait for it. Knows nothing of what is asked, or why.

No server takes a question that we dropped out of its queue: it keeps its place there, and on an old llama.cpp one of
three HTTP threads, until it is answered to nobody. So a look that runs out of time leaves its question open and the
next one goes on waiting for it: a second is never beside it.
"""

import abc
import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import httpx

from supervisor.core.observations import Kind, Reply
from supervisor.probes import http
from supervisor.probes.base import Counters

MAX_BYTES = 4 * 1024 * 1024  # old llama.cpp repeats whole prompts in its slots
HELD_AT_MOST_S = 600.0  # older, its connection has died without a word: a host that slept, a firewall that forgot it
TOLD_WITHIN_S = (
    10.0  # an answer that came between two looks is told by the second, unless it has lain about for so long
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a server answered to one question."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HeldLooks(abc.ABC):
    """A progress probe that has at most one question under way; a subclass says which, and reads the answers."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        kind: Kind | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.kind = kind
        self.sleeps = False  # once seen, it holds for the whole life of the server
        self._clock = clock
        self._path = ""
        self._task: asyncio.Task[Counters] | None = None
        self._began_at = self._ended_at = 0.0

    @abc.abstractmethod
    async def ask(self, *, gently: bool) -> Counters:
        """Ask the server, one question after the other, for as long as it takes."""

    def forget(self) -> None:
        """Drop what is known of a life that has ended."""
        self.sleeps = False

    def signed(self, seen: Counters) -> Counters:
        """Return what was seen together with what is known of the server, however it answered."""
        return replace(seen, kind=self.kind, sleeps=self.sleeps)

    @property
    def asking(self) -> str:
        """The path that was asked for last."""
        return self._path

    async def get(self, path: str) -> Said:
        """Ask for one path and read the answer, within bounds."""
        self._path = path
        async with self.client.stream("GET", path) as response:
            body = await http.read(response, max_bytes=MAX_BYTES)
        return Said(response.status_code, response.headers, body)

    async def look(self, *, timeout_s: float, gently: bool = False) -> Counters:
        """Return what the counters say; at most `timeout_s` seconds pass.

        Cancelling it leaves the question open for the next look.
        """
        late = self._take_late()
        if self._task is None:
            self._began_at = self._clock()
            # It outlives the look that began it, so it is in no group; `let_go` ends it.
            self._task = asyncio.create_task(self._answer(gently=gently))
        task = self._task
        await asyncio.wait({task}, timeout=timeout_s)
        if not task.done():
            return self.signed(late or Counters(reply=Reply.SILENT, detail=self._silence()))
        if self._task is task:
            self._task = None
        if task.cancelled():
            return Counters(reply=Reply.NOT_RUN, detail="the question was let go")
        return self.signed(task.result())

    def let_go(self) -> None:
        """Drop the question that is held open, and whatever is known of a life that has ended."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.forget()

    def _take_late(self) -> Counters | None:
        """Return an answer that came after the last look had left; drop a question that is too old to be answered."""
        task, now = self._task, self._clock()
        if task is None:
            return None
        if task.done():
            self._task = None
            is_fresh = not task.cancelled() and now - self._ended_at <= TOLD_WITHIN_S
            return task.result() if is_fresh else None
        if now - self._began_at > HELD_AT_MOST_S:
            task.cancel()
            self._task = None
        return None

    def _silence(self) -> str:
        return f"{self.asking} silent for {self._clock() - self._began_at:.1f}s"

    async def _answer(self, *, gently: bool) -> Counters:
        try:
            return await self.ask(gently=gently)
        except http.BodyTooLongError as error:
            return Counters(reply=Reply.INVALID, detail=f"{self.asking}: {error}")
        except httpx.HTTPError as error:
            return Counters(reply=http.reply_to(error), detail=f"{self.asking}: {http.detail_of(error)}")
        except OSError as error:
            return Counters(reply=Reply.NOT_RUN, detail=http.detail_of(error))
        finally:
            self._ended_at = self._clock()


def refusal(path: str, said: Said) -> Counters:
    """Say in our words why an answer holds no counters."""
    if http.is_loading(said.status, said.body):
        return Counters(reply=Reply.LOADING, detail=f"{path}: loading its model")
    detail = f"{path}: status {said.status}"
    if said.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Counters(reply=Reply.DENIED, detail=detail)
    # 501 is llama.cpp's word for what was not switched on.
    is_failure = said.status >= httpx.codes.INTERNAL_SERVER_ERROR and said.status != httpx.codes.NOT_IMPLEMENTED
    return Counters(reply=Reply.FAILED if is_failure else Reply.UNSUPPORTED, detail=detail)
