"""One probe of one server, without a daemon: the counters first, a canary where that hurts nobody, within a time.

It remembers nothing and restarts nothing: what a daemon would learn by looking on, one look cannot, and then it says
so. The words for shells and monitoring systems are in `cli/once_words.py`.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx

from supervisor.core.decide import least_lost
from supervisor.core.observations import Kind, Reply, Slot
from supervisor.core.verdict import CUT_OFF_BY_PROBES
from supervisor.engines.listener import Listener
from supervisor.probes import http
from supervisor.probes.answer import Checker
from supervisor.probes.base import Answer, Counters, ProgressProbe
from supervisor.probes.canary import Canary
from supervisor.probes.questions import CanaryKind
from supervisor.probes.witness import witness

LOOK_S = 1.0  # a look that takes longer is silent
BETWEEN_LOOKS_S = 0.5
IDLE_FOR_S = 1.5  # no CPU for so long while work stands still is a hang
RESERVE_S = 0.3  # before the time is over we answer
MODELS_S = 1.0
MAX_BYTES = 1 << 20


class Health(StrEnum):
    """What one probe can say."""

    READY = "ready"  # it answered
    BUSY = "busy"  # it was not asked, or has not answered yet, and it moves
    ASLEEP = "asleep"
    LOADING = "loading"
    UNSURE = "unsure"  # nothing moves, and nobody can tell whether it works
    HUNG = "hung"
    FAILING = "failing"
    DOWN = "down"
    MISCONFIGURED = "misconfigured"
    DENIED = "denied"  # the key is wrong: how it is, we are not told
    UNKNOWN = "unknown"  # our own failure, or there is no safe way to ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What came of it; `slots` are at work and in all, where it counts them."""

    health: Health
    detail: str
    took_s: float = 0.0
    first_token_s: float | None = None
    slots: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be probed, and how."""

    url: str
    model: str | None = None
    canary: CanaryKind = "chat"
    timeout_s: float = 10.0
    api_key: str = ""
    max_tokens: int = 8
    wakes: bool = False
    may_cut_off: bool = False


class Once:
    """One probe."""

    def __init__(self, wanted: Wanted, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted = wanted
        self._clock = clock
        self._began = clock()
        self._ends_at = self._began + wanted.timeout_s - min(RESERVE_S, wanted.timeout_s / 4)
        self._listener = Listener(wanted.url)
        self._slots: tuple[Slot, ...] = ()

    async def probe(self) -> Probed:
        """Return what can be said of it before the time is over."""
        client = http.client(self._wanted.url, api_key=self._wanted.api_key)
        looks = witness("auto", client, model=self._wanted.model)
        assert looks is not None, "only `none` has no witness"  # noqa: S101
        try:
            async with asyncio.timeout(self._left_s()):
                return await self._probe(client, looks)
        except TimeoutError:  # we may be late ourselves, so idle CPU is no evidence here
            late = f"nothing could be told within {self._wanted.timeout_s:g}s"
            return self._standing(late) if self._listener.burned else self._said(Health.UNSURE, late)
        finally:
            looks.let_go()
            with contextlib.suppress(Exception):
                await client.aclose()

    async def _probe(self, client: httpx.AsyncClient, looks: ProgressProbe) -> Probed:
        counters = await self._look(looks)
        if counters.reply is Reply.UNSUPPORTED and counters.kind is None:
            counters = await self._look(looks)  # one odd answer must not brand a server
        match counters.reply:
            case Reply.REFUSED | Reply.RESET:
                return self._said(Health.DOWN, counters.detail)
            case Reply.LOADING:
                return self._said(Health.LOADING, "loading its model")
            case Reply.NOT_RUN:
                return self._said(Health.UNKNOWN, counters.detail)
            case Reply.DENIED:
                return self._said(Health.DENIED, f"{counters.detail}: is the key right?")
            case Reply.SILENT:
                return await self._silent(looks)
            case Reply.ASLEEP if not self._wanted.wakes:
                return self._said(Health.ASLEEP, "it has put its model away; a canary would wake it")
        if counters.kind in CUT_OFF_BY_PROBES and not self._wanted.may_cut_off:
            said = "whatever is asked of llama-cpp-python cuts off whoever it serves: use the daemon, or --may-cut-off"
            return self._said(Health.UNKNOWN, said)
        if _is_full(counters):
            return await self._full(looks, counters)
        return await self._ask(client, looks, counters)

    async def _look(self, looks: ProgressProbe) -> Counters:
        counters = await looks.look(timeout_s=min(LOOK_S, self._left_s()))
        if counters.reply is Reply.ANSWERED:
            self._slots = counters.slots
        return counters

    async def _silent(self, looks: ProgressProbe) -> Probed:
        """Judge a server that does not say how it does: no canary, it would stay in its queue for ever."""
        while self._left_s() > BETWEEN_LOOKS_S:
            counters = await self._look(looks)
            if counters.reply is not Reply.SILENT:
                return self._said(Health.BUSY, "it answers, and takes its time")
            await self._listener.sample()
            if self._listener.idle_s >= IDLE_FOR_S:
                break
        return self._standing("it does not answer")

    async def _full(self, looks: ProgressProbe, before: Counters) -> Probed:
        """Judge a server whose slots are all at work: a canary would only wait behind its users."""
        while self._left_s() > BETWEEN_LOOKS_S:
            await self._listener.sample()
            await asyncio.sleep(BETWEEN_LOOKS_S)
            counters = await self._look(looks)
            if counters.reply is Reply.ANSWERED and counters.slots != before.slots:
                return self._said(Health.BUSY, "every slot is at work, and moving")
            if self._listener.idle_s >= IDLE_FOR_S:
                break
        return self._standing("every slot is at work, and nothing moves")

    async def _ask(self, client: httpx.AsyncClient, looks: ProgressProbe, before: Counters) -> Probed:
        """Send a canary, and look at the counters for as long as it is out."""
        model = self._wanted.model or await self._a_model(client, before.kind)
        checker = Checker(error_patterns=(), busy_patterns=())
        canary = Canary(
            client, model=model, max_tokens=self._wanted.max_tokens, checker=checker, kind=self._wanted.canary
        )
        slot = least_lost(before.slots) if before.kind is Kind.LLAMA_CPP else None
        moved = False
        async with asyncio.TaskGroup() as both:
            asking = both.create_task(canary.send(limit_s=math.inf, slot=slot))
            while not asking.done() and self._left_s() > 0:
                await asyncio.wait([asking], timeout=min(BETWEEN_LOOKS_S, self._left_s()))
                if not asking.done() and self._left_s() > BETWEEN_LOOKS_S:
                    counters = await self._look(looks)
                    moved |= _moves(before.slots, counters.slots)
                    before = counters if counters.reply is Reply.ANSWERED else before
                    await self._listener.sample()
            asking.cancel()
        if asking.cancelled():
            late = f"no answer within {self._wanted.timeout_s:g}s"
            return self._said(Health.BUSY, f"{late}, and it moves: slow") if moved else self._standing(late)
        answer = asking.result()
        if answer.reply is Reply.UNSUPPORTED:  # an extra of ours that it will not have
            answer = await canary.send(limit_s=max(BETWEEN_LOOKS_S, self._left_s()), slot=slot)
        return self._answered(answer)

    def _answered(self, answer: Answer) -> Probed:
        match answer.reply:
            case Reply.ANSWERED:
                return self._said(Health.READY, "answered", first_token_s=answer.first_token_s)
            case Reply.OVERLOADED:
                return self._said(Health.BUSY, "says that it has too much to do")
            case Reply.LOADING:
                return self._said(Health.LOADING, "loading its model")
            case Reply.DENIED if "status 401" in answer.detail or "status 403" in answer.detail:
                return self._said(Health.DENIED, f"{answer.detail}: is the key right?")
            case Reply.DENIED:
                return self._said(Health.MISCONFIGURED, answer.detail)
            case Reply.REFUSED | Reply.RESET:
                return self._said(Health.DOWN, answer.detail)
            case Reply.SILENT:
                return self._standing(answer.detail)
            case Reply.NOT_RUN:
                return self._said(Health.UNKNOWN, answer.detail)
            case _:
                return self._said(Health.FAILING, answer.detail)

    def _standing(self, what: str) -> Probed:
        """Say what nothing that moves means, by what the CPU of whoever listens there did meanwhile."""
        match self._listener.burned:
            case None:
                return self._said(Health.UNSURE, f"{what}; whether it works cannot be seen from here")
            case False:
                return self._said(Health.HUNG, f"{what}, cpu idle")
            case True:
                return self._said(Health.BUSY, f"{what}, but its cpu burns: a long prompt?")

    async def _a_model(self, client: httpx.AsyncClient, kind: Kind | None) -> str:
        """Return the name of a model that it has; llama.cpp takes any."""
        path, pick = ("/api/ps", _loaded) if kind is Kind.OLLAMA else ("/v1/models", _first)
        if kind in (Kind.LLAMA_CPP, *CUT_OFF_BY_PROBES):
            return "auto"
        with contextlib.suppress(Exception):
            async with asyncio.timeout(min(MODELS_S, self._left_s())), client.stream("GET", path) as response:
                body = await http.read(response, max_bytes=MAX_BYTES)
                return pick(httpx.Response(response.status_code, content=body).json())
        return "auto"

    def _left_s(self) -> float:
        return max(0.0, self._ends_at - self._clock())

    def _said(self, health: Health, detail: str, *, first_token_s: float | None = None) -> Probed:
        slots = (sum(slot.busy for slot in self._slots), len(self._slots)) if self._slots else None
        took_s = self._clock() - self._began
        return Probed(health=health, detail=detail, took_s=took_s, first_token_s=first_token_s, slots=slots)


def _is_full(counters: Counters) -> bool:
    if counters.queued is not None:
        return counters.queued > 0
    return bool(counters.slots) and all(slot.busy for slot in counters.slots)


def _moves(before: tuple[Slot, ...], after: tuple[Slot, ...]) -> bool:
    """Whether a request went on between two looks; that one was taken up proves nothing."""
    known = {slot.id: slot for slot in before if slot.busy}
    return any(slot.busy and slot.id in known and slot != known[slot.id] for slot in after)


def _first(models: Any) -> str:
    return str(models["data"][0]["id"])


def _loaded(models: Any) -> str:
    return str(models["models"][0]["name"])
