"""What holds for every progress probe, whatever it looks at and whatever that answers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from supervisor.core.observations import Kind, Reply
from supervisor.probes import http
from supervisor.probes.base import ProgressProbe
from supervisor.probes.held import HELD_AT_MOST_S, TOLD_WITHIN_S
from supervisor.probes.plain import PlainProgress
from supervisor.probes.witness import witness
from testbed.clients import free_port
from tests.fakes.model_server import (
    Behaviour,
    FakeModelServer,
    Line,
    drips,
    floods,
    resets,
    says,
    sends,
    silent,
    stalls_after,
)
from tests.probes.test_canary import LOADING

WITNESSES = ["auto", "llama.cpp", "llama-cpp-python", "vllm", "sglang", "tgi", "ollama"]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
QUICK_S, ENOUGH_S = 0.1, 20.0
DEEP = b"[" * 100_000

# Those who need no answer to say that they have no counters to read call many of these so.
NOT_SO = (Reply.INVALID, Reply.UNSUPPORTED)
BROKEN = [
    pytest.param(says(LOADING, "503 Service Unavailable"), (Reply.LOADING,), id="loading"),
    pytest.param(says("no upstream", "503 Service Unavailable"), (Reply.FAILED,), id="503-of-a-proxy"),
    pytest.param(says("{}", "401 Unauthorized"), (Reply.DENIED, Reply.UNSUPPORTED), id="401"),
    pytest.param(says("{}", "404 Not Found"), (Reply.UNSUPPORTED,), id="404"),
    pytest.param(says("{}", "500 Oops"), (Reply.FAILED, Reply.UNSUPPORTED), id="500"),
    pytest.param(says("garbage"), NOT_SO, id="garbage"),
    pytest.param(says(b"\xff\xfe\x00\x01"), NOT_SO, id="bytes"),
    pytest.param(says(DEEP), NOT_SO, id="deep-json"),
    pytest.param(floods(), NOT_SO, id="ten-gigabytes"),
    pytest.param(resets, (Reply.RESET,), id="reset"),
    pytest.param(sends(), (Reply.RESET,), id="hung-up-without-a-word"),
    pytest.param(sends(b"\x00\x01 not http\r\n\r\n"), (Reply.INVALID,), id="not-http"),
    pytest.param(sends(HEAD + b"Content-Length: 99\r\n\r\n[{"), (Reply.INVALID,), id="half-a-body"),
    pytest.param(silent, (Reply.SILENT,), id="silent"),
    pytest.param(stalls_after(HEAD + b"\r\n[{"), (Reply.SILENT,), id="stalls-in-the-body"),
    pytest.param(drips(HEAD + b"\r\n[", b" "), (Reply.SILENT,), id="endless-drip"),
]


@asynccontextmanager
async def progress_of(name: str, url: str) -> AsyncIterator[ProgressProbe]:
    """A probe of one kind, let go afterwards."""
    async with http.client(url, api_key="") as client:
        progress = witness(name, client)
        assert progress is not None
        yield progress
        progress.let_go()


class Gate:
    """Answers nobody before it is opened, and counts who waits, who was answered and who left."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._open = asyncio.Event()
        self.waiting = self.most = self.left = 0

    async def __call__(self, line: Line) -> None:
        """Meet one request."""
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        gone, opened = asyncio.create_task(line.stay_silent()), asyncio.create_task(self._open.wait())
        await asyncio.wait({gone, opened}, return_when=asyncio.FIRST_COMPLETED)
        self.waiting -= 1
        self.left += gone.done()
        opened.cancel()
        if not gone.done():
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            await self._behave(line)

    def open(self) -> None:
        """Answer whoever waits, and everyone after."""
        self._open.set()

    async def until_left(self, number: int) -> None:
        """Wait until so many have hung up unanswered."""
        async with asyncio.timeout(ENOUGH_S):
            while self.left < number:  # noqa: ASYNC110 - it is the other side that moves
                await asyncio.sleep(0.01)


