"""Telling an answer from whatever else a server may send."""

import json
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisor.core.observations import Reply
from supervisor.probes.answer import Checker
from supervisor.probes.http import MAX_DETAIL
from tests.fakes.model_server import piece, usage

STREAM = {"content-type": "text/event-stream"}
WHOLE = {"content-type": "application/json"}
KEYS = ["choices", "message", "delta", "content", "reasoning_content", "finish_reason", "usage", "error", "code"]
DEEP = 100_000


def check(body: bytes, headers: dict[str, str] = WHOLE, *patterns: str, status: int = 200) -> tuple[Reply, str]:
    return Checker(error_patterns=tuple(map(re.compile, patterns))).check(status, headers, body)


def stream(*pieces: object) -> bytes:
    return b"".join(b"data: " + json.dumps(each, ensure_ascii=False).encode() + b"\n\n" for each in pieces)


@pytest.mark.parametrize("text", ["pong", "Pong!", "11", "\n\n\n\n", "…", "哈哈哈", "ок", "🙂"])
def test_what_people_may_say_is_no_garbage(text: str) -> None:
    assert check(stream(piece(text, "length")), STREAM) == (Reply.ANSWERED, "")


@pytest.mark.parametrize("text", ["!!!!", "GGGGGGGG", "/ / / /", "\x19", "\x00\x00", "????", "\x1b\x1b\x1b"])
def test_what_poisoned_models_say_is_garbage(text: str) -> None:
    reply, detail = check(stream(*(piece(each) for each in text), piece(finish="length")), STREAM)

    assert reply is Reply.INVALID
    assert detail.startswith("garbage: ")
    assert detail.isprintable()


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_characters_that_end_a_line_elsewhere_do_not_end_one_in_a_stream(separator: str) -> None:
    body = stream(piece(f"one{separator}two", "stop"))

    assert check(body, STREAM) == (Reply.ANSWERED, "")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_stream_may_end_its_lines_in_any_of_the_three_ways(end: bytes) -> None:
    body = stream(piece("po"), piece("ng", "stop"), usage(2)).replace(b"\n", end)

    assert check(body, {"content-type": "text/event-stream; charset=utf-8"}) == (Reply.ANSWERED, "")


def test_a_careless_pattern_and_a_long_answer_do_not_hold_up_the_loop() -> None:
    began = time.monotonic()

    reply, _ = check(stream(piece("so many words " * 18_000, "stop")), STREAM, ".*.*busy$")

    assert reply is Reply.ANSWERED
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b'{"error":' * DEEP,
        b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"choices": ' + b"[" * DEEP,
        b'{"usage": {"completion_tokens": ' + b"9" * 10_000 + b"}}",
    ],
    ids=["lists", "tables", "error", "choices", "number"],
)
@pytest.mark.parametrize("status", [200, 500])
def test_nested_or_long_beyond_reason_is_no_answer(body: bytes, status: int) -> None:
    as_stream, as_whole = check(b"data: " + body, STREAM, status=status), check(body, status=status)

    assert {as_stream[0], as_whole[0]} == ({Reply.INVALID} if status == 200 else {Reply.FAILED})


def test_what_no_encoding_can_hold_does_not_leave_the_probe() -> None:
    reply, detail = check(rb'{"error": {"message": "half a \ud83d character, \u001b[31mred\u0000"}}', status=500)

    assert reply is Reply.FAILED
    assert detail == "status 500: half a \ufffd character, \ufffd[31mred\ufffd"
    assert detail.encode(errors="strict") is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
)
BODIES = (
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(JSON, max_size=4).map(lambda values: stream(*values))
    | st.text().map(lambda text: text.encode(errors="surrogatepass"))
)
HEADERS = st.fixed_dictionaries(
    {}, optional={"content-type": st.sampled_from([*STREAM.values(), *WHOLE.values(), ""]), "retry-after": st.just("5")}
)


@settings(deadline=None)
@given(status=st.integers(100, 599), headers=HEADERS, body=BODIES)
@example(status=200, headers=STREAM, body=b'data: {"choices":[{"finish_reason":"stop","delta":{"content":"\\ud800"}}]}')
def test_no_bytes_whatever_make_it_raise(status: int, headers: dict[str, str], body: bytes) -> None:
    reply, detail = check(body, headers, "^Model .* busy", status=status)

    assert (detail == "") == (reply is Reply.ANSWERED)
    assert len(detail) <= MAX_DETAIL
    assert detail.isprintable()
    assert detail.encode(errors="strict") is not None
    assert status == 200 or reply is not Reply.ANSWERED
