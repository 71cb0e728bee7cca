"""Telling an answer from whatever else a server may send."""

import json
import re
import time
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisor.core.observations import Reply
from supervisor.probes.answer import Checker
from supervisor.probes.canary import MAX_BYTES
from supervisor.probes.http import MAX_DETAIL
from supervisor.probes.questions import CanaryKind
from tests.fakes.model_server import piece, usage
from tests.probes.real_answers import CHAT, COMPLETION, EMBEDDINGS

STREAM = {"content-type": "text/event-stream"}
WHOLE = {"content-type": "application/json"}
KEYS = [
    "choices", "message", "delta", "content", "reasoning_content", "reasoning", "text", "finish_reason", "usage",
    "completion_tokens", "error", "code", "object", "data", "embedding",
]  # fmt: skip
KINDS = st.sampled_from(get_args(CanaryKind))
DEEP = 100_000


def check(
    body: bytes, headers: dict[str, str] = WHOLE, *patterns: str, status: int = 200, kind: CanaryKind = "chat"
) -> tuple[Reply, str]:
    return Checker(error_patterns=tuple(map(re.compile, patterns))).check(status, headers, body, kind=kind)


def vectors(embedding: str) -> bytes:
    return f'{{"object": "list", "data": [{{"index": 0, "embedding": {embedding}}}]}}'.encode()


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


@pytest.mark.parametrize("embedding", ["[0.25]", "[0, 0, -1e-9]", "[1, 2.5]"])
def test_numbers_are_an_embedding(embedding: str) -> None:
    assert check(vectors(embedding), kind="embeddings") == (Reply.ANSWERED, "")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        pytest.param(vectors("[]"), "it holds no embedding", id="empty"),
        pytest.param(vectors('"AAAAAA=="'), "it holds no embedding", id="base64-which-nobody-asked-for"),
        pytest.param(vectors("[[0.5]]"), "its embedding holds something that is no number", id="one-for-each-token"),
        pytest.param(vectors("[null, null]"), "its embedding holds something that is no number", id="null"),
        pytest.param(vectors("[0.5, NaN]"), "its embedding holds something that is no number", id="nan"),
        pytest.param(vectors("[0.5, Infinity]"), "its embedding holds something that is no number", id="infinite"),
        pytest.param(vectors("[true]"), "its embedding holds something that is no number", id="true"),
        pytest.param(vectors("[1" + "0" * 400 + "]"), "its embedding holds something that is no number", id="endless"),
        pytest.param(vectors("[0.0, -0.0, 0]"), "its embedding is all zeros", id="zeros"),
        pytest.param(b'{"data": []}', "it holds no embedding", id="no-data"),
        pytest.param(b'{"data": [7]}', "it holds no embedding", id="data-of-no-shape"),
        pytest.param(b'{"error": "out of memory"}', "it holds an error: out of memory", id="error"),
        pytest.param(vectors("[0.5]")[:-4], "it is not JSON: ", id="truncated"),
    ],
)
def test_what_is_no_embedding_is_said_to_be_none(body: bytes, detail: str) -> None:
    reply, said = check(body, kind="embeddings")

    assert reply is Reply.INVALID
    assert said.startswith(f"status 200, but {detail}")


@pytest.mark.parametrize("kind", ["chat", "completion", "vision"])
def test_an_embedding_answers_no_question_for_words(kind: CanaryKind) -> None:
    assert check(EMBEDDINGS, kind=kind)[0] is Reply.INVALID


@pytest.mark.parametrize(
    ("body", "headers", "kind"), [(CHAT, STREAM, "chat"), (COMPLETION, STREAM, "completion"), (CHAT, STREAM, "vision")]
)
def test_a_real_stream_that_is_cut_before_its_finish_reason_is_no_answer(
    body: bytes, headers: dict[str, str], kind: CanaryKind
) -> None:
    finish = body.index(b'"finish_reason":"length"')

    assert check(body, headers, kind=kind) == (Reply.ANSWERED, "")
    assert {check(body[:end], headers, kind=kind)[0] for end in range(0, finish, 7)} == {Reply.INVALID}


