"""What a router is told by the client that follows the supervisor's stream: everything, at once, without waiting."""

import contextlib
import gc
import threading
from collections.abc import Iterator

import pytest

from supervisor.client import SOONEST_RETRY_S, Liveness
from tests.fakes.clocks import Clocks
from tests.fakes.documents import document, entry, out
from tests.fakes.ear import wait_until
from tests.fakes.stream import FakeStream

THREAD = "liveness stream"
GENERAL, CODE = entry("general"), entry("code")


def following() -> int:
    """Return how many threads follow a stream."""
    return sum(thread.name == THREAD for thread in threading.enumerate())


@pytest.fixture(params=[False, True], ids=["until-it-hangs-up", "in-chunks"])
def stream(request: pytest.FixtureRequest, clocks: Clocks) -> Iterator[FakeStream]:
    first = document(GENERAL, CODE, now_s=clocks.wall_s, revision=0)
    with FakeStream(first, chunked=request.param, date=clocks.wall) as stream:
        yield stream
    wait_until(lambda: following() == 0)


@pytest.fixture
def liveness(stream: FakeStream, clocks: Clocks) -> Iterator[Liveness]:
    """A client that follows, and has heard the stream's first word."""
    with contextlib.closing(clocks.client(stream.url, follow=True)) as liveness:
        stream.liveness = document(GENERAL, CODE, now_s=clocks.wall_s, revision=1)
        wait_until(lambda: liveness.snapshot().revision == 1)
        wait_until(lambda: stream.open == 1)
        yield liveness


def test_a_change_is_known_without_being_asked_for(stream: FakeStream, liveness: Liveness, clocks: Clocks) -> None:
    stream.tell(document(GENERAL, out("code"), now_s=clocks.wall_s, revision=2))
    wait_until(lambda: liveness.snapshot().revision == 2)

    assert liveness.pick("code").refuse
    assert len(stream.fetched) == 1, "when it was made"


def test_before_the_first_read_there_is_a_document_and_no_thread(stream: FakeStream, clocks: Clocks) -> None:
    with contextlib.closing(clocks.client(stream.url, follow=True)) as liveness:
        assert following() == 0
        assert liveness.snapshot().known
        assert following() == 1


