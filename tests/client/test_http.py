"""What a router is told by the client that fetches from an address, however badly that goes."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.client import MAX_DOCUMENT_BYTES, Liveness
from tests.fakes.clocks import Clocks
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import document, entry, out
from tests.fakes.upstream import Behaviour, Connection, Floods, Upstream, drips, hangs_up, sends_then, silent

ENOUGH_S = 5.0
LET_ME_IN = "let-me-in"


@pytest.fixture
def daemon(clocks: Clocks) -> Iterator[FakeDaemon]:
    with FakeDaemon(liveness=document(entry("general"), now_s=clocks.wall_s), now=clocks.wall) as daemon:
        yield daemon


def test_an_address_is_fetched_at_most_every_poll(daemon: FakeDaemon, clocks: Clocks) -> None:
    liveness = clocks.client(daemon.url, poll_s=1.0)

    for _ in range(50):
        assert liveness.snapshot().known
    clocks.pass_s(1.0)
    assert liveness.snapshot().known

    assert [asked.path for asked in daemon.asked] == ["/v1/liveness"] * 2


def test_many_threads_fetch_an_address_once(daemon: FakeDaemon, clocks: Clocks) -> None:
    liveness = clocks.client(daemon.url)
    clocks.pass_s(1.0)
    threads = [threading.Thread(target=liveness.snapshot) for _ in range(16)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(daemon.asked) == 2


def test_a_304_lets_what_is_held_live_on(daemon: FakeDaemon, clocks: Clocks) -> None:
    liveness = clocks.client(daemon.url)

    clocks.pass_s(14.0)
    daemon.liveness = document(entry("general"), now_s=clocks.wall_s)
    liveness.refresh()
    daemon.liveness = None  # every further fetch fails
    clocks.pass_s(14.0)

    assert daemon.asked[1].headers["If-None-Match"] == 'W/"0b9c.1"'
    assert liveness.pick("general").backend is not None
    assert liveness.snapshot().known
    clocks.pass_s(1.0)
    assert not liveness.snapshot().known


def test_a_304_revives_what_had_expired(daemon: FakeDaemon, clocks: Clocks) -> None:
    liveness = clocks.client(daemon.url, poll_s=60.0)
    clocks.pass_s(20.0)
    assert not liveness.snapshot().known

    daemon.liveness = document(entry("general"), now_s=clocks.wall_s)
    liveness.refresh()

    assert liveness.snapshot().known


def test_an_unreachable_supervisor_leaves_what_is_held_until_it_expires(daemon: FakeDaemon, clocks: Clocks) -> None:
    daemon.liveness = document(out("general"), now_s=clocks.wall_s)
    liveness = clocks.client(daemon.url)
    daemon.liveness = None

    clocks.pass_s(14.0)
    assert liveness.pick("general").refuse

    clocks.pass_s(1.0)
    choice = liveness.pick("general")
    assert not choice.refuse
    assert "it answered 404" in choice.reason


def test_a_document_over_http_that_is_not_one_means_unknown(daemon: FakeDaemon, clocks: Clocks) -> None:
    liveness = clocks.client(daemon.url)
    daemon.liveness = document(entry("general"), now_s=clocks.wall_s, revision=2) | {"backends": "all of them"}

    clocks.pass_s(1.0)

    assert not liveness.snapshot().known


def test_a_supervisor_whose_clock_is_wrong_by_an_hour_is_believed_all_the_same(clocks: Clocks) -> None:
    its_clock_s = clocks.wall_s - 3600
    with FakeDaemon(liveness=document(out("code"), now_s=its_clock_s), now=lambda: its_clock_s) as daemon:
        liveness = clocks.client(daemon.url, poll_s=60.0)

        assert liveness.pick("code").refuse
        clocks.pass_s(15.0)
        assert not liveness.pick("code").refuse


def test_a_document_from_before_the_machine_slept_is_expired_by_whatever_clock_it_was_written(clocks: Clocks) -> None:
    its_clock_s = clocks.wall_s - 3600
    with FakeDaemon(liveness=document(out("code"), now_s=its_clock_s), now=lambda: its_clock_s) as daemon:
        liveness = clocks.client(daemon.url, poll_s=60.0)
        assert liveness.pick("code").refuse

        clocks.wall_s += 3600  # the steady clock stood still

        assert not liveness.pick("code").refuse


def test_a_document_that_had_expired_when_it_was_served_means_unknown(daemon: FakeDaemon, clocks: Clocks) -> None:
    """The thread that serves may outlive the loop that decides."""
    daemon.liveness = document(out("general"), now_s=clocks.wall_s - 20)

    assert not clocks.client(daemon.url).pick("general").refuse


def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "control.sock", liveness=document(out("code"), now_s=time.time())) as daemon:
        assert Liveness(daemon.url).pick("code").refuse


def test_the_token_goes_with_every_fetch(daemon: FakeDaemon) -> None:
    Liveness(daemon.url, token=LET_ME_IN)

    assert daemon.asked[0].headers["Authorization"] == f"Bearer {LET_ME_IN}"


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(silent, id="silent"),
        pytest.param(drips, id="drips-a-byte-now-and-then"),
        pytest.param(sends_then("HTTP/1.0 200 OK\r\n\r\n", drips), id="drips-a-body"),
        pytest.param(sends_then("HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n{", hangs_up), id="half-a-body"),
        pytest.param(sends_then("HTTP/1.0 200 OK\r\n\r\n" + "x" * 3 * MAX_DOCUMENT_BYTES, hangs_up), id="huge"),
        pytest.param(sends_then("220 smtp ready\r\n", hangs_up), id="not-http"),
        pytest.param(hangs_up, id="hangs-up"),
    ],
)
def test_a_supervisor_that_misbehaves_costs_one_short_wait_and_means_unknown(behave: Behaviour) -> None:
    with Upstream(behave) as upstream:
        began = time.monotonic()
        choice = Liveness(upstream.url, timeout_s=0.2).pick("code")
        took_s = time.monotonic() - began

    assert not choice.known
    assert not choice.refuse
    assert took_s < ENOUGH_S


def test_a_supervisor_that_sends_without_end_is_not_listened_to(clocks: Clocks) -> None:
    floods = Floods()
    with Upstream(floods) as upstream:
        assert not clocks.client(upstream.url, timeout_s=ENOUGH_S).snapshot().known

    assert floods.sent_bytes < 64 * MAX_DOCUMENT_BYTES


def test_a_304_that_says_no_time_is_followed_by_asking_for_everything(clocks: Clocks) -> None:
    body = json.dumps(document(entry("code"), now_s=clocks.wall_s))
    whole = f'HTTP/1.0 200 OK\r\nETag: W/"a.1"\r\nContent-Length: {len(body)}\r\n\r\n{body}'
    with Upstream(sends_then(whole, hangs_up)) as upstream:
        liveness = clocks.client(upstream.url)
        upstream.behave = sends_then("HTTP/1.0 304 Not Modified\r\n\r\n", hangs_up)
        liveness.refresh()
        liveness.refresh()

    assert ["If-None-Match" in connection.head for connection in upstream.connections] == [False, True, False]


def test_while_one_caller_waits_for_a_silent_supervisor_the_others_go_on(clocks: Clocks) -> None:
    with Upstream(hangs_up) as upstream:
        liveness = clocks.client(upstream.url, timeout_s=ENOUGH_S)
        upstream.behave = silent
        clocks.pass_s(60.0)
        waiting = threading.Thread(target=liveness.refresh)
        waiting.start()
        wait_until(lambda: len(upstream.connections) == 2)

        began = time.monotonic()
        liveness.snapshot()
        took_s = time.monotonic() - began

        upstream.end()
        waiting.join()
    assert took_s < 1.0


def test_a_slow_supervisor_is_asked_less_often(clocks: Clocks) -> None:
    """Otherwise one that hangs takes half of somebody's time: half a second in every second."""

    def slow(_: Connection) -> None:
        clocks.pass_s(0.5)

    with Upstream(slow) as upstream:
        liveness = clocks.client(upstream.url)
        clocks.pass_s(4.9)
        liveness.snapshot()
        assert len(upstream.connections) == 1

        clocks.pass_s(0.2)
        liveness.snapshot()
        assert len(upstream.connections) == 2


@pytest.mark.parametrize("source", ["ftp://127.0.0.1/x", "http://", "unix://", "http://127.0.0.1:no", "https://host"])
def test_a_source_it_cannot_read_from_is_refused_when_it_is_named(source: str) -> None:
    with pytest.raises(ValueError, match=r"http://host:port|[Pp]ort"):
        Liveness(source)


def test_a_token_that_would_break_the_request_is_refused(daemon: FakeDaemon) -> None:
    with pytest.raises(ValueError, match="token"):
        Liveness(daemon.url, token=f"{LET_ME_IN}\r\nHost: elsewhere")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ENOUGH_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
