"""What a router is told by the client: fresh, unknown, or not at all."""

import contextlib
import gc
import json
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.client import DEFAULT_RETRY_AFTER_S, MAX_CHOICES, MAX_DOCUMENT_BYTES, Backend, Choice, Liveness
from tests.fakes.clocks import Clocks
from tests.fakes.documents import document, entry, out, publish


def names(choice: Choice) -> list[str]:
    return [backend.name for backend in choice.candidates]


# --- a fresh document -------------------------------------------------------------------------------------------------


def test_the_heavier_backend_of_an_alias_comes_first(path: Path) -> None:
    entries = [entry("slow", models=("code",), weight=0.3), entry("fast", models=("code",), weight=1.0)]
    publish(path, document(*entries, now_s=time.time()))

    assert names(Liveness(path).pick("code")) == ["fast", "slow"]


def test_backends_of_the_same_weight_keep_the_documents_order(path: Path) -> None:
    publish(path, document(*(entry(name, models=("code",)) for name in "zxay"), now_s=time.time()))

    assert names(Liveness(path).pick("code")) == ["z", "x", "a", "y"]


def test_the_first_alias_that_has_a_routable_backend_wins_whatever_the_weights(path: Path) -> None:
    publish(path, document(entry("general"), entry("code", weight=0.3), out("vision"), now_s=time.time()))
    liveness = Liveness(path)

    assert names(liveness.pick("code", "general")) == ["code", "general"]
    assert names(liveness.pick("vision", "general")) == ["general"]


def test_a_backend_that_serves_two_aliases_is_tried_once(path: Path) -> None:
    publish(path, document(entry("planner", models=("planner", "research")), now_s=time.time()))

    assert names(Liveness(path).pick("research", "planner")) == ["planner"]


def test_where_nothing_is_routable_the_choice_is_to_refuse_and_says_why_and_until_when(path: Path) -> None:
    late = out("code", retry_after_s=40.0, message="restart 2/5 in 40 s")
    publish(path, document(late, out("general", retry_after_s=12.0), now_s=time.time()))

    choice = Liveness(path).pick("code", "general")

    assert choice.refuse
    assert choice.backend is None
    assert choice.retry_after_s == 12.0
    assert choice.reason == "code: restart 2/5 in 40 s; general: no progress for 14 s"


def test_a_supervisor_that_only_observes_is_known_as_one(path: Path) -> None:
    publish(path, document(entry("code"), now_s=time.time()))
    acts = Liveness(path).snapshot().mode
    publish(path, {**document(entry("code"), now_s=time.time()), "mode": "observe"})

    assert (acts, Liveness(path).snapshot().mode) == ("enforce", "observe")


def test_a_refusal_without_a_time_gets_one(path: Path) -> None:
    publish(path, document(out("code", retry_after_s=None), now_s=time.time()))

    assert Liveness(path).pick("code").retry_after_s == DEFAULT_RETRY_AFTER_S


def test_retry_after_is_a_time_where_a_request_is_refused_and_none_where_it_is_not(path: Path, clocks: Clocks) -> None:
    publish(path, document(out("code", retry_after_s=40.0), out("vision"), entry("general"), now_s=clocks.wall_s))
    liveness = clocks.client(path)

    assert liveness.retry_after("code") == 40.0
    assert liveness.retry_after("code", "vision") == 12.0
    assert liveness.retry_after("code", "general") is None
    assert liveness.retry_after("typo") is None
    clocks.pass_s(15.0)
    assert liveness.retry_after("code") is None


def test_is_routable_says_what_the_document_says(path: Path) -> None:
    publish(path, document(out("code"), entry("general"), now_s=time.time()))
    liveness = Liveness(path)

    assert not liveness.is_routable("code")
    assert liveness.is_routable("general")


def test_what_the_supervisor_does_not_watch_is_left_to_the_routers_own_table(path: Path) -> None:
    publish(path, document(out("code"), now_s=time.time()))
    liveness = Liveness(path, own_table=[Backend("math", "http://127.0.0.1:8095")])

    choice = liveness.pick("math")

    assert names(choice) == ["math"]
    assert not choice.known
    assert liveness.is_routable("math")


def test_the_documents_word_on_a_backend_goes_before_the_own_tables(path: Path) -> None:
    publish(path, document(entry("code", url="http://127.0.0.1:1"), now_s=time.time()))
    liveness = Liveness(path, own_table=[Backend("code", "http://127.0.0.1:2", models=("code", "python"))])

    assert [backend.url for backend in liveness.pick("code", "python").candidates] == ["http://127.0.0.1:1"]


