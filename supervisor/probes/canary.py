"""The canary: a real, tiny chat completion whose answer is checked. It is held open and never resent."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx

from supervisor.core.observations import Reply
from supervisor.probes import http
from supervisor.probes.answer import Checker
from supervisor.probes.base import Answer

MAX_BYTES = 256 * 1024


class ChatCanary:
    """Asks one target for a few tokens of chat, streaming, as most clients do.

    The prompt is short and recognisable in a log, and its nonce keeps a cache from answering for a dead model.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        model: str,
        max_tokens: int,
        checker: Checker,
        pins_slots: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._model = model
        self._max_tokens = max_tokens
        self._checker = checker
        self._pins_slots = pins_slots
        self._clock = clock

    async def send(self, *, limit_s: float, slot: int | None = None) -> Answer:
        """Send one canary and hold it open until it is answered or `limit_s` is over."""
        began = self._clock()
        first_token_s: float | None = None
        try:
            async with asyncio.timeout(limit_s), self._open(slot) as response:
                body = bytearray()
                async for chunk in response.aiter_raw():
                    first_token_s = self._clock() - began if first_token_s is None else first_token_s
                    body += chunk
                    if len(body) > MAX_BYTES:
                        return Answer(reply=Reply.INVALID, detail=f"the answer has no end: over {MAX_BYTES} bytes")
        except TimeoutError:
            begun = first_token_s is not None
            detail = f"the answer {'never ended' if begun else 'never came'} within {limit_s:g}s"
            return Answer(reply=Reply.INVALID if begun else Reply.SILENT, detail=detail)
        except httpx.HTTPError as error:
            if first_token_s is not None:
                return Answer(reply=Reply.INVALID, detail=f"the answer broke off: {http.detail_of(error)}")
            return Answer(reply=http.reply_to(error), detail=http.detail_of(error))
        except OSError as error:
            return Answer(reply=Reply.NOT_RUN, detail=http.detail_of(error))
        reply, detail = self._checker.check(response.status_code, response.headers, bytes(body))
        return Answer(reply=reply, first_token_s=first_token_s if reply is Reply.ANSWERED else None, detail=detail)

    def _open(self, slot: int | None) -> Any:
        return self._client.stream("POST", "/v1/chat/completions", json=self._request(slot))

    def _request(self, slot: int | None) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": f"ping {secrets.token_hex(4)}"}],
            "max_tokens": self._max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._pins_slots and slot is not None:
            request["id_slot"] = slot
        return request
