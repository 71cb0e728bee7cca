"""What the demo router tells the supervisor: how backends did, and nothing that is not their doing."""

import asyncio
import json
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from examples.telling import is_our_own
from tests.fakes.documents import Document
from tests.fakes.ear import Ear
from tests.fakes.town import ENOUGH_S, QUICK, Town, ask, content, hung, wait_until
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    answers,
    fails,
    hangs_up,
    resets,
    sends_then,
    silent,
    streams_then,
)

HEAD_OF_A_STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
HALF_A_BODY = sends_then('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"choices": [', hangs_up)
SAID = "say hi"  # by the client


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Town(tmp_path) as town:
        town.settle(general=answers("from general"), code=answers("from code"))
        town.say()
        yield town


@pytest.fixture
def ear(town: Town) -> Ear:
    return town.listen()


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as beside:
        yield beside


def told_of_general(client: httpx.Client, ear: Ear) -> list[Document]:
    """Return what was told of `general` until now, once that must have come in."""
    assert ask(client, "code").status_code == 200
    wait_until(lambda: "code" in ear.backends)
    return [report for report in ear.reports if report["backend"] == "general"]


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_in_one_piece_is_told_without_a_time_that_nobody_saw(town: Town, ear: Ear) -> None:
    town.say(general={"instance": "4f1e@noon"})
    client = town.open()
    ask(client, "general")

    (report,) = told_of_general(client, ear)

    assert (report["ok"], report["first_token_s"], report["instance"]) == (True, None, "4f1e@noon")


def test_a_streamed_answer_is_told_with_the_time_to_its_first_piece(town: Town, ear: Ear) -> None:
    def slow(connection: Connection) -> None:
        connection.wait(0.3)
        answers("from general")(connection)

    town.upstreams["general"].behave = slow
    client = town.open()
    ask(client, "general", stream=True)

    (report,) = told_of_general(client, ear)

    assert report["ok"]
    assert 0.25 <= report["first_token_s"] < ENOUGH_S


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        pytest.param(hangs_up, "RemoteProtocolError", id="hangs-up"),
        pytest.param(resets, "ReadError", id="resets"),
        pytest.param(fails("500 Internal Server Error", f"cannot {SAID}"), "answered 500", id="500"),
        pytest.param(fails("503 Service Unavailable"), "answered 503", id="503"),
        pytest.param(HALF_A_BODY, "RemoteProtocolError", id="half-a-body"),
        pytest.param(sends_then(f"{SAID}\r\n", hangs_up), "RemoteProtocolError", id="not-http"),
        pytest.param(
            sends_then(HEAD_OF_A_STREAM, hangs_up), "its stream ended before it began", id="a-stream-that-never-begins"
        ),
    ],
)
def test_a_backend_that_fails_is_told_of_in_words_that_repeat_nothing(
    town: Town, ear: Ear, behave: Behaviour, why: str
) -> None:
    town.upstreams["general"].behave = behave
    client = town.open()
    assert ask(client).headers["X-Backend"] == "code"

    (report,) = told_of_general(client, ear)

    assert (report["ok"], report["error"]) == (False, why)
    assert SAID not in json.dumps(ear.reports)


def test_a_backend_that_refuses_connections_is_told_of(town: Town, ear: Ear) -> None:
    town.upstreams["general"].close()
    client = town.open()
    ask(client)

    (report,) = told_of_general(client, ear)

    assert (report["ok"], report["error"]) == (False, "ConnectError")


def test_a_backend_that_answers_too_late_is_told_of(town: Town, ear: Ear) -> None:
    town.patience = replace(QUICK, first_byte_s=0.6)
    town.upstreams["general"].behave = silent
    client = town.open()
    assert ask(client, "general").status_code == 504

    (report,) = told_of_general(client, ear)

    assert not report["ok"]
    assert report["error"].startswith("no answer after ")


def test_a_backend_that_was_asked_only_lately_is_not_too_late(town: Town, ear: Ear) -> None:
    town.patience = replace(QUICK, first_byte_s=1.0, second_try_s=0.8)
    for upstream in town.upstreams.values():
        upstream.behave = silent
    client = town.open()
    assert ask(client).status_code == 504
    assert len(town.upstreams["code"].connections) == 1

    town.upstreams["code"].behave = answers("from code")
    ask(client, "code")
    wait_until(lambda: any(report["ok"] for report in ear.reports))

    assert [report["backend"] for report in ear.reports if not report["ok"]] == ["general"]


@pytest.mark.parametrize("ending", [hangs_up, resets, silent], ids=["hangs-up", "resets", "silent"])
def test_a_stream_that_breaks_off_is_told_of(town: Town, ear: Ear, ending: Behaviour) -> None:
    town.patience = replace(QUICK, idle_s=0.3)
    town.upstreams["general"].behave = streams_then("one two", ending, between_s=0.05)
    client = town.open()
    ask(client, "general", stream=True)

    (report,) = told_of_general(client, ear)

    assert not report["ok"]
    assert report["error"]


