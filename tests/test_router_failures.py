"""The demo router and model servers that fail: it finds another, or says so, and never waits for nothing."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.fakes.documents import Document
from tests.fakes.town import ENOUGH_S, QUICK, Town, ask, content, hung, wait_until
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    answers,
    drips,
    fails,
    hangs_up,
    resets,
    sends_then,
    silent,
    streams_then,
)

BUSY: Document = {"weight": 0.3, "verdict": "busy"}
HALF_A_BODY = sends_then('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"choices": [', hangs_up)
HEAD_OF_A_STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Town(tmp_path) as town:
        town.settle(general=silent, code=answers("from code"))
        town.say()
        yield town


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as beside:
        yield beside


def asked(town: Town, name: str) -> int:
    return len(town.upstreams[name].connections)


# --- before the first byte --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(hangs_up, id="hangs-up"),
        pytest.param(resets, id="resets"),
        pytest.param(fails("503 Service Unavailable", '{"error": {"message": "Loading model"}}'), id="loading"),
        pytest.param(fails("500 Internal Server Error"), id="500"),
        pytest.param(fails("429 Too Many Requests"), id="too-busy"),
        pytest.param(HALF_A_BODY, id="half-a-body"),
        pytest.param(sends_then(HEAD_OF_A_STREAM, hangs_up), id="a-stream-that-never-begins"),
        pytest.param(sends_then("220 smtp ready\r\n", hangs_up), id="not-http"),
    ],
)
def test_auto_goes_on_to_the_next_where_one_fails(town: Town, behave: Behaviour, stream: bool) -> None:
    town.upstreams["general"].behave = behave

    response = ask(town.open(), stream=stream)

    assert (response.headers["X-Backend"], content(response)) == ("code", "from code")
    assert asked(town, "general") == 1


def test_auto_goes_on_to_the_next_where_nobody_listens(town: Town) -> None:
    town.upstreams["general"].close()

    assert content(ask(town.open())) == "from code"


@pytest.mark.parametrize(
    "behave",
    [silent, sends_then(HEAD_OF_A_STREAM, silent), sends_then("HTTP/1.1 200 OK\r\nX: ", drips)],
    ids=["silent", "silent-after-its-head", "drips"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_auto_asks_another_where_one_says_nothing_though_nobody_has_noticed_yet(
    town: Town, behave: Behaviour, stream: bool
) -> None:
    town.upstreams["general"].behave = behave

    response = ask(town.open(), stream=stream)

    assert content(response) == "from code"


def test_the_first_to_be_asked_may_still_win(town: Town) -> None:
    """A slow answer is not thrown away for a second try that is slower."""

    def slow(connection: Connection) -> None:
        connection.wait(0.5)
        answers("from general")(connection)

    town.upstreams["general"].behave = slow
    town.upstreams["code"].behave = silent

    response = ask(town.open())

    assert content(response) == "from general"
    assert asked(town, "code") == 1


def test_a_second_try_does_not_go_to_a_busier_backend(town: Town, beside: ThreadPoolExecutor) -> None:
    town.say(code=BUSY)
    waiting = beside.submit(ask, town.open())
    wait_until(lambda: asked(town, "general") == 1)

    time.sleep(3 * QUICK.second_try_s)
    assert asked(town, "code") == 0

    town.say(general=hung(), code=BUSY)
    assert content(waiting.result(ENOUGH_S)) == "from code"


def test_no_more_than_two_are_asked_at_once(tmp_path: Path, beside: ThreadPoolExecutor) -> None:
    with Town(tmp_path) as town:
        town.settle(general=silent, code=silent, vision=answers("from vision"))
        town.say()
        waiting = beside.submit(ask, town.open())
        wait_until(lambda: asked(town, "code") == 1)

        time.sleep(3 * QUICK.second_try_s)
        assert asked(town, "vision") == 0

        town.say(code=hung())
        assert content(waiting.result(ENOUGH_S)) == "from vision"


def test_one_that_is_out_and_one_that_is_busy_are_not_all_that_is_waited_for(
    tmp_path: Path, beside: ThreadPoolExecutor
) -> None:
    """The suspected one may finish what it has; with the second at work for others, nobody would answer for long."""
    with Town(tmp_path) as town:
        town.settle(general=silent, planner=silent, code=answers("from code"))
        town.say()
        waiting = beside.submit(ask, town.open())
        wait_until(lambda: asked(town, "planner") == 1)

        town.say(general={"routable": False, "verdict": "suspect"}, planner=BUSY)

        assert content(waiting.result(ENOUGH_S)) == "from code"


def test_suspicion_is_enough_to_ask_another_at_once(town: Town, beside: ThreadPoolExecutor) -> None:
    town.patience = replace(QUICK, second_try_s=ENOUGH_S)
    town.say(code=BUSY)
    waiting = beside.submit(ask, town.open())
    wait_until(lambda: asked(town, "general") == 1)

    town.say(general={"routable": False, "verdict": "suspect"}, code=BUSY)

    assert content(waiting.result(ENOUGH_S)) == "from code"


def test_a_backend_that_turns_out_to_hang_is_let_go_and_the_next_one_asked(
    town: Town, beside: ThreadPoolExecutor
) -> None:
    town.patience = replace(QUICK, second_try_s=ENOUGH_S)
    waiting = beside.submit(ask, town.open())
    wait_until(lambda: asked(town, "general") == 1)

    town.say(general=hung())

    assert content(waiting.result(ENOUGH_S)) == "from code"
    assert town.upstreams["general"].connections[0].peer_left.wait(ENOUGH_S)


@pytest.mark.parametrize("stream", [False, True])
def test_where_the_only_one_turns_out_to_hang_the_client_is_told_at_once_why_and_when_to_come_back(
    town: Town, beside: ThreadPoolExecutor, stream: bool
) -> None:
    waiting = beside.submit(ask, town.open(), "general", stream=stream)
    wait_until(lambda: asked(town, "general") == 1)

    town.say(general=hung())
    response = waiting.result(ENOUGH_S)

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "12"
    assert response.json()["error"]["message"] == "general: abandoned, hung: no progress for 14 s"


def test_where_the_only_one_fails_the_client_is_told_how(town: Town) -> None:
    town.upstreams["general"].behave = fails("500 Internal Server Error", "Compute error")

    response = ask(town.open(), "general")

    assert response.status_code == 503
    assert "Retry-After" in response.headers
    assert response.json()["error"]["message"] == "general: answered 500: Compute error"


def test_busy_is_not_hung_so_the_only_one_is_waited_for_and_asked_once(town: Town) -> None:
    def slow(connection: Connection) -> None:
        connection.wait(5 * QUICK.second_try_s)
        answers("at last")(connection)

    town.patience = replace(QUICK, blind_s=2 * QUICK.second_try_s)
    town.upstreams["general"].behave = slow
    town.say(general=BUSY)

    assert content(ask(town.open(), "general")) == "at last"
    assert asked(town, "general") == 1


@pytest.mark.parametrize("verdict", ["ready", "busy", "suspect", "unknown", "hung, said long ago"])
def test_a_backend_that_is_drained_or_only_suspected_may_finish_what_it_has_begun(
    town: Town, beside: ThreadPoolExecutor, verdict: str
) -> None:
    release = threading.Event()

    def slow(connection: Connection) -> None:
        release.wait(ENOUGH_S)
        answers("from general")(connection)

    town.upstreams["general"].behave = slow
    waiting = beside.submit(ask, town.open(), "general")
    wait_until(lambda: asked(town, "general") == 1)

    word, _, long_ago = verdict.partition(",")
    town.say(general={"routable": False, "verdict": word}, valid_for_s=-1.0 if long_ago else 60.0)
    time.sleep(5 * QUICK.watch_s)
    release.set()

    assert content(waiting.result(ENOUGH_S)) == "from general"


def test_no_answer_is_waited_for_for_ever(town: Town) -> None:
    town.patience = replace(QUICK, first_byte_s=0.3)

    response = ask(town.open(), "general")

    assert response.status_code == 504
    assert response.json()["error"]["code"] == "no_answer_in_time"


# --- without a supervisor ---------------------------------------------------------------------------------------------


def test_without_a_supervisor_all_are_asked_in_turn(tmp_path: Path) -> None:
    with Town(tmp_path) as town:
        town.settle(general=silent, code=silent, vision=answers("from vision"))

        assert content(ask(town.open())) == "from vision"


def test_without_a_supervisor_the_only_one_is_not_waited_for_as_long(town: Town) -> None:
    town.file.unlink()
    town.patience = replace(QUICK, blind_s=0.3)

    assert ask(town.open(), "general").status_code == 504


# --- clients that leave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behave", [silent, streams_then("one two", silent)], ids=["waiting", "streaming"])
def test_a_client_that_leaves_takes_its_request_to_the_backend_along(town: Town, behave: Behaviour) -> None:
    town.upstreams["general"].behave = behave
    url = town.open().base_url
    body = b'{"model": "general", "stream": true}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)

    with socket.create_connection((url.host, url.port or 80), ENOUGH_S) as client:
        client.sendall(head + body)
        wait_until(lambda: asked(town, "general") == 1)
        if behave is not silent:
            assert client.recv(4096)

    assert town.upstreams["general"].connections[0].peer_left.wait(ENOUGH_S)


def test_a_client_that_leaves_in_the_middle_of_its_request_harms_nobody(town: Town) -> None:
    client = town.open()

    def breaks_off() -> Iterator[bytes]:
        yield b'{"model": '
        raise ConnectionError

    with pytest.raises(ConnectionError):
        client.post("/v1/chat/completions", content=breaks_off())

    assert ask(client, "code").status_code == 200


def test_requests_do_not_wait_for_one_another(town: Town, beside: ThreadPoolExecutor) -> None:
    client = town.open()
    stuck = [beside.submit(ask, client, "general") for _ in range(3)]
    wait_until(lambda: asked(town, "general") == 3)

    answered: Future[httpx.Response] = beside.submit(ask, client, "code")

    assert answered.result(ENOUGH_S).status_code == 200
    town.say(general=hung())
    assert [waiting.result(ENOUGH_S).status_code for waiting in stuck] == [503] * 3
