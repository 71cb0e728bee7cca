"""Servers that count nothing: a look tells only whether somebody answers. Nothing is asked that touches a model."""

import httpx

from supervisor.core.observations import Reply
from supervisor.probes import http
from supervisor.probes.base import Counters
from supervisor.probes.held import HeldLooks, refusal

# None of them has it, and saying so costs nothing. `/v1/models` costs a user's stream on llama-cpp-python, where every
# request that takes the model's lock cuts off the one that holds it, and `/health` a call to every model on LiteLLM.
PATH = "/props"
NOT_THERE = frozenset({httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT})


class PlainProgress(HeldLooks):
    """Looks at a server that has no counters."""

    async def ask(self, *, gently: bool) -> Counters:  # noqa: ARG002 - there is nothing to wake
        """Ask for what it has not."""
        none = Counters(reply=Reply.UNSUPPORTED, detail="it has no counters to read")
        try:
            said = await self.get(PATH)
        except http.BodyTooLongError:
            return none  # a page for every path, and a long one
        return refusal(PATH, said) if said.status in NOT_THERE else none
