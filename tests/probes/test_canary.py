"""The canary against servers that misbehave: what it says, how long it takes, how much it reads, what it asks."""

import re
import time
from typing import Any

import pytest

from supervisor.core.observations import Reply
from supervisor.probes import http
from supervisor.probes.answer import Checker
from supervisor.probes.base import Answer
from supervisor.probes.canary import MAX_BYTES, Canary
from tests.fakes.clocks import Clocks
from tests.fakes.model_server import (
    Behaviour,
    FakeModelServer,
    Line,
    drips,
    floods,
    piece,
    resets,
    says,
    sends,
    silent,
    stalls_after,
    streams,
    usage,
)
from tests.probes.probing import ask

MIB = 1024 * 1024
BUFFERS_BYTES = 16 * MIB  # what the kernel holds of a connection, on both sides
LIMIT_S = 0.3

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
PO = b'data: {"choices": [{"delta": {"content": "po"}}]}\n\n'
WHOLE = '{"choices": [{"message": {"content": "pong"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}'
VLLM_ERROR = {"object": "error", "message": "EngineDeadError", "type": "InternalServerError", "code": 500}
LOADING = '{"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}'


async def answer_of(behave: Behaviour, **options: Any) -> Answer:
    async with FakeModelServer(behave) as server:
        return await ask(server.url, **options)


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        pytest.param(streams(piece("po"), piece("ng"), piece(finish="stop"), usage(2)), Reply.ANSWERED, id="stream"),
        pytest.param(says(WHOLE), Reply.ANSWERED, id="not-streamed"),
        pytest.param(
            streams(piece(reasoning_content="Let me"), piece(finish="length")), Reply.ANSWERED, id="only-thinking"
        ),
        pytest.param(streams(piece(finish="stop"), usage(1)), Reply.ANSWERED, id="one-empty-token"),
        pytest.param(streams(": ping\n\n", piece("pong", "stop")), Reply.ANSWERED, id="kept-alive-by-comments"),
        pytest.param(streams(piece("a\u2028b", "stop")), Reply.ANSWERED, id="line-separator-in-the-text"),
        pytest.param(
            streams(piece(reasoning="Let me"), piece(finish="length")), Reply.ANSWERED, id="only-thinking-in-new-words"
        ),
        pytest.param(streams(piece(finish="length"), usage(4)), Reply.ANSWERED, id="thoughts-that-are-hidden"),
        pytest.param(streams(piece(finish="length")), Reply.ANSWERED, id="a-cap-reached-by-who-does-not-count"),
        pytest.param(streams(piece(finish="length"), usage(0)), Reply.INVALID, id="a-cap-reached-by-no-token"),
        pytest.param(streams(piece(finish="stop")), Reply.INVALID, id="not-one-token"),
        pytest.param(streams(piece("po"), piece(finish="error"), usage(1)), Reply.INVALID, id="ended-by-an-error"),
        pytest.param(streams(piece("po"), piece(finish="abort"), usage(1)), Reply.INVALID, id="ended-by-an-abort"),
        pytest.param(streams(piece(finish="stop"), usage(0)), Reply.INVALID, id="zero-tokens"),
        pytest.param(streams(piece("pong"), ending=""), Reply.INVALID, id="truncated-without-finish-reason"),
        pytest.param(streams(), Reply.INVALID, id="nothing-but-done"),
        pytest.param(streams(piece("!!!!", "length")), Reply.INVALID, id="one-character-repeated"),
        pytest.param(streams(piece("\x19\x19", "length")), Reply.INVALID, id="control-characters"),
        pytest.param(
            streams(piece("po"), {"error": {"message": "Compute error"}}), Reply.INVALID, id="error-in-a-data-line"
        ),
        pytest.param(streams(piece("po"), 'error: {"code": 500}\n\n'), Reply.INVALID, id="error-line"),
        pytest.param(streams(piece("po"), VLLM_ERROR), Reply.INVALID, id="vllms-error-in-a-data-line"),
        pytest.param(streams("event: error\ndata: out of memory\n\n"), Reply.INVALID, id="error-event"),
        pytest.param(
            streams({"error": {"code": 400, "message": "too long"}}), Reply.DENIED, id="a-refusal-that-came-late"
        ),
        pytest.param(
            streams({"error": {"code": 429, "message": "later"}}), Reply.OVERLOADED, id="a-429-that-came-late"
        ),
        pytest.param(says('{"error": "out of memory"}'), Reply.INVALID, id="error-with-status-200"),
        pytest.param(says("}{ garbage"), Reply.INVALID, id="garbage"),
        pytest.param(says("<html>busy</html>", kind="text/html"), Reply.INVALID, id="html"),
        pytest.param(says("[]"), Reply.INVALID, id="a-list"),
        pytest.param(says(""), Reply.INVALID, id="empty"),
        pytest.param(says("slow down", "429 Too Many Requests"), Reply.OVERLOADED, id="429"),
        pytest.param(says("later", "503 Service Unavailable", Retry_After="5"), Reply.OVERLOADED, id="503-retry-after"),
        pytest.param(says("no upstream", "503 Service Unavailable"), Reply.FAILED, id="503"),
        pytest.param(says(LOADING, "503 Service Unavailable"), Reply.LOADING, id="503-loading"),
        pytest.param(
            says(LOADING, "503 Service Unavailable", Retry_After="5"), Reply.LOADING, id="503-loading-and-retry-after"
        ),
        pytest.param(says('{"error": {"message": "Compute error"}}', "500 Oops"), Reply.FAILED, id="500"),
        pytest.param(says("{}", "404 Not Found"), Reply.DENIED, id="404"),
        pytest.param(says("{}", "400 Bad Request"), Reply.DENIED, id="400"),
        pytest.param(says("", "302 Found", Location="http://127.0.0.1:1/"), Reply.DENIED, id="redirect"),
        pytest.param(resets, Reply.RESET, id="reset"),
        pytest.param(sends(), Reply.RESET, id="hung-up-without-a-word"),
        pytest.param(sends(b"HTTP/1.1 200 O"), Reply.RESET, id="hung-up-in-the-head"),
        pytest.param(sends(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Reply.INVALID, id="not-http"),
        pytest.param(sends(HEAD + b"Content-Length: 99\r\n\r\n"), Reply.INVALID, id="no-body"),
        pytest.param(sends(HEAD + b"Content-Length: 99\r\n\r\ndata: {"), Reply.INVALID, id="half-a-body"),
        pytest.param(sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), Reply.INVALID, id="broken-chunks"),
        pytest.param(sends(HEAD, *[b"X-Bomb: " + b"x" * 60_000 + b"\r\n"] * 40), Reply.INVALID, id="header-bomb"),
        pytest.param(floods(), Reply.INVALID, id="ten-gigabytes"),
        pytest.param(silent, Reply.SILENT, id="silent"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"), Reply.SILENT, id="endless-head"),
        pytest.param(drips(HEAD + b"\r\n", b": ping\n\n"), Reply.SILENT, id="kept-waiting-by-comments"),
        pytest.param(drips(HEAD + b"\r\n", PO), Reply.SILENT, id="endless-drip"),
        pytest.param(stalls_after(HEAD + b"\r\n" + PO), Reply.SILENT, id="frozen-in-mid-answer"),
    ],
)
async def test_every_kind_of_answer_has_its_word(behave: Behaviour, expected: Reply) -> None:
    began = time.monotonic()

    answer = await answer_of(behave, limit_s=LIMIT_S if expected is Reply.SILENT else 1.0)

    assert answer.reply is expected, answer.detail
    assert (answer.first_token_s is not None) == (expected is Reply.ANSWERED)
    assert bool(answer.detail) == (expected is not Reply.ANSWERED)
    assert time.monotonic() - began < 5


