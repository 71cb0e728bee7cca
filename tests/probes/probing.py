"""One look and one canary, at any address, as the daemon would make them."""

import asyncio
from collections.abc import Callable
from typing import Any

from supervisor.probes import http
from supervisor.probes.answer import Checker
from supervisor.probes.base import Answer, Counters
from supervisor.probes.canary import Canary
from supervisor.probes.llama_cpp import LlamaCppProgress

ENOUGH_S = 20.0


async def look(url: str, *, timeout_s: float = ENOUGH_S, api_key: str = "") -> Counters:
    """Read the counters of the server at `url` once."""
    async with http.client(url, api_key=api_key) as client:
        return await LlamaCppProgress(client).look(timeout_s=timeout_s)


async def look_until(url: str, is_it: Callable[[Counters], bool]) -> tuple[Counters, list[Counters]]:
    """Look until the counters are as wished; return them, and those before."""
    before: list[Counters] = []
    async with asyncio.timeout(ENOUGH_S):
        while not is_it(counters := await look(url)):
            before.append(counters)
            await asyncio.sleep(0.005)
    return counters, before


async def ask(
    url: str, *, limit_s: float = ENOUGH_S, api_key: str = "", slot: int | None = None, **options: Any
) -> Answer:
    """Send one canary to the server at `url`."""
    async with http.client(url, api_key=api_key) as client:
        settings: dict[str, Any] = {"model": "general", "max_tokens": 4, "checker": Checker()} | options
        return await Canary(client, **settings).send(limit_s=limit_s, slot=slot)