def test_an_alias_nobody_knows_is_not_refused_but_unknown(path: Path) -> None:
    publish(path, document(entry("code"), now_s=time.time()))

    choice = Liveness(path).pick("typo")

    assert not choice.refuse
    assert choice.backend is None


def test_the_snapshot_holds_the_document(path: Path) -> None:
    publish(path, document(entry("code", url="http://127.0.0.1:8093"), now_s=time.time(), revision=421))

    snapshot = Liveness(path).snapshot()

    assert (snapshot.known, snapshot.revision, snapshot.epoch) == (True, 421, "0b9c")
    assert [backend.url for backend in snapshot.backends] == ["http://127.0.0.1:8093"]
    assert [backend.name for backend in snapshot.models["code"]] == ["code"]


# --- unknown: nothing is refused --------------------------------------------------------------------------------------


def test_without_a_document_the_routers_own_table_is_used_as_it_stands(path: Path) -> None:
    own_table = [Backend("planner", "http://127.0.0.1:8092", models=("planner", "research"))]

    choice = Liveness(path, own_table=own_table).pick("research")

    assert names(choice) == ["planner"]
    assert not choice.known
    assert str(path) in choice.reason


def test_an_expired_document_refuses_nobody_and_what_was_out_comes_last(path: Path, clocks: Clocks) -> None:
    publish(path, document(out("code"), entry("general"), now_s=clocks.wall_s))
    liveness = clocks.client(path)
    assert names(liveness.pick("code", "general")) == ["general"]

    clocks.pass_s(15.0)
    choice = liveness.pick("code", "general")

    assert names(choice) == ["general", "code"]
    assert not choice.known
    assert "expired" in choice.reason
    assert liveness.is_routable("code")


def test_a_document_lives_until_the_moment_it_says(path: Path, clocks: Clocks) -> None:
    publish(path, document(entry("code"), now_s=clocks.wall_s, valid_for_s=15.0))
    liveness = clocks.client(path)

    clocks.pass_s(14.9)

    assert liveness.snapshot().known


def test_a_removed_file_means_unknown_at_once_and_a_new_one_is_found(path: Path) -> None:
    publish(path, document(out("code"), now_s=time.time()))
    liveness = Liveness(path)

    path.unlink()
    assert not liveness.pick("code").refuse

    publish(path, document(out("code"), now_s=time.time()))
    assert liveness.pick("code").refuse


def test_a_clock_set_back_does_not_make_a_document_live_longer(path: Path, clocks: Clocks) -> None:
    publish(path, document(out("code"), now_s=clocks.wall_s, valid_for_s=15.0))
    liveness = clocks.client(path)

    clocks.wall_s -= 3600
    assert liveness.pick("code").refuse
    clocks.steady_s += 15.0

    assert not liveness.pick("code").refuse


def test_a_document_from_the_future_lives_no_longer_than_any_other(path: Path, clocks: Clocks) -> None:
    """The clock was set back before we came, and the supervisor has died since."""
    publish(path, document(out("code"), now_s=clocks.wall_s + 3600, valid_for_s=15.0))
    liveness = clocks.client(path)

    assert liveness.pick("code").refuse
    clocks.pass_s(15.0)

    assert not liveness.pick("code").refuse


def test_a_document_from_before_the_machine_slept_is_expired(path: Path, clocks: Clocks) -> None:
    publish(path, document(out("code"), now_s=clocks.wall_s))
    liveness = clocks.client(path)

    clocks.wall_s += 3600  # the steady clock stood still

    assert not liveness.pick("code").refuse


