"""`GET /v1/events` over a real port: told at once, nothing missed, and no reader costs more than it may."""

import asyncio
import socket
import time as real_time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from supervisor.core.state import Phase
from supervisor.publish.board import Board
from supervisor.publish.server import Limits
from supervisor.publish.streams import Streams
from tests.publish.believing import HUNG, VALID_FOR_S, Time, snapshot
from tests.publish.listening import Ear, Told, listening, telling
from tests.publish.serving import error_of, serving

BIG = "x" * 400_000
SICK = snapshot("planner", phase=Phase.SUSPECT, judgement=HUNG)


def is_whole(told: Told, board: Board) -> bool:
    return told.fields["data"] == board.document.line.decode()


async def none_open(streams: Streams) -> None:
    async with asyncio.timeout(5):
        while streams.open:  # noqa: ASYNC110 - nobody tells of that
            await asyncio.sleep(0.01)


async def test_a_new_reader_is_given_the_document_and_how_long_it_is_true() -> None:
    board = Time().board(snapshot())

    async with telling(board) as (client, _, _), listening(client) as ear:
        liveness, fresh = await ear.hear_next("liveness", "fresh")

    assert ear.response.headers["content-type"].startswith("text/event-stream")
    assert ear.response.headers["cache-control"] == "no-cache"
    assert is_whole(liveness, board)
    assert liveness.id == f"{board.document.epoch}.1"
    assert fresh.id == ""
    assert fresh.data == {
        "epoch": board.document.epoch,
        "revision": 1,
        "generated_at": "2026-11-23T12:00:00.000Z",
        "expires_at": "2026-11-23T12:00:15.000Z",
        "valid_for_s": VALID_FOR_S,
    }


async def test_a_change_is_told_at_once_with_the_whole_document_and_the_transition() -> None:
    board = Time().board(snapshot(), snapshot("router", kind="router", models=()))

    async with telling(board) as (client, _, _), listening(client) as ear:
        await ear.hear_next("liveness", "fresh")
        board.put(SICK)
        liveness, transition = await ear.hear_next("liveness", "transition")
        board.put(snapshot("router", kind="router", models=(), phase=Phase.BUSY))
        (of_router,) = await ear.hear_next("transition")

    assert is_whole(liveness, board)
    assert liveness.data["backends"][0]["routable"] is False
    assert transition.data == {
        "target": "planner",
        "before": "up",
        "after": "suspect",
        "reason": "CountersStanding",
        "message": "no progress, cpu idle",
        "at": "2026-11-23T11:59:58.000Z",
        "incident": None,
    }
    assert of_router.data["target"] == "router"
    assert [each.id.rpartition(".")[2] for each in (liveness, transition, of_router)] == ["2", "3", "4"]


async def test_a_change_names_the_trouble_that_it_is_a_part_of_although_it_ends_it() -> None:
    board = Time().board(snapshot())
    ill = replace(SICK, incident="20261123-115958-planner")

    async with telling(board) as (client, _, _), listening(client) as ear:
        await ear.hear_next("liveness", "fresh")
        board.put(ill)
        _, begins = await ear.hear_next("liveness", "transition")
        board.put(snapshot())
        _, ends = await ear.hear_next("liveness", "transition")

    assert [each.data["incident"] for each in (begins, ends)] == [ill.incident] * 2


async def test_every_phase_that_is_passed_through_is_told_even_between_two_wakings() -> None:
    board = Time().board(snapshot())
    phases = (Phase.SUSPECT, Phase.BACKOFF, Phase.RESTARTING, Phase.STARTING, Phase.UP)

    async with telling(board) as (client, _, _), listening(client) as ear:
        await ear.hear_next("liveness", "fresh")
        for phase in phases:
            board.put(snapshot(phase=phase))
        told = [await ear.until("transition") for _ in phases]

    assert [each.data["after"] for each in told] == list(phases)
    assert [each.data["before"] for each in told] == [Phase.UP, *phases[:-1]]


async def test_a_reader_that_lost_the_connection_is_told_what_it_missed_and_nothing_else() -> None:
    board = Time().board(snapshot())
    async with telling(board) as (client, _, _):
        async with listening(client) as ear:
            first, _ = await ear.hear_next("liveness", "fresh")
        board.put(SICK)
        board.put(snapshot())

        async with listening(client, last_id=first.id) as ear:
            missed = await ear.hear_next("liveness", "transition", "liveness", "transition", "fresh")
        async with listening(client, last_id=missed[3].id) as ear:
            (nothing_but,) = await ear.hear_next("fresh")

    assert [each.data["backends"][0]["routable"] for each in missed[0:4:2]] == [False, True]
    assert missed[4].data["revision"] == nothing_but.data["revision"] == missed[2].data["revision"]


@pytest.mark.parametrize("last_id", ["", "of-another.4", "nonsense", "too-old"])
async def test_whoever_names_no_event_that_we_remember_is_given_the_document(last_id: str) -> None:
    board = Time().board(snapshot())
    for turn in range(300):
        board.put(SICK if turn % 2 else snapshot())
    last_id = f"{board.document.epoch}.1" if last_id == "too-old" else last_id

    async with telling(board) as (client, _, _), listening(client, last_id=last_id) as ear:
        liveness, _ = await ear.hear_next("liveness", "fresh")

    assert liveness.id == f"{board.document.epoch}.{board.feed.latest}"
    assert is_whole(liveness, board)