@pytest.mark.parametrize(
    ("end", "reply"), [(b"data: [DONE]\n\n", Reply.ANSWERED), (b"data: [DON", Reply.INVALID), (b"", Reply.INVALID)]
)
def test_a_router_that_makes_its_own_pieces_may_end_them_with_done_alone(end: bytes, reply: Reply) -> None:
    spoken = b'data: {"choices":[{"index":0,"delta":{"content":"pong"}}]}\n\n'

    assert check(spoken + end, STREAM)[0] is reply


def test_done_alone_is_no_answer_where_nothing_was_said() -> None:
    assert check(b"data: [DONE]\n\n", STREAM) == (Reply.INVALID, "status 200, but not one token came")


@pytest.mark.parametrize(
    ("beginning", "repeated"),
    [
        pytest.param(b"", b"data: {}\n\n", id="empty-events"),
        pytest.param(b"", b"\n", id="empty-lines"),
        pytest.param(b"", b'data: {"choices":[{"delta":{"content":"a"}}]}\n', id="words"),
        pytest.param(b'data: {"choices": [', b"{},", id="choices"),
        pytest.param(b'data: {"data": [{"embedding": [', b"1,", id="numbers"),
    ],
)
@pytest.mark.parametrize("kind", get_args(CanaryKind))
def test_the_longest_body_that_is_read_is_judged_soon(beginning: bytes, repeated: bytes, kind: CanaryKind) -> None:
    body = beginning + repeated * ((MAX_BYTES - len(beginning)) // len(repeated))
    began = time.monotonic()

    reply, _ = check(body, STREAM, kind=kind)

    assert reply is Reply.INVALID
    assert time.monotonic() - began < 10


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
SPLICES = [b"null", b"NaN", b"1e999", b"[]", b"{}", b'"', b"\n\n", b"data: ", b"error: ", b"\xff", b"\\ud800", b""]
HEADERS = st.fixed_dictionaries(
    {}, optional={"content-type": st.sampled_from([*STREAM.values(), *WHOLE.values(), ""]), "retry-after": st.just("5")}
)


@settings(deadline=None)
@given(status=st.integers(100, 599), headers=HEADERS, body=BODIES, kind=KINDS)
@example(
    status=200,
    headers=STREAM,
    body=b'data: {"choices":[{"finish_reason":"stop","delta":{"content":"\\ud800"}}]}',
    kind="chat",
)
def test_no_bytes_whatever_make_it_raise(status: int, headers: dict[str, str], body: bytes, kind: CanaryKind) -> None:
    reply, detail = check(body, headers, "^Model .* busy", status=status, kind=kind)

    assert_bounded(reply, detail)
    assert status == 200 or reply is not Reply.ANSWERED


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a real answer with a few cuts, swaps and foreign bytes."""
    body = draw(st.sampled_from([CHAT, COMPLETION, EMBEDDINGS]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 64)))
        body = body[:start] + draw(st.sampled_from(SPLICES) | st.binary(max_size=8)) + body[end:]
    return body


@settings(deadline=None)
@given(body=mutated(), headers=st.sampled_from([STREAM, WHOLE]), status=st.sampled_from([200, 400, 500]), kind=KINDS)
def test_no_real_answer_however_damaged_makes_it_raise(
    body: bytes, headers: dict[str, str], status: int, kind: CanaryKind
) -> None:
    reply, detail = check(body, headers, "^Model .* busy", status=status, kind=kind)

    assert_bounded(reply, detail)
    assert status == 200 or reply is not Reply.ANSWERED


def assert_bounded(reply: Reply, detail: str) -> None:
    assert (detail == "") == (reply is Reply.ANSWERED)
    assert len(detail) <= MAX_DETAIL
    assert detail.isprintable()
    assert detail.encode(errors="strict") is not None
