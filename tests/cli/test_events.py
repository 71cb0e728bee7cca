"""Server-Sent Events, as they are read from the daemon's stream."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli.events import Event, events
from supervisor.cli.http import Daemon, DaemonRefused, DaemonUnreachable
from tests.fakes.documents import document, entry
from tests.fakes.stream import FakeStream, says


def read(text: str) -> list[Event]:
    """Return the events in a text."""
    return list(events(io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        pytest.param('id: e.1\nevent: fresh\ndata: {"a": 1}\n\n', [("fresh", {"a": 1})], id="one"),
        pytest.param(
            "event: a\r\ndata: 1\r\n\r\nevent: b\r\ndata: 2\r\n\r\n", [("a", 1), ("b", 2)], id="two-with-crlf"
        ),
        pytest.param("event: a\ndata: [1,\ndata: 2]\n\n", [("a", [1, 2])], id="data-in-two-lines"),
        pytest.param(": \n\nretry: 2000\n\n", [], id="comments-and-fields-alone"),
        pytest.param("event: a\ndata: {broken\n\nevent: b\ndata: 2\n\n", [("b", 2)], id="what-is-no-json-is-left-out"),
        pytest.param("event: a\ndata: 1", [], id="half-an-event"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_every_whole_event_is_heard(text: str, heard: list[Event]) -> None:
    assert read(text) == heard


@pytest.fixture
def stream() -> Iterator[FakeStream]:
    """A daemon that streams."""
    with FakeStream(document(entry("general"), now_s=0.0)) as stream:
        yield stream


def test_a_stream_that_ends_ends_the_reading(stream: FakeStream) -> None:
    following = Daemon(stream.url).follow()
    first = next(following)
    stream.hang_up()

    assert first.kind == "liveness"
    assert list(following) == []


def test_a_stream_that_is_refused_says_why(stream: FakeStream) -> None:
    stream.refusal = lambda connection: connection.send(
        'HTTP/1.0 503 Busy\r\n\r\n{"error": {"code": "TooManyStreams", "message": "32 streams are open"}}'
    )

    with pytest.raises(DaemonRefused, match="32 streams are open"):
        next(Daemon(stream.url).follow())


def test_what_is_no_stream_is_not_our_daemon(stream: FakeStream) -> None:
    stream.refusal = says("204 No Content")

    with pytest.raises(DaemonUnreachable, match="is not benchai-supervisord"):
        next(Daemon(stream.url).follow())


def test_where_nobody_listens_there_is_no_stream(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="no such socket"):
        next(Daemon(f"unix://{tmp_path}/none.sock").follow())
