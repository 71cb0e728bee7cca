"""The client that follows a stream, however badly that goes: it keeps what it holds, asks itself, and nobody waits."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from supervisor.client import MAX_CHARS, MAX_DOCUMENT_BYTES, Liveness
from tests.fakes.clocks import Clocks
from tests.fakes.documents import document, entry, out
from tests.fakes.ear import wait_until
from tests.fakes.stream import FakeStream, last_event_id, says
from tests.fakes.upstream import Behaviour, Upstream, drips, hangs_up, sends_then, silent

QUICK_S = 0.05  # between two fetches
A_WHILE_S = 0.5
SOON_S = 8.0  # on a slow machine; what a document in these tests lives for is longer
THREAD = "liveness stream"


def following() -> int:
    """Return how many threads follow a stream."""
    return sum(thread.name == THREAD for thread in threading.enumerate())


@pytest.fixture
def stream(clocks: Clocks) -> Iterator[FakeStream]:
    with FakeStream(document(entry("code"), now_s=clocks.wall_s, revision=0), date=clocks.wall) as stream:
        yield stream
    wait_until(lambda: following() == 0)


@contextlib.contextmanager
def follow(stream: Upstream, clocks: Clocks | None = None, *, timeout_s: float = 0.2) -> Iterator[Liveness]:
    """Follow a stream with a client that does not wait long, by these clocks or the real ones."""
    make = clocks.client if clocks else Liveness
    client = make(stream.url, follow=True, poll_s=QUICK_S, timeout_s=timeout_s)
    with contextlib.closing(client) as liveness:
        liveness.snapshot()
        yield liveness


def keep_saying(stream: FakeStream, text: str, *, until: Callable[[], bool]) -> None:
    """Say it again and again until something holds."""
    deadline = time.monotonic() + 5.0
    while not until():
        assert time.monotonic() < deadline
        stream.say(text)
        time.sleep(0.02)


@pytest.fixture
def liveness(stream: FakeStream, clocks: Clocks) -> Iterator[Liveness]:
    client = clocks.client(stream.url, follow=True, poll_s=QUICK_S, timeout_s=0.2)
    with contextlib.closing(client) as liveness:
        stream.liveness = document(entry("code"), now_s=clocks.wall_s, revision=1)
        wait_until(lambda: liveness.snapshot().revision == 1)
        wait_until(lambda: stream.open == 1)
        yield liveness


# --- no stream --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(says("404 Not Found"), id="an-older-supervisor"),
        pytest.param(says("503 Service Unavailable"), id="too-many-streams"),
        pytest.param(sends_then("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n", silent), id="no-stream"),
        pytest.param(hangs_up, id="hangs-up"),
        pytest.param(silent, id="silent"),
        pytest.param(drips, id="drips"),
        pytest.param(says("200 OK", "text/event-stream"), id="ends-at-once"),
    ],
)
def test_where_there_is_no_stream_the_document_is_fetched_now_and_then(
    stream: FakeStream, clocks: Clocks, refusal: Behaviour
) -> None:
    stream.refusal = refusal
    with follow(stream, clocks) as liveness:
        stream.liveness = document(out("code"), now_s=clocks.wall_s, revision=2)

        began = time.monotonic()
        wait_until(lambda: liveness.pick("code").refuse)
        assert time.monotonic() - began < SOON_S


def test_what_ends_at_once_again_and_again_is_not_asked_without_a_pause(stream: FakeStream, clocks: Clocks) -> None:
    stream.refusal = hangs_up
    stream.liveness = None
    with follow(stream, clocks):
        time.sleep(1.0)

    assert 2 <= len(stream.opened) <= 7, "after 0.05, 0.1, 0.2 s …, or half of each"


@pytest.mark.parametrize("poll_s", [0.0, 3600.0])
def test_whatever_the_pause_between_fetches_a_lost_stream_is_looked_for_in_time(
    stream: FakeStream, clocks: Clocks, poll_s: float
) -> None:
    stream.refusal = hangs_up
    with contextlib.closing(clocks.client(stream.url, follow=True, poll_s=poll_s)) as liveness:
        liveness.snapshot()
        wait_until(lambda: len(stream.opened) == 1)
        time.sleep(A_WHILE_S)
        assert len(stream.opened) <= 2 + A_WHILE_S / 0.025

        stream.refusal = None
        wait_until(lambda: stream.open == 1)


def test_a_stream_that_is_to_be_had_later_is_followed_then(stream: FakeStream, clocks: Clocks) -> None:
    stream.refusal = says("503 Service Unavailable")
    with follow(stream, clocks) as liveness:
        wait_until(lambda: len(stream.opened) > 1)

        stream.refusal = None
        wait_until(lambda: stream.open == 1)
        fetched = len(stream.fetched)
        stream.tell(document(out("code"), now_s=clocks.wall_s, revision=2))
        wait_until(lambda: liveness.pick("code").refuse)

    assert len(stream.fetched) == fetched


# --- a stream that ends -----------------------------------------------------------------------------------------------


def test_a_stream_that_ends_is_opened_anew_from_where_it_ended_and_nothing_is_missed_meanwhile(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    stream.tell(document(entry("code"), now_s=clocks.wall_s, revision=2))
    wait_until(lambda: liveness.snapshot().revision == 2)
    told = stream.told

    stream.liveness = document(out("code"), now_s=clocks.wall_s, revision=3)
    stream.hang_up()

    wait_until(lambda: liveness.pick("code").refuse)
    wait_until(lambda: len(stream.opened) == 2)
    assert [last_event_id(each) for each in stream.opened] == ["", f"0b9c.{told}"]


def test_without_any_answer_what_is_held_counts_until_it_expires(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    stream.tell(document(out("code"), now_s=clocks.wall_s, revision=2))
    wait_until(lambda: liveness.pick("code").refuse)

    stream.refusal, stream.liveness = hangs_up, None
    stream.hang_up()
    fetched = len(stream.fetched)
    wait_until(lambda: len(stream.fetched) > fetched + 1)
    assert liveness.pick("code").refuse

    clocks.pass_s(15.0)
    choice = liveness.pick("code")
    assert not choice.known
    assert "it answered 503" in choice.reason

    stream.refusal, stream.liveness = None, document(out("code"), now_s=clocks.wall_s, revision=3)
    wait_until(lambda: liveness.pick("code").refuse)


def test_what_was_missed_and_has_expired_meanwhile_makes_nobody_unsure(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    """A stream that is opened anew repeats old documents before it comes to the present."""
    seen: list[bool] = []
    stream.liveness = document(out("code"), now_s=clocks.wall_s, revision=4)
    clocks.pass_s(QUICK_S)

    for revision in (2, 3):
        stream.say(stream.told_of(document(entry("code"), now_s=clocks.wall_s - 60, revision=revision)))
    while not liveness.pick("code").refuse:
        seen.append(liveness.snapshot().known)

    assert all(seen)
    assert len(stream.fetched) == 2
    assert stream.open == 1


# --- a stream that goes on, and is of no use --------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["", ": \n\n", ": ", "data: x\n", "event: transition\ndata: {}\n\n"], ids=ascii)
def test_a_stream_that_tells_nothing_for_longer_than_a_document_lives_is_dropped(said: str) -> None:
    """Heartbeats come from whatever serves, and not from what decides."""
    with FakeStream(document(entry("code"), now_s=time.time(), valid_for_s=0.5)) as stream, follow(stream):
        wait_until(lambda: stream.open == 1)
        stream.is_mute = True
        keep_saying(stream, said, until=lambda: len(stream.opened) == 2)


def test_news_that_a_proxy_keeps_to_itself_is_asked_for_long_before_the_document_expires(clocks: Clocks) -> None:
    first = document(entry("code"), now_s=clocks.wall_s, revision=0, valid_for_s=600.0)
    with FakeStream(first, date=clocks.wall) as stream:
        stream.is_mute = True
        with follow(stream, clocks) as liveness:
            wait_until(lambda: stream.open == 1)
            stream.liveness = document(out("code"), now_s=clocks.wall_s, revision=1, valid_for_s=600.0)

            wait_until(lambda: liveness.snapshot().revision == 1)

            assert not liveness.is_routable("code")


def test_a_renewal_from_before_this_machine_slept_revives_nothing(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    before_s = clocks.wall_s
    clocks.wall_s += 3600.0  # the steady clock stood still meanwhile
    fetched = len(stream.fetched)

    stream.renew(before_s + 2.0)

    wait_until(lambda: len(stream.fetched) > fetched)  # it was read, and found to be old
    assert not liveness.snapshot().known


def test_renewals_of_what_nobody_has_cost_no_more_fetches_than_having_no_stream(clocks: Clocks) -> None:
    first = document(entry("code"), now_s=clocks.wall_s)
    with FakeStream(first, date=clocks.wall) as stream, follow(stream, clocks) as liveness:
        wait_until(lambda: stream.open == 1)
        for _ in range(100):
            stream.renew(clocks.wall_s, revision=7)
        stream.tell(document(entry("code"), now_s=clocks.wall_s, revision=2))
        wait_until(lambda: liveness.snapshot().revision == 2)
        assert len(stream.fetched) == 1

        clocks.pass_s(QUICK_S)
        stream.say("event: fresh\ndata: {}\n\n")
        wait_until(lambda: len(stream.fetched) == 2)
        assert stream.open == 1


def test_a_stream_that_goes_on_telling_is_kept() -> None:
    with FakeStream(document(entry("code"), now_s=time.time(), valid_for_s=0.5)) as stream, follow(stream):
        wait_until(lambda: stream.open == 1)
        for _ in range(20):
            stream.renew(time.time())
            time.sleep(0.05)

        assert len(stream.opened) == 1


def test_a_supervisor_whose_loop_stands_still_is_not_believed_though_it_serves(clocks: Clocks) -> None:
    old = document(out("code"), now_s=clocks.wall_s - 20)
    with FakeStream(old, date=clocks.wall) as stream, follow(stream, clocks) as liveness:
        wait_until(lambda: len(stream.opened) > 1)

        assert not liveness.pick("code").refuse
        stream.tell(document(out("code"), now_s=clocks.wall_s))
        wait_until(lambda: liveness.pick("code").refuse)


def test_a_supervisor_whose_clock_is_set_back_is_asked_what_it_shows_now(clocks: Clocks) -> None:
    shows = Clocks(wall_s=clocks.wall_s)
    first = document(entry("code"), now_s=shows.wall_s)
    with FakeStream(first, date=shows.wall) as stream, follow(stream, clocks) as liveness:
        wait_until(lambda: stream.open == 1)
        shows.wall_s -= 3600
        clocks.pass_s(QUICK_S)
        stream.tell(document(out("code"), now_s=shows.wall_s, revision=2))

        wait_until(lambda: liveness.pick("code").refuse)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("data: " + "x" * 3 * MAX_DOCUMENT_BYTES, id="a-line-without-end"),
        pytest.param("data: x\n" * (MAX_DOCUMENT_BYTES + 1), id="lines-without-end"),
    ],
)
def test_an_event_without_end_is_not_listened_to(stream: FakeStream, liveness: Liveness, said: str) -> None:
    began = time.monotonic()
    with contextlib.suppress(OSError):  # it hangs up in the midst of it
        stream.say(said)

    wait_until(lambda: len(stream.opened) == 2)
    assert time.monotonic() - began < SOON_S
    assert liveness.snapshot().known


@pytest.mark.parametrize(
    "data",
    ["{", "[]", "null", '"x"', "\x00", json.dumps({"schema": 2}), json.dumps(document(now_s=0.0) | {"backends": 1})],
    ids=ascii,
)
@pytest.mark.parametrize("kind", ["liveness", "fresh"])
def test_an_event_that_holds_no_document_does_not_end_the_following(
    stream: FakeStream, liveness: Liveness, clocks: Clocks, kind: str, data: str
) -> None:
    stream.say(f"event: {kind}\ndata: {data}\n\n")
    stream.tell(document(out("code"), now_s=clocks.wall_s, revision=2))

    wait_until(lambda: liveness.pick("code").refuse)
    assert following() == 1


@pytest.mark.usefixtures("liveness")
@pytest.mark.parametrize("odd", ["a\rX-Injected: 1", "é", "\x00", "x" * 70_000], ids=["cr", "not-ascii", "nul", "long"])
def test_an_id_that_has_no_place_in_a_header_does_not_get_into_one(stream: FakeStream, odd: str) -> None:
    stream.say(f"id: {odd}\nevent: transition\ndata: {{}}\n\n")
    stream.hang_up()

    wait_until(lambda: len(stream.opened) == 2)
    assert "X-Injected" not in stream.opened[1].head
    assert len(last_event_id(stream.opened[1])) <= MAX_CHARS
    assert odd == "x" * 70_000 or last_event_id(stream.opened[1]) == f"0b9c.{1}"


@pytest.mark.usefixtures("liveness")
@pytest.mark.parametrize("words", ["0", "99999999999999999999", "soon", "-1", "²"])
def test_a_pause_that_the_stream_asks_for_is_bounded(stream: FakeStream, words: str) -> None:
    stream.say(f"retry: {words}\n\n")
    stream.hang_up()
    time.sleep(A_WHILE_S)

    assert len(stream.opened) <= 2 + A_WHILE_S / 0.025
    assert following() == 1


# --- nobody waits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behave", [silent, drips], ids=["silent", "drips"])
def test_no_reader_waits_for_a_supervisor_that_says_nothing(clocks: Clocks, behave: Behaviour) -> None:
    with Upstream(hangs_up) as upstream, follow(upstream, clocks, timeout_s=5.0) as liveness:
        upstream.behave = behave
        count = len(upstream.connections)
        wait_until(lambda: len(upstream.connections) > count)

        began = time.monotonic()
        for _ in range(1000):
            liveness.pick("code")
        took_s = time.monotonic() - began

    assert took_s < 1.0


def test_where_no_thread_is_to_be_had_the_next_read_tries_again(
    stream: FakeStream, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def fails_for_streams(thread: threading.Thread) -> None:
        if thread.name == THREAD:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fails_for_streams)
    with follow(stream, clocks) as liveness:
        assert liveness.snapshot().known
        assert following() == 0

        monkeypatch.undo()
        liveness.snapshot()
        wait_until(lambda: stream.open == 1)


def test_closing_ends_a_long_pause(clocks: Clocks) -> None:
    with Upstream(hangs_up) as upstream, follow(upstream, clocks) as liveness:
        wait_until(lambda: len(upstream.connections) > 8)  # by now it pauses for a while

        liveness.close()
        began = time.monotonic()
        wait_until(lambda: following() == 0)

    assert time.monotonic() - began < A_WHILE_S
