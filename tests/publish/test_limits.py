"""What whoever connects may cost us: every limit on a real socket, against clients that know no manners."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.publish.server import HttpServer, Limits, bind_tcp

SHORT_S, LONG_S = 0.4, 20.0
PATIENT = Limits(head_s=LONG_S, body_s=LONG_S, idle_s=LONG_S, take_s=LONG_S)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE_BYTES = 32 << 20  # more than a socket holds


@dataclass
class Peer:
    """One connection, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *pieces: bytes, every_s: float = 0.0) -> None:
        """Send one piece after the other, until all are sent or we are hung up on."""
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(every_s)

    async def answer(self) -> tuple[int, bytes]:
        """Read one answer with a length."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            return int(head.split()[1]), await self.reader.readexactly(length)

    async def is_hung_up_on(self, *, within_s: float = 5.0) -> bool:
        """Whether the connection ends soon, whatever comes before."""
        try:
            async with asyncio.timeout(within_s):
                with contextlib.suppress(ConnectionError):
                    while await self.reader.read(1 << 20):
                        pass
        except TimeoutError:
            return False
        return True


@dataclass
class Door:
    """A server, and a way to its port."""

    port: int
    heard: list[bytes]

    @contextlib.asynccontextmanager
    async def enter(self) -> AsyncIterator[Peer]:
        """Open one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Peer(reader, writer)
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def door(limits: Limits) -> AsyncIterator[Door]:
    """Serve an application that reads what it is sent and says something short, or something long."""
    heard: list[bytes] = []

    async def take(request: Request) -> Response:
        heard.append(await request.body())
        return Response(b"taken")

    async def tell(_: Request) -> Response:
        return Response(b"x" * LARGE_BYTES)

    app = Starlette(routes=[Route("/", take, methods=["GET", "POST"]), Route("/large", tell)])
    listener = bind_tcp("127.0.0.1", 0)
    server = HttpServer(listener, app, limits=limits)
    running = asyncio.create_task(server.run())
    try:
        yield Door(listener.getsockname()[1], heard)
    finally:
        server.stop()
        await running


async def test_a_connection_that_says_nothing_is_hung_up_on() -> None:
    async with door(replace(PATIENT, head_s=SHORT_S)) as to, to.enter() as peer:
        assert await peer.is_hung_up_on()


@pytest.mark.parametrize("second", [False, True], ids=["first-request", "second-request"])
async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(second: bool) -> None:
    async with door(replace(PATIENT, head_s=SHORT_S)) as to, to.enter() as peer:
        if second:
            await peer.send(GET)
            await peer.answer()
        dripping = asyncio.create_task(peer.send(*(b"%c" % each for each in GET * 20), every_s=0.05))
        hung_up = await peer.is_hung_up_on()
        dripping.cancel()

    assert hung_up
    assert len(to.heard) == (1 if second else 0)


async def test_a_body_that_comes_byte_by_byte_is_not_waited_for() -> None:
    async with door(replace(PATIENT, body_s=SHORT_S)) as to, to.enter() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        dripping = asyncio.create_task(peer.send(*[b"x"] * 100, every_s=0.05))
        hung_up = await peer.is_hung_up_on()
        dripping.cancel()

    assert hung_up
    assert to.heard == []


async def test_a_connection_that_has_nothing_more_to_ask_is_let_go() -> None:
    async with door(replace(PATIENT, idle_s=SHORT_S)) as to, to.enter() as peer:
        await peer.send(GET)
        answered = await peer.answer()
        hung_up = await peer.is_hung_up_on()

    assert answered == (200, b"taken")
    assert hung_up


async def test_an_answer_that_nobody_takes_is_not_kept() -> None:
    async with door(replace(PATIENT, take_s=SHORT_S)) as to:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", to.port))
            deaf.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(4 * SHORT_S)
            deaf.setblocking(False)
            taken, loop = 0, asyncio.get_running_loop()
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(10):
                    while piece := await loop.sock_recv(deaf, 1 << 20):
                        taken += len(piece)

    assert 0 < taken < LARGE_BYTES


async def test_a_long_answer_that_is_taken_slowly_but_steadily_comes_whole() -> None:
    taken = 0

    async with door(replace(PATIENT, take_s=SHORT_S)) as to, to.enter() as peer:
        await peer.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(LONG_S):
            while taken < LARGE_BYTES:
                taken += len(await peer.reader.read(1 << 20))
                await asyncio.sleep(0.003)

    assert taken == LARGE_BYTES


@pytest.mark.parametrize("at_once", [True, False], ids=["in-one-piece", "in-many"])
async def test_a_head_that_is_too_long_is_refused_however_it_comes(at_once: bool) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 40_000 + b"\r\n\r\n"
    pieces = [head] if at_once else [head[at : at + 1000] for at in range(0, len(head), 1000)]

    async with door(PATIENT) as to, to.enter() as peer:
        await peer.send(*pieces)
        hung_up = await peer.is_hung_up_on()

    assert hung_up
    assert to.heard == []


async def test_a_long_head_and_a_whole_body_within_the_limits_are_taken() -> None:
    async with door(PATIENT) as to, to.enter() as peer:
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 15_000 + b"\r\nContent-Length: 60000\r\n\r\n"
        )
        await peer.send(b"y" * 60_000)
        answered = await peer.answer()

    assert answered == (200, b"taken")
    assert to.heard == [b"y" * 60_000]


async def test_requests_sent_before_the_first_is_answered_are_answered_in_order() -> None:
    async with door(PATIENT) as to, to.enter() as peer:
        await peer.send(GET * 3)
        answers = [await peer.answer() for _ in range(3)]

    assert answers == [(200, b"taken")] * 3


@pytest.mark.parametrize("words", [b"\x16\x03\x01\x02\x00\x01", b"hello\r\n\r\n", b"\r\n\r\n", b"GET / HTTP/9\r\n\r\n"])
async def test_what_is_no_http_is_refused_in_one_shape(words: bytes) -> None:
    async with door(replace(PATIENT, head_s=SHORT_S)) as to, to.enter() as peer:
        await peer.send(words)
        status, body = await peer.answer()
        hung_up = await peer.is_hung_up_on()

    assert (status, json.loads(body)["error"]["code"], hung_up) == (400, "BadRequest", True)


async def test_of_more_connections_than_there_may_be_the_one_that_asks_for_nothing_the_longest_makes_room() -> None:
    async with (
        door(replace(PATIENT, connections=2)) as to,
        to.enter() as first,
        to.enter() as second,
    ):
        for peer in (first, second):
            await peer.send(GET)
            await peer.answer()
        async with to.enter() as third:
            await third.send(GET)
            status, _ = await third.answer()
            hung_up = (await first.is_hung_up_on(), await second.is_hung_up_on(within_s=0.2))

    assert status == 200
    assert hung_up == (True, False)


async def test_where_all_are_being_answered_one_more_is_refused_until_one_ends() -> None:
    async with door(replace(PATIENT, connections=2)) as to:
        async with to.enter() as first, to.enter() as second:
            for peer in (first, second):
                await peer.send(GET.replace(b"/", b"/large", 1))
                await peer.reader.readexactly(1)
            async with to.enter() as third:
                status, body = await third.answer()
                hung_up = await third.is_hung_up_on()
        async with asyncio.timeout(5):
            while True:
                async with to.enter() as fourth:
                    await fourth.send(GET)
                    if (await fourth.answer())[0] == 200:
                        break

    assert (status, json.loads(body)["error"]["code"]) == (503, "TooManyConnections")
    assert hung_up


def test_a_host_that_is_gone_is_noticed_by_the_kernel() -> None:
    with bind_tcp("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