GOOD = document(out("code"), now_s=time.time(), valid_for_s=3600.0)
BROKEN = {
    "empty": b"",
    "truncated": json.dumps(GOOD).encode()[:-40],
    "not text": b"\xff\xfe\xfa",
    "a list": b"[]",
    "null": b"null",
    "very deep": b"[" * 200_000,
    "huge": b" " * MAX_DOCUMENT_BYTES + b"{}",
    "weights that are true": json.dumps(GOOD | {"backends": [entry("code", weight=True)]}).encode(),
    "another schema": json.dumps(GOOD | {"schema": 2}).encode(),
    "no schema": json.dumps({key: value for key, value in GOOD.items() if key != "schema"}).encode(),
    "backends of no kind": json.dumps(GOOD | {"backends": {"code": True}}).encode(),
    "a backend without a name": json.dumps(GOOD | {"backends": [{}]}).encode(),
    "a backend that is a list": json.dumps(GOOD | {"backends": [[]]}).encode(),
    "routable in words": json.dumps(GOOD | {"backends": [entry("code", routable="no")]}).encode(),
    "a weight that is no number": json.dumps(GOOD | {"backends": [entry("code", weight=float("nan"))]}).encode(),
    "a weight beyond numbers": json.dumps(GOOD | {"backends": [entry("code", weight=10**400)]}).encode(),
    "a wait in words": json.dumps(GOOD | {"backends": [out("code", retry_after_s="soon")]}).encode(),
    "an alias of nobody": json.dumps(GOOD | {"models": {"code": ["nobody"]}}).encode(),
    "models as a list": json.dumps(GOOD | {"models": ["code"]}).encode(),
    "an expiry in words": json.dumps(GOOD | {"expires_at": "tomorrow"}).encode(),
    "an expiry without a zone": json.dumps(GOOD | {"expires_at": "2096-11-23T12:00:15.000"}).encode(),
}


def test_the_document_that_the_broken_ones_are_made_of_is_good(path: Path) -> None:
    publish(path, GOOD)

    assert Liveness(path).pick("code").refuse


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_document_that_is_not_one_means_unknown(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    choice = Liveness(path, own_table=[Backend("code", "http://127.0.0.1:8093")]).pick("code")

    assert not choice.known
    assert names(choice) == ["code"]
    assert choice.reason


def test_a_document_that_is_too_large_is_not_read_to_its_end(path: Path) -> None:
    path.write_text(json.dumps(GOOD) + " " * MAX_DOCUMENT_BYTES)

    assert "larger than" in Liveness(path).pick("code").reason


def test_a_document_that_broke_while_it_was_read_is_read_again_once_whole(path: Path) -> None:
    publish(path, document(entry("code"), now_s=time.time()))
    liveness = Liveness(path)
    path.write_text("{")
    assert not liveness.snapshot().known

    publish(path, document(entry("code"), now_s=time.time(), revision=2))

    assert liveness.snapshot().revision == 2


def test_a_pipe_in_place_of_the_file_does_not_make_the_router_wait(path: Path) -> None:
    os.mkfifo(path)

    assert not Liveness(path).snapshot().known


def test_a_directory_in_place_of_the_file_costs_no_file_handles(path: Path) -> None:
    path.mkdir()
    liveness = Liveness(path)
    before = len(list(Path("/proc/self/fd").iterdir()))

    known = [liveness.snapshot().known for _ in range(20)]

    assert not any(known)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_file_that_could_not_be_opened_is_tried_again_without_a_change_to_it(path: Path) -> None:
    publish(path, document(entry("code"), now_s=time.time()))
    liveness = Liveness(path)

    with no_free_file_handles():
        liveness.refresh()
        assert not liveness.snapshot().known

    assert liveness.snapshot().known


@contextlib.contextmanager
def no_free_file_handles() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as lowest_free:
        limit = lowest_free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- what a read costs ------------------------------------------------------------------------------------------------


def test_an_unchanged_file_is_not_parsed_again_and_a_changed_one_is(path: Path) -> None:
    publish(path, document(entry("code"), now_s=time.time()))
    liveness = Liveness(path)
    first = liveness.snapshot()

    assert liveness.snapshot() is first
    publish(path, document(entry("code"), now_s=time.time(), revision=2))

    assert liveness.snapshot().revision == 2


def test_what_users_ask_for_does_not_pile_up(path: Path) -> None:
    publish(path, document(entry("code"), now_s=time.time()))
    liveness = Liveness(path)

    for number in range(3 * MAX_CHOICES):
        liveness.pick(f"model {number}")

    assert sum(isinstance(each, Choice) for each in gc.get_objects()) <= MAX_CHOICES + 1
    assert liveness.pick("code") is liveness.pick("code")


def test_threads_that_read_while_the_file_changes_all_get_whole_answers(path: Path) -> None:
    publish(path, document(entry("code"), now_s=time.time()))
    liveness = Liveness(path)
    seen: set[tuple[bool, str]] = set()
    done = threading.Event()

    def keep_reading() -> None:
        while not done.is_set():
            choice = liveness.pick("code")
            seen.add((choice.known, names(choice)[0]))

    threads = [threading.Thread(target=keep_reading) for _ in range(4)]
    for thread in threads:
        thread.start()
    for revision in range(200):
        publish(path, document(entry("code"), now_s=time.time(), revision=revision))
    done.set()
    for thread in threads:
        thread.join()

    assert seen == {(True, "code")}
