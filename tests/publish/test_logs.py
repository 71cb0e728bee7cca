"""What targets print, over HTTP: for few eyes, bounded, and for as long as somebody reads."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from supervisor.errors import EngineRefused, EngineUnreachable, TargetMissing
from supervisor.publish.logs import MOST_FOLLOWED
from tests.publish.serving import BEARER, TOKEN, Served, error_of, serving

LOG = "/v1/targets/planner/log"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, token=TOKEN) as served:
        yield served


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20.0):
        while not holds():  # noqa: ASYNC110 - a server of another's knows nothing of our events
            await asyncio.sleep(0.01)


async def test_the_end_of_it_is_text_that_nobody_keeps(served: Served) -> None:
    served.servants.printed = ["ein Wörtchen\n\ud83d"]

    response = await served.unix.get(LOG)

    assert (response.status_code, response.text) == (200, "ein Wörtchen\n?")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert (served.servants.asked, served.servants.closed) == ([("log", "planner", 1600, None)], 1)


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("?bytes=0", (0, None)),
        ("?bytes=1048576", (1 << 20, None)),
        ("?lines=10", (1 << 20, 10)),
        ("?lines=10&bytes=99", (99, 10)),
    ],
)
async def test_it_is_as_long_as_asked_for(served: Served, query: str, asked: tuple[int, int | None]) -> None:
    response = await served.unix.get(f"{LOG}{query}")

    assert response.status_code == 200
    assert served.servants.asked == [("log", "planner", *asked)]


@pytest.mark.parametrize("query", ["", "?follow=1"])
async def test_its_users_words_are_for_nobody_without_the_token(served: Served, query: str) -> None:
    refused = await served.tcp.get(f"{LOG}{query}")
    asked_by_then = list(served.servants.asked)
    async with served.tcp.stream("GET", f"{LOG}{query}", headers={b"Authorization": BEARER}) as let_in:
        status = let_in.status_code

    assert error_of(refused) == (401, "Unauthorized")
    assert (asked_by_then, status) == ([], 200)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("?bytes=-1", "bytes"),
        ("?bytes=1048577", "bytes"),
        ("?bytes=many", "bytes"),
        ("?lines=-1", "lines"),
        ("?lines=10001", "lines"),
        ("?lines=1.5", "lines"),
        ("?follow=yes", "follow"),
    ],
)
async def test_a_length_that_makes_no_sense_is_refused_by_its_key(served: Served, query: str, word: str) -> None:
    response = await served.unix.get(f"{LOG}{query}")

    assert error_of(response) == (400, "BadRequest")
    assert word in response.json()["error"]["message"]
    assert served.servants.asked == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (EngineUnreachable("Docker does not answer"), (503, "EngineUnreachable")),
        (EngineRefused("cannot read the log of it: it is watched only"), (409, "NoLog")),
        (TargetMissing("it has no container of that name"), (409, "NoLog")),
    ],
)
async def test_a_log_that_cannot_be_had_is_refused_in_its_engines_words(
    served: Served, fault: Exception, expected: tuple[int, str]
) -> None:
    served.servants.fault = fault

    response = await served.unix.get(f"{LOG}?follow=1")

    assert error_of(response) == expected
    assert response.json()["error"]["message"] == str(fault)
    assert served.servants.closed == 1


async def test_whoever_follows_is_told_what_comes_and_is_let_go_when_he_leaves(served: Served) -> None:
    served.servants.printed = ["the end\n", "line 1\n", "line 2\n"]
    told = ""

    async with served.unix.stream("GET", f"{LOG}?follow=1") as response:
        async for piece in response.aiter_text():
            told += piece
            if told.endswith("line 2\n"):
                break

    await until(lambda: served.servants.closed == 1)
    assert told == "the end\nline 1\nline 2\n"


async def test_whoever_reads_nothing_holds_up_his_own_stream_and_no_memory(served: Served) -> None:
    served.servants.printed = ["x" * 64 * 1024] * 10_000

    async with served.unix.stream("GET", f"{LOG}?follow=1"):
        await until(lambda: served.servants.told > 1)
        await asyncio.sleep(0.5)
        told_by_then = served.servants.told

    await until(lambda: served.servants.closed == 1)
    assert told_by_then < 100


async def test_a_reader_too_many_is_sent_away_and_another_one_let_in_after_the_first_has_left(served: Served) -> None:
    async def follow() -> httpx.Response:
        request = served.unix.build_request("GET", f"{LOG}?follow=1")
        return await served.unix.send(request, stream=True)

    readers = [await follow() for _ in range(MOST_FOLLOWED)]
    await until(lambda: served.servants.told == MOST_FOLLOWED)
    one_too_many = await follow()
    await one_too_many.aread()
    plain = await served.unix.get(LOG)
    await readers[0].aclose()
    await until(lambda: served.servants.closed == 2)
    next_one = await follow()

    assert error_of(one_too_many) == (503, "TooManyStreams")
    assert (plain.status_code, next_one.status_code) == (200, 200)
    for each in [*readers[1:], next_one]:
        await each.aclose()


async def test_our_own_end_ends_every_stream(served: Served) -> None:
    async with served.unix.stream("GET", f"{LOG}?follow=1") as response:
        pieces = response.aiter_text()
        first = await anext(pieces)
        for server in served.servers:
            server.stop()
        async with asyncio.timeout(5.0):
            rest = [piece async for piece in pieces]

    assert (first, rest, served.servants.closed) == ("the end\n", [], 1)


async def test_head_of_a_stream_is_no_stream(served: Served) -> None:
    response = await served.unix.head(f"{LOG}?follow=1")

    assert (response.status_code, response.content, served.servants.closed) == (200, b"", 1)