class Clock:
    """Monotonic seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_every_word_of_the_settings_has_its_witness() -> None:
    client = http.client("http://127.0.0.1:1", api_key="")

    assert witness("none", client) is None
    assert all(witness(name, client) for name in WITNESSES)
    assert {kind.value for kind in Kind} - {*WITNESSES} == {Kind.OTHER}


@pytest.mark.parametrize("gently", [False, True], ids=["closely", "gently"])
@pytest.mark.parametrize("name", WITNESSES)
@pytest.mark.parametrize(("behave", "expected"), BROKEN)
async def test_whatever_a_server_answers_is_told_in_time(
    name: str, behave: Behaviour, expected: tuple[Reply, ...], gently: bool
) -> None:
    timeout_s = QUICK_S if expected == (Reply.SILENT,) else ENOUGH_S
    began = time.monotonic()

    async with FakeModelServer(behave) as server, progress_of(name, server.url) as progress:
        seen = await progress.look(timeout_s=timeout_s, gently=gently)
        took_s = time.monotonic() - began

    assert seen.reply in expected, seen.detail
    assert seen.slots == ()
    assert seen.detail.isprintable()
    assert took_s < timeout_s + 5


@pytest.mark.parametrize("name", WITNESSES)
async def test_nobody_listening_is_a_refusal(name: str) -> None:
    async with progress_of(name, f"http://127.0.0.1:{free_port()}") as progress:
        seen = await progress.look(timeout_s=ENOUGH_S)

    assert seen.reply is Reply.REFUSED
    assert seen.kind == (None if name == "auto" else Kind(name))


@pytest.mark.parametrize("name", WITNESSES)
async def test_looks_at_a_silent_server_wait_for_one_question_until_it_is_let_go(name: str) -> None:
    gate = Gate(silent)

    async with FakeModelServer(gate) as server, progress_of(name, server.url) as progress:
        replies = {(await progress.look(timeout_s=QUICK_S, gently=bool(each % 2))).reply for each in range(4)}
        connections = server.connections
        progress.let_go()
        await gate.until_left(1)
        again = await progress.look(timeout_s=QUICK_S)

    assert replies == {Reply.SILENT}
    assert connections == 1
    assert (again.reply, server.connections, gate.most) == (Reply.SILENT, 2, 1)


@pytest.mark.parametrize("name", WITNESSES)
async def test_a_look_that_is_called_off_leaves_its_question_to_the_next(name: str) -> None:
    gate = Gate(says("{}", "404 Not Found"))

    async with FakeModelServer(gate) as server, progress_of(name, server.url) as progress:
        looking = asyncio.create_task(progress.look(timeout_s=ENOUGH_S))
        async with asyncio.timeout(ENOUGH_S):
            while not gate.waiting:  # noqa: ASYNC110 - it is the other side that moves
                await asyncio.sleep(0.01)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        gate.open()
        seen = await progress.look(timeout_s=ENOUGH_S)

    assert looking.cancelled()
    assert seen.reply is Reply.UNSUPPORTED
    assert (gate.left, gate.most) == (0, 1)


@pytest.mark.parametrize("name", WITNESSES)
async def test_an_answer_that_comes_late_is_taken_for_what_it_is(name: str) -> None:
    gate = Gate(says("{}", "404 Not Found"))

    async with FakeModelServer(gate) as server, progress_of(name, server.url) as progress:
        early = await progress.look(timeout_s=QUICK_S)
        gate.open()
        late = await progress.look(timeout_s=ENOUGH_S)

    assert (early.reply, late.reply) == (Reply.SILENT, Reply.UNSUPPORTED)
    assert server.asked[0].connection == 1
    assert (gate.left, gate.most) == (0, 1)


async def test_letting_go_ends_a_look_under_way_and_says_that_nothing_was_seen() -> None:
    gate = Gate(silent)

    async with FakeModelServer(gate) as server, progress_of("vllm", server.url) as progress:
        looking = asyncio.create_task(progress.look(timeout_s=ENOUGH_S))
        async with asyncio.timeout(ENOUGH_S):
            while not gate.waiting:  # noqa: ASYNC110 - it is the other side that moves
                await asyncio.sleep(0.01)
        progress.let_go()
        seen = await looking

    assert seen.reply is Reply.NOT_RUN


async def answered_between_two_looks(age_s: float) -> tuple[Reply, int]:
    """Look at a server that answers once, after the first look has left, and never again."""
    clock, gate = Clock(), Gate(says("{}", "404 Not Found"))

    async def behave(line: Line) -> None:
        await (gate(line) if server.connections == 1 else line.stay_silent())

    server = FakeModelServer(behave)
    async with server, http.client(server.url, api_key="") as client:
        progress = PlainProgress(client, kind=Kind.OTHER, clock=clock)
        await progress.look(timeout_s=QUICK_S)
        gate.open()
        assert progress._task is not None
        await asyncio.wait({progress._task}, timeout=ENOUGH_S)
        clock.now += age_s
        second = await progress.look(timeout_s=QUICK_S)
        progress.let_go()
    return second.reply, server.connections


async def test_an_answer_that_came_between_two_looks_is_told_by_the_second_which_asks_anew() -> None:
    assert await answered_between_two_looks(TOLD_WITHIN_S) == (Reply.UNSUPPORTED, 2)


async def test_an_answer_that_came_long_ago_is_told_by_nobody() -> None:
    assert await answered_between_two_looks(TOLD_WITHIN_S + 1) == (Reply.SILENT, 2)


async def test_a_question_that_nobody_will_answer_any_more_is_asked_anew() -> None:
    clock, gate = Clock(), Gate(silent)

    async with FakeModelServer(gate) as server, http.client(server.url, api_key="") as client:
        progress = PlainProgress(client, kind=Kind.OTHER, clock=clock)
        await progress.look(timeout_s=QUICK_S)
        clock.now += HELD_AT_MOST_S
        await progress.look(timeout_s=QUICK_S)
        held = server.connections
        clock.now += 1
        await progress.look(timeout_s=QUICK_S)
        await gate.until_left(1)
        progress.let_go()

    assert (held, server.connections) == (1, 2)


@pytest.mark.parametrize("name", WITNESSES)
async def test_nothing_is_asked_that_infers_loads_wakes_or_cuts_a_user_off(name: str) -> None:
    async with (
        FakeModelServer(says("{}", "404 Not Found")) as server,
        progress_of(name, server.url) as progress,
    ):
        for _ in range(3):
            await progress.look(timeout_s=ENOUGH_S, gently=True)

    assert server.asked
    assert {(each.method, each.body) for each in server.asked} == {("GET", b"")}
    paths = {each.path for each in server.asked}
    assert paths & {"/slots", "/health", "/health_generate", "/v1/models", "/server_info", "/get_server_info"} == set()
