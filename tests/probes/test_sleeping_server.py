"""A llama.cpp server that puts its model away when idle must be left to sleep."""

import asyncio
from pathlib import Path

import httpx

from supervisor.core.observations import Reply
from supervisor.probes import http
from supervisor.probes.llama_cpp import LlamaCppProgress
from testbed.clients import chat, wait_until
from testbed.servers import ProcessServers


def _sleeps(url: str) -> bool:
    return bool(httpx.get(f"{url}/props", timeout=5.0, trust_env=False).json()["is_sleeping"])


async def test_a_look_at_a_sleeping_server_leaves_it_asleep_and_a_users_request_ends_that(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("sleeper", model, "--sleep-idle-seconds", "1")
    wait_until(lambda: _sleeps(url), "the server sleeps")

    async with http.client(url, api_key="") as client:
        progress = LlamaCppProgress(client)
        replies = [(await progress.look(timeout_s=5.0)).reply for _ in range(5)]
        asleep_all_along = _sleeps(url)
        await asyncio.to_thread(chat, url)
        afterwards = await progress.look(timeout_s=5.0)

    assert set(replies) == {Reply.ASLEEP}
    assert asleep_all_along
    assert afterwards.reply is Reply.ANSWERED
