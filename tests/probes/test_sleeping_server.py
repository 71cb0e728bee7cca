"""A llama.cpp server that puts its model away when idle must be left to sleep."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from supervisor.core.observations import Kind, Reply
from supervisor.probes import http
from supervisor.probes.base import Counters
from supervisor.probes.llama_cpp import WHOLE_SERVER, LlamaCppProgress
from testbed.clients import busy, chat, wait_until
from testbed.servers import ProcessServers
from tests.probes.probing import ENOUGH_S

BETWEEN_LOOKS_S = 0.25  # far more often than the limit of a second after which the server sleeps
QUICK_S = 0.4


def _sleeps(url: str) -> bool:
    return bool(httpx.get(f"{url}/props", timeout=5.0, trust_env=False).json()["is_sleeping"])


@asynccontextmanager
async def progress_of(url: str) -> AsyncIterator[LlamaCppProgress]:
    """A probe for one server, let go afterwards."""
    async with http.client(url, api_key="") as client:
        progress = LlamaCppProgress(client)
        yield progress
        progress.let_go()


async def look_until_asleep(progress: LlamaCppProgress) -> list[Counters]:
    """Look gently, again and again, and return what was seen before it slept."""
    before: list[Counters] = []
    async with asyncio.timeout(ENOUGH_S):
        while (seen := await progress.look(timeout_s=5.0, gently=True)).reply is not Reply.ASLEEP:
            before.append(seen)
            await asyncio.sleep(BETWEEN_LOOKS_S)
    return before


async def test_a_look_at_a_sleeping_server_leaves_it_asleep_and_a_users_request_ends_that(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("sleeper", model, "--sleep-idle-seconds", "1")
    wait_until(lambda: _sleeps(url), "the server sleeps")

    async with progress_of(url) as progress:
        replies = [(await progress.look(timeout_s=5.0)).reply for _ in range(5)]
        asleep_all_along = _sleeps(url)
        await asyncio.to_thread(chat, url)
        afterwards = await progress.look(timeout_s=5.0)

    assert set(replies) == {Reply.ASLEEP}
    assert asleep_all_along
    assert (afterwards.reply, afterwards.sleeps) == (Reply.ANSWERED, True)


@pytest.mark.parametrize(
    ("flags", "told"), [((), Reply.UNSUPPORTED), (("--metrics",), Reply.ANSWERED)], ids=["bare", "with-metrics"]
)
async def test_a_server_falls_asleep_although_it_is_looked_at_gently_all_the_time(
    process_servers: ProcessServers, model: Path, flags: tuple[str, ...], told: Reply
) -> None:
    url = process_servers.run("sleeper", model, "--sleep-idle-seconds", "1", *flags)

    async with progress_of(url) as progress:
        before = await look_until_asleep(progress)

    assert before
    assert {seen.reply for seen in before} == {told}
    assert {seen.kind for seen in before} == {Kind.LLAMA_CPP}


async def test_a_server_that_falls_asleep_between_two_looks_is_not_woken_by_the_second(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("sleeper", model, "--sleep-idle-seconds", "1")

    async with progress_of(url) as progress:
        awake = await progress.look(timeout_s=5.0)
        await asyncio.to_thread(wait_until, lambda: _sleeps(url), "the server sleeps")
        asleep = await progress.look(timeout_s=5.0)

    assert (awake.reply, asleep.reply) == (Reply.ANSWERED, Reply.ASLEEP)
    assert _sleeps(url)


async def test_a_gentle_look_sees_work_move(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("busy", model, "--metrics")

    async with progress_of(url) as progress, asyncio.timeout(ENOUGH_S):
        with busy(url) as user:
            await asyncio.to_thread(user.wait_first_token)
            first = second = await progress.look(timeout_s=5.0, gently=True)
            while second.slots == first.slots:
                second = await progress.look(timeout_s=5.0, gently=True)

    assert (first.slots[0].id, first.slots[0].busy, first.queued) == (WHOLE_SERVER, True, 0)
    assert second.slots[0].decoded > first.slots[0].decoded


@pytest.mark.parametrize(
    ("flags", "told"), [((), Reply.UNSUPPORTED), (("--metrics",), Reply.SILENT)], ids=["bare", "with-metrics"]
)
async def test_a_server_frozen_while_idle_shows_it_to_a_gentle_look_only_by_its_metrics(
    process_servers: ProcessServers, model: Path, flags: tuple[str, ...], told: Reply
) -> None:
    url = process_servers.run("frozen", model, *flags)
    process_servers.freeze("frozen")

    async with progress_of(url) as progress:
        seen = await progress.look(timeout_s=QUICK_S, gently=True)

    assert (seen.reply, seen.kind) == (told, Kind.LLAMA_CPP)