async def test_a_stamp_extends_the_documents_life_and_a_loop_that_stands_still_does_not() -> None:
    time = Time()
    board = time.board(snapshot())

    async with telling(board, heartbeat_s=0.3, fresh_every_s=0.0) as (client, _, _), listening(client) as ear:
        await ear.hear_next("liveness", "fresh")
        time.pass_s(2.0)
        board.put(snapshot(as_of=time.now))
        (fresh,) = await ear.hear_next("fresh")
        beats = [await ear.hear() for _ in range(3)]

    assert fresh.data["expires_at"] == "2026-11-23T12:00:17.000Z"
    assert fresh.data["revision"] == 1
    assert [each.fields for each in beats] == [{"": ""}] * 3


async def test_a_document_that_has_run_out_is_not_called_fresh() -> None:
    time = Time()
    board = time.board(snapshot())
    time.pass_s(VALID_FOR_S + 1)

    async with telling(board, heartbeat_s=0.2) as (client, _, _), listening(client) as ear:
        liveness, beat = await ear.hear(), await ear.hear()
        board.put(snapshot(as_of=time.now))
        (fresh,) = await ear.hear_next("fresh")

    assert liveness.data["expires_at"] == "2026-11-23T12:00:15.000Z"
    assert beat.kind == ""
    assert fresh.data["expires_at"] == "2026-11-23T12:00:31.000Z"


async def test_freshness_is_told_now_and_then_and_not_at_every_stamp() -> None:
    board = Time().board(snapshot())
    heard: list[str] = []

    async with telling(board, fresh_every_s=0.4, heartbeat_s=30.0) as (client, _, _), listening(client) as ear:
        await ear.hear_next("liveness", "fresh")
        began = real_time.monotonic()
        hearing = asyncio.create_task(_keep_hearing(ear, heard))
        while real_time.monotonic() - began < 1.1:
            board.put(snapshot())
            await asyncio.sleep(0.02)
        hearing.cancel()

    assert 1 <= len(heard) <= 2
    assert set(heard) == {"fresh"}


async def _keep_hearing(ear: Ear, heard: list[str]) -> None:
    while True:
        heard.append((await ear.hear(within_s=30)).kind)


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A socket that holds little and is read by nobody who does not want to."""
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.setblocking(False)
        yield made


async def ask(reader: socket.socket, client: httpx.AsyncClient) -> None:
    """Ask for a stream, and see that it begins."""
    loop = asyncio.get_running_loop()
    await loop.sock_connect(reader, (client.base_url.host, client.base_url.port))
    await loop.sock_sendall(reader, b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await loop.sock_recv(reader, 100)).startswith(b"HTTP/1.1 200")


async def test_a_reader_that_falls_behind_is_hung_up_on_and_another_loses_nothing(deaf: socket.socket) -> None:
    board, taken = Time().board(snapshot()), 0

    async with telling(board) as (client, _, _), listening(client) as good:
        await good.hear_next("liveness", "fresh")
        await ask(deaf, client)
        for turn in range(40):
            board.put(snapshot(judgement=replace(HUNG, message=f"{turn} {BIG}")))
            told = await good.until("liveness")
            assert told.data["backends"][0]["message"].startswith(f"{turn} x")
        async with asyncio.timeout(10):
            while piece := await asyncio.get_running_loop().sock_recv(deaf, 1 << 20):
                taken += len(piece)

    assert taken < 30 * len(BIG)


async def test_a_reader_that_takes_nothing_at_all_loses_its_stream_though_nobody_tells_it(deaf: socket.socket) -> None:
    board = Time().board(snapshot())

    async with telling(board, limits=Limits(take_s=0.3)) as (client, streams, _):
        await ask(deaf, client)
        for turn in range(20):
            board.put(snapshot(judgement=replace(HUNG, message=f"{turn} {BIG}")))
            await asyncio.sleep(0.01)
        await none_open(streams)


async def test_more_streams_than_there_may_be_are_refused_until_one_ends() -> None:
    board = Time().board(snapshot())

    async with telling(board, most=2) as (client, streams, _):
        async with listening(client), listening(client):
            refused = await client.get("/v1/events")
        await none_open(streams)
        async with listening(client) as ear:
            await ear.hear_next("liveness", "fresh")

    assert error_of(refused) == (503, "TooManyStreams")
    assert int(refused.headers["retry-after"]) > 0


async def test_streams_end_at_once_when_the_server_does() -> None:
    board = Time().board(snapshot())

    async with telling(board) as (client, _, server), listening(client) as ear:
        await ear.hear_next("liveness", "fresh")
        began = real_time.monotonic()
        server.stop()
        ended = await ear.has_ended()
        took_s = real_time.monotonic() - began

    assert ended
    assert took_s < 0.9, "it was cut off, and did not end"


async def test_the_api_serves_them_and_answers_head_without_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path, token="") as served:
        head = await served.tcp.head("/v1/events")
        async with listening(served.unix) as ear:
            (liveness, _) = await ear.hear_next("liveness", "fresh")

    assert (head.status_code, head.content) == (200, b"")
    assert "content-length" not in head.headers
    assert is_whole(liveness, served.board)
