"""The demo router in the middle of a streamed answer: whoever waits for the rest gets it, or is told."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.town import ENOUGH_S, QUICK, Town, ask, content, events, hung, words
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    answers,
    hangs_up,
    resets,
    silent,
    streams_then,
)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Town(tmp_path) as town:
        town.settle(general=silent, code=answers("from code"))
        town.say()
        yield town


@contextlib.contextmanager
def listening(town: Town, model: str = "general") -> Iterator[Iterator[str]]:
    """Ask for a stream, wait for its first piece, and give that and the pieces to come."""
    body = {"model": model, "stream": True}
    with town.open().stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.iter_text()
        yield itertools.chain([next(pieces)], pieces)


def last_error(stream: str) -> str:
    """Return the error that a stream ended with, after the words that came before it."""
    *before, last = events(stream)
    assert words(before) == ["one", "two"]
    assert last["error"]["code"] == "backend_died"
    return str(last["error"]["message"])


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(hangs_up, id="hangs-up"),
        pytest.param(resets, id="resets"),
        pytest.param(lambda connection: connection.send_chunk(""), id="ends-without-its-last-word"),
        pytest.param(lambda connection: connection.send_chunk('data: {"choices": [{"del'), id="breaks-off-in-an-event"),
    ],
)
def test_a_stream_that_breaks_off_ends_with_an_error(town: Town, ending: Behaviour) -> None:
    town.upstreams["general"].behave = streams_then("one two", ending, between_s=0.05)

    response = ask(town.open(), "general", stream=True)

    assert response.status_code == 200
    assert last_error(response.text).startswith("general stopped in the middle of its answer: ")


def test_a_stream_whose_server_turns_out_to_hang_ends_with_an_error(town: Town) -> None:
    town.upstreams["general"].behave = streams_then("one two", silent)

    with listening(town) as pieces:
        town.say(general=hung())
        stream = "".join(pieces)

    assert last_error(stream).endswith("hung: no progress for 14 s")
    assert town.upstreams["general"].connections[0].peer_left.wait(ENOUGH_S)


def test_a_stream_that_says_nothing_for_too_long_ends_with_an_error(town: Town) -> None:
    town.patience = replace(QUICK, idle_s=0.3)
    town.upstreams["general"].behave = streams_then("one two", silent)

    assert "nothing came for" in last_error(ask(town.open(), "general", stream=True).text)


def test_a_stream_that_moves_goes_on_though_its_server_is_no_longer_routable(town: Town) -> None:
    text = "a slow stream that goes on"
    town.patience = replace(QUICK, quiet_s=2.0)
    town.upstreams["general"].behave = streams_then(text, last_word, between_s=0.05)

    with listening(town) as pieces:
        town.say(general=hung())
        stream = "".join(pieces)

    assert words(events(stream)) == text.split()


def test_words_are_passed_on_as_they_come(town: Town) -> None:
    go_on = threading.Event()

    def waits_half_way(connection: Connection) -> None:
        go_on.wait(ENOUGH_S)
        last_word(connection)

    town.upstreams["general"].behave = streams_then("one", waits_half_way)

    with listening(town) as pieces:
        assert words(events(next(pieces))) == ["one"]
        go_on.set()
        assert "[DONE]" in "".join(pieces)


def test_after_the_last_word_nothing_more_is_waited_for(town: Town) -> None:
    def lingers(connection: Connection) -> None:
        last_word(connection)
        silent(connection)

    town.upstreams["general"].behave = streams_then("one", lingers)

    assert content(ask(town.open(), "general", stream=True)) == "one"
    assert town.upstreams["general"].connections[0].peer_left.wait(ENOUGH_S)


def last_word(connection: Connection) -> None:
    connection.send_chunk("data: [DONE]\n\n")
