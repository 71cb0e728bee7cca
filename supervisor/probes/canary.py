"""The canary: a real, tiny piece of inference whose answer is checked. It is held open and never resent."""

import asyncio
import time
from collections.abc import Callable, Mapping

import httpx

from supervisor.core.observations import Reply
from supervisor.probes import http
from supervisor.probes.answer import Checker
from supervisor.probes.base import Answer
from supervisor.probes.pieces import FirstWord
from supervisor.probes.questions import CanaryKind, Question, question

MAX_BYTES = 512 * 1024  # the widest embeddings known take 300 kB as text


class Canary:
    """Asks one target for a few tokens or for an embedding, streaming where it can, as most clients do.

    `kinds` are those of models that are asked for otherwise than the rest, such as one behind a router that sees.

    It begins with all it would like to ask. A server that will not have one of the extras is never asked for it again.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        model: str,
        max_tokens: int,
        checker: Checker,
        kind: CanaryKind = "chat",
        kinds: Mapping[str, CanaryKind] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._model = model
        self._max_tokens = max_tokens
        self._checker = checker
        self._kind: CanaryKind = kind
        self._kinds = kinds or {}
        self._clock = clock
        self._without: frozenset[str] = frozenset()

    async def send(self, *, limit_s: float, slot: int | None = None, model: str | None = None) -> Answer:
        """Send one canary and hold it open until it is answered or `limit_s` is over."""
        kind = self._kinds.get(model or self._model, self._kind)
        asked = question(
            kind,
            model=model or self._model,
            max_tokens=self._max_tokens,
            slot=slot,
            without=self._without,
        )
        began = self._clock()
        first_token_s: float | None = None
        try:
            async with asyncio.timeout(limit_s), self._client.stream("POST", asked.path, json=asked.body) as response:
                first_word = FirstWord(response.headers.get("content-type", ""))
                body = bytearray()
                async for chunk in response.aiter_raw():
                    first_word.listen(chunk)
                    if first_token_s is None and first_word.heard:
                        first_token_s = self._clock() - began
                    body += chunk
                    if len(body) > MAX_BYTES:
                        return Answer(reply=Reply.INVALID, detail=f"the answer has no end: over {MAX_BYTES} bytes")
        except TimeoutError:
            # Begun or not: a slow model is not a broken one, so a timeout alone is no bad answer.
            detail = f"the answer never {'came' if first_token_s is None else 'ended'} within {limit_s:g}s"
            return Answer(reply=Reply.SILENT, detail=detail)
        except httpx.HTTPError as error:
            if first_token_s is not None:
                return Answer(reply=Reply.INVALID, detail=f"the answer broke off: {http.detail_of(error)}")
            return Answer(reply=http.reply_to(error), detail=http.detail_of(error))
        except OSError as error:
            return Answer(reply=Reply.NOT_RUN, detail=http.detail_of(error))
        if first_token_s is None:
            first_token_s = self._clock() - began  # the first word was the last one, and its line had no end
        return self._judge(asked, kind, response, bytes(body), first_token_s)

    def _judge(
        self, asked: Question, kind: CanaryKind, response: httpx.Response, body: bytes, first_token_s: float
    ) -> Answer:
        if response.status_code in (400, 422) and (unwanted := asked.extras_named_in(body)):
            self._without |= unwanted
            # Nothing wrong with the server, nor with the settings: the next canary will tell.
            names = " and ".join(sorted(unwanted))
            return Answer(reply=Reply.UNSUPPORTED, detail=f"it will not have {names}: from now on it is not asked for")
        reply, detail = self._checker.check(response.status_code, response.headers, body, kind=kind)
        return Answer(reply=reply, first_token_s=first_token_s if reply is Reply.ANSWERED else None, detail=detail)
