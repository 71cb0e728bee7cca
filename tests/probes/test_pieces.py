"""The first word of an answer, however it is cut, and what comes before it."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.probes.canary import MAX_BYTES
from supervisor.probes.pieces import FirstWord
from tests.probes.real_answers import CHAT, COMPLETION, EMBEDDINGS

STREAM = "text/event-stream; charset=utf-8"
WAITING = b":\n\n: ping\n\nevent: ping\n\ndata:\n\ndata: {}\n\n"


def heard_after(body: bytes, content_type: str = STREAM, *, each: int = 1) -> int:
    """Return how many bytes had come when the first word was heard; none: more than there are."""
    first_word = FirstWord(content_type)
    for start in range(0, len(body), each):
        first_word.listen(body[start : start + each])
        if first_word.heard:
            return min(start + each, len(body))
    return len(body) + 1


@pytest.mark.parametrize(("body", "word"), [(CHAT, b" some"), (COMPLETION, b" water")])
def test_an_answer_begins_with_the_line_that_holds_its_first_word(body: bytes, word: bytes) -> None:
    end_of_line = body.index(b"\n", body.index(word)) + 1

    assert heard_after(WAITING + body) == len(WAITING) + end_of_line


def test_neither_comments_nor_pieces_without_a_word_begin_an_answer() -> None:
    opening = CHAT[: CHAT.index(b"\n\n") + 2]  # it only names the speaker

    assert heard_after(WAITING + opening) > len(WAITING + opening)


def test_an_answer_that_is_no_stream_begins_with_its_body() -> None:
    assert heard_after(b" \n" + EMBEDDINGS, "application/json") == 3


@pytest.mark.parametrize("body", [b"data: }{\n", b'data: {"error": "out of memory"}\n', b'error: {"code": 500}\r\n'])
def test_an_error_and_garbage_are_words_too(body: bytes) -> None:
    assert heard_after(body) <= len(body)


@given(cuts=st.lists(st.integers(0, len(CHAT)), max_size=8))
@example(cuts=[CHAT.index(b"\n") + 1])
def test_no_cut_hides_the_first_word(cuts: list[int]) -> None:
    body = CHAT.replace(b"\n", b"\r\n")
    edges = [0, *sorted(cuts), len(body)]
    first_word = FirstWord(STREAM)

    for start, end in pairwise(edges):
        first_word.listen(body[start:end])

    assert first_word.heard


@pytest.mark.parametrize("repeated", [b"x", b": ping\n", b"data: {}\n"])
def test_a_body_that_comes_byte_by_byte_and_never_begins_takes_no_time(repeated: bytes) -> None:
    body = repeated * (MAX_BYTES // len(repeated))
    began = time.monotonic()

    assert heard_after(body) > len(body)
    assert time.monotonic() - began < 20