async def test_what_the_server_says_of_its_failure_is_kept() -> None:
    answer = await answer_of(says('{"error": {"message": "Compute error.\\nSee the log"}}', "500 Oops"))

    assert answer.detail == "status 500: Compute error. See the log"


async def test_no_more_is_read_than_the_bound_however_much_is_sent() -> None:
    async with FakeModelServer(floods(kind="text/event-stream")) as server:
        answer = await ask(server.url)

    assert answer.reply is Reply.INVALID
    assert server.sent < MAX_BYTES + BUFFERS_BYTES


async def test_nothing_compressed_is_asked_for_or_unpacked() -> None:
    async with FakeModelServer(says(b"\x1f\x8b not gzip at all", Content_Encoding="gzip")) as server:
        answer = await ask(server.url)

    assert answer.reply is Reply.INVALID
    assert server.asked[0].headers["accept-encoding"] == "identity"


async def test_a_canary_is_a_small_recognisable_streamed_chat_request() -> None:
    async with FakeModelServer(streams(piece("pong", "stop"))) as server:
        await ask(server.url, model="planner", max_tokens=3)

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.headers["user-agent"] == "benchai-supervisor"
    assert "authorization" not in asked.headers
    content = asked.json["messages"][0]["content"]
    assert re.fullmatch(r"ping [0-9a-f]{8}", content)
    assert asked.json == {
        "model": "planner",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_no_two_canaries_are_alike_and_each_has_its_own_connection() -> None:
    pong = streams(piece("pong", "stop"))

    async with FakeModelServer(pong) as server, http.client(server.url, api_key="secret") as client:
        canary = Canary(client, model="general", max_tokens=4, checker=Checker())
        answers = [await canary.send(limit_s=5) for _ in range(5)]

    assert {answer.reply for answer in answers} == {Reply.ANSWERED}
    assert len({asked.body for asked in server.asked}) == 5
    assert [asked.connection for asked in server.asked] == [1, 2, 3, 4, 5]
    assert {asked.headers["connection"] for asked in server.asked} == {"close"}
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer secret"}


async def test_neither_head_nor_comments_count_as_the_first_token() -> None:
    clocks = Clocks(wall_s=0.0)

    async def behave(line: Line) -> None:
        await line.send(HEAD + b"\r\n: ping\n\n")
        clocks.pass_s(30.0)
        await line.send(PO + b'data: {"choices": [{"finish_reason": "stop"}]}\n\n')

    async with FakeModelServer(behave) as server:
        answer = await ask(server.url, clock=clocks.steady)

    assert answer == Answer(reply=Reply.ANSWERED, first_token_s=30.0)


async def test_a_first_word_whose_line_never_ends_is_timed_by_the_end() -> None:
    answer = await answer_of(sends(HEAD + b"\r\n" + f"data: {WHOLE}".encode()))

    assert answer.reply is Reply.ANSWERED
    assert answer.first_token_s is not None


@pytest.mark.parametrize(("slot", "expected"), [(0, {"id_slot": 0}), (2, {"id_slot": 2}), (None, {})])
async def test_a_canary_is_pinned_to_the_slot_it_is_given_and_to_no_other(
    slot: int | None, expected: dict[str, int]
) -> None:
    async with FakeModelServer(streams(piece("pong", "stop"))) as server:
        await ask(server.url, slot=slot)

    assert {key: value for key, value in server.asked[0].json.items() if key == "id_slot"} == expected


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    answer = await answer_of(streams(piece("pong", "stop")))

    assert answer.reply is Reply.ANSWERED