# --- what is nobody's doing, or the request's own ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(fails("400 Bad Request"), id="a-request-that-is-wrong"),
        pytest.param(fails("429 Too Many Requests"), id="too-many-requests"),
        pytest.param(fails("200 OK", '{ "error": {"message": "too long"}}'), id="an-error-inside-a-200"),
    ],
)
def test_a_refusal_proves_neither_life_nor_death(town: Town, ear: Ear, behave: Behaviour) -> None:
    town.upstreams["general"].behave = behave
    client = town.open()
    ask(client, "general")

    assert told_of_general(client, ear) == []


@pytest.mark.parametrize("last_words", ["data: [DONE]\n\n", ""], ids=["and-ends", "and-breaks-off"])
@pytest.mark.parametrize("error", ['data: {"error": {"code": 500}}\n\n', 'error: {"code": 500}\n\n'])
def test_a_stream_that_ends_with_its_own_error_proves_neither_life_nor_death(
    town: Town, ear: Ear, error: str, last_words: str
) -> None:
    def goes_wrong(connection: Connection) -> None:
        connection.send_chunk(error)
        connection.send_chunk(last_words)

    town.upstreams["general"].behave = streams_then("one two", goes_wrong)
    client = town.open()
    ask(client, "general", stream=True)

    assert told_of_general(client, ear) == []


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_only_quotes_an_error_is_an_answer(town: Town, ear: Ear, stream: bool) -> None:
    town.upstreams["general"].behave = answers('{"error":"as_an_example"}')
    client = town.open()
    ask(client, "general", stream=stream)

    assert [report["ok"] for report in told_of_general(client, ear)] == [True]


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_let_go_because_the_supervisor_said_so_is_no_news_to_it(
    town: Town, ear: Ear, beside: ThreadPoolExecutor, stream: bool
) -> None:
    town.upstreams["general"].behave = streams_then("one", silent) if stream else silent
    client = town.open()
    waiting = beside.submit(ask, client, "general", stream=stream)
    wait_until(lambda: len(town.upstreams["general"].connections) == 1)

    town.say(general=hung())
    waiting.result(ENOUGH_S)

    assert told_of_general(client, ear) == []


def test_what_breaks_off_because_the_supervisor_restarts_it_is_no_news_to_it(
    town: Town, ear: Ear, beside: ThreadPoolExecutor
) -> None:
    town.patience = replace(QUICK, watch_s=ENOUGH_S)
    town.upstreams["general"].behave = silent
    client = town.open()
    waiting = beside.submit(ask, client, "general")
    wait_until(lambda: len(town.upstreams["general"].connections) == 1)

    town.say(general=hung())
    town.upstreams["general"].end()
    waiting.result(ENOUGH_S)

    assert told_of_general(client, ear) == []


@pytest.mark.parametrize("behave", [silent, streams_then("one two", silent)], ids=["waiting", "streaming"])
def test_a_client_that_leaves_says_nothing_of_the_backend(town: Town, ear: Ear, behave: Behaviour) -> None:
    town.upstreams["general"].behave = behave
    client = town.open()
    body = b'{"model": "general", "stream": true}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)

    with socket.create_connection((client.base_url.host, client.base_url.port or 80), ENOUGH_S) as leaving:
        leaving.sendall(head + body)
        wait_until(lambda: len(town.upstreams["general"].connections) == 1)
    assert town.upstreams["general"].connections[0].peer_left.wait(ENOUGH_S)

    assert told_of_general(client, ear) == []


def test_whoever_is_only_slower_than_another_has_not_failed(town: Town, ear: Ear) -> None:
    town.upstreams["general"].behave = silent
    client = town.open()
    assert ask(client).headers["X-Backend"] == "code"

    assert told_of_general(client, ear) == []


def test_a_router_that_has_run_out_of_file_handles_blames_nobody() -> None:
    refused, out_of_handles = asyncio.run(failures_with_and_without_file_handles())

    assert not is_our_own(refused)
    assert is_our_own(out_of_handles)


async def failures_with_and_without_file_handles() -> list[Exception]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures: list[Exception] = []
    async with httpx.AsyncClient(trust_env=False) as client:
        for limit in (soft, 0):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                await client.get("http://127.0.0.1:9")
            except httpx.ConnectError as error:
                failures.append(error)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return failures


# --- a supervisor that does not listen --------------------------------------------------------------------------------


def test_without_anybody_to_tell_the_router_does_the_same(town: Town) -> None:
    town.upstreams["general"].behave = hangs_up

    assert content(ask(town.open())) == "from code"


def test_a_supervisor_that_hangs_delays_no_answer(town: Town, ear: Ear) -> None:
    ear.behave = silent
    town.upstreams["general"].behave = hangs_up
    client = town.open()

    assert [content(ask(client)) for _ in range(20)] == ["from code"] * 20
    assert len(ear.connections) < 10  # or each answer waited for one


def test_what_is_still_to_be_told_at_the_end_is_told(tmp_path: Path) -> None:
    with Town(tmp_path) as town:
        town.settle(code=answers("from code"))
        town.say()
        ear = town.listen()
        ask(town.open(), "code")

    assert ear.backends == ["code"]