def test_many_first_readers_start_one_thread(stream: FakeStream, clocks: Clocks) -> None:
    with contextlib.closing(clocks.client(stream.url, follow=True)) as liveness:
        readers = [threading.Thread(target=liveness.snapshot) for _ in range(16)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        wait_until(lambda: stream.open == 1)

        assert following() == 1


def test_a_renewal_lets_what_is_held_live_on(stream: FakeStream, liveness: Liveness, clocks: Clocks) -> None:
    clocks.pass_s(14.0)
    expires_at = liveness.snapshot().expires_at
    stream.renew(clocks.wall_s)
    wait_until(lambda: liveness.snapshot().expires_at != expires_at)

    clocks.pass_s(14.0)

    assert liveness.snapshot().known
    assert len(stream.fetched) == 1


def test_a_renewal_revives_what_had_expired(stream: FakeStream, liveness: Liveness, clocks: Clocks) -> None:
    clocks.pass_s(20.0)
    assert not liveness.snapshot().known

    stream.renew(clocks.wall_s)

    wait_until(lambda: liveness.snapshot().known)
    assert len(stream.fetched) == 1


@pytest.mark.parametrize("change", [{"epoch": "1c0d"}, {"revision": 7}], ids=["epoch", "revision"])
def test_a_renewal_of_another_document_makes_it_be_fetched(
    stream: FakeStream, liveness: Liveness, clocks: Clocks, change: dict[str, str | float]
) -> None:
    stream.liveness = document(GENERAL, out("code"), now_s=clocks.wall_s) | change
    clocks.pass_s(1.0)
    stream.renew(clocks.wall_s)

    wait_until(lambda: liveness.pick("code").refuse)
    assert len(stream.fetched) == 2
    assert stream.open == 1


def test_a_wait_grows_shorter_while_nothing_but_time_changes(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    """The supervisor tells a document anew for what it says of its backends, not for the time that passes."""
    stream.tell(document(out("code", retry_after_s=12.0), GENERAL, now_s=clocks.wall_s, revision=2))
    wait_until(lambda: liveness.retry_after("code") == 12.0)

    clocks.pass_s(10.0)
    stream.renew(clocks.wall_s)
    wait_until(lambda: liveness.retry_after("code") == 2.0)

    clocks.pass_s(10.0)
    stream.renew(clocks.wall_s)
    wait_until(lambda: liveness.retry_after("code") == SOONEST_RETRY_S)
    assert [backend.retry_after_s for backend in liveness.snapshot().backends] == [SOONEST_RETRY_S, None]


def test_transitions_and_heartbeats_and_what_it_does_not_know_are_passed_over(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    stream.say(': \n\nid: 0b9c.9\nevent: transition\ndata: {"target": "code"}\n\nevent: new\ndata\n\nodd: word\n\n')
    stream.tell(document(GENERAL, now_s=clocks.wall_s, revision=2))

    wait_until(lambda: liveness.snapshot().revision == 2)
    assert len(stream.opened) == len(stream.fetched) == 1


def test_an_event_may_come_in_pieces_and_with_other_line_ends(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    stream.liveness = document(out("code"), now_s=clocks.wall_s, revision=2)
    told = stream.told_of(stream.liveness).replace("\n", "\r\n")
    for at in range(0, len(told), 100):
        stream.say(told[at : at + 100])

    wait_until(lambda: liveness.pick("code").refuse)


def test_what_is_told_again_does_not_replace_what_is_newer(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    stream.tell(document(GENERAL, now_s=clocks.wall_s, revision=3))
    wait_until(lambda: liveness.snapshot().revision == 3)
    expires_at = liveness.snapshot().expires_at
    clocks.pass_s(2.0)

    stream.say(stream.told_of(document(out("general"), now_s=clocks.wall_s, revision=2)))
    stream.renew(clocks.wall_s)
    wait_until(lambda: liveness.snapshot().expires_at != expires_at)

    assert liveness.snapshot().revision == 3
    assert len(stream.fetched) == 1


def test_a_new_life_of_the_supervisor_is_believed_whatever_it_counts_from(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    stream.tell(document(GENERAL, now_s=clocks.wall_s, revision=9))
    wait_until(lambda: liveness.snapshot().revision == 9)

    stream.tell(document(out("general"), now_s=clocks.wall_s) | {"epoch": "1c0d"})

    wait_until(lambda: liveness.pick("general").refuse)


def test_a_supervisor_whose_clock_is_wrong_by_an_hour_is_believed_all_the_same(clocks: Clocks) -> None:
    def its_clock() -> float:
        return clocks.wall_s - 3600

    with (
        FakeStream(document(out("code"), now_s=its_clock()), date=its_clock) as stream,
        contextlib.closing(clocks.client(stream.url, follow=True)) as liveness,
    ):
        liveness.snapshot()
        wait_until(lambda: stream.open == 1)
        clocks.pass_s(10.0)
        stream.tell(document(out("code"), now_s=its_clock(), revision=2))
        wait_until(lambda: liveness.snapshot().revision == 2)

        assert len(stream.fetched) == 1
        clocks.pass_s(14.0)
        assert liveness.pick("code").refuse
        clocks.pass_s(1.0)
        assert not liveness.pick("code").refuse


def test_closing_ends_the_stream_and_reads_go_on_with_what_is_held(
    stream: FakeStream, liveness: Liveness, clocks: Clocks
) -> None:
    liveness.close()
    wait_until(lambda: following() == 0)

    assert liveness.snapshot().known
    clocks.pass_s(15.0)
    assert not liveness.snapshot().known
    assert following() == 0
    wait_until(lambda: stream.open == 0)


def test_a_client_that_nobody_has_any_more_follows_no_more(stream: FakeStream, clocks: Clocks) -> None:
    liveness = clocks.client(stream.url, follow=True)
    liveness.snapshot()
    wait_until(lambda: stream.open == 1)

    del liveness
    gc.collect()

    wait_until(lambda: following() == 0)


def test_a_file_has_no_stream() -> None:
    with pytest.raises(ValueError, match=r"cannot follow 'liveness\.json'.*http://host:port"):
        Liveness("liveness.json", follow=True)
