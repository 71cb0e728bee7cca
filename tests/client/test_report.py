"""What the client tells the supervisor of real requests: little, soon, and never at the caller's cost."""

import asyncio
import contextlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from supervisor.client import MAX_BATCH, MAX_CHARS, MAX_REPORTS, OK_EVERY_S, Backend, Liveness
from supervisor.core.events import Verb
from supervisor.core.observations import TrafficSeen
from supervisor.publish.api import Api
from supervisor.publish.server import HttpServer, bind_unix
from supervisor.publish.services import Outcome
from tests.fakes.brakes import Brakes, Remembered, Rereads
from tests.fakes.clocks import Clocks
from tests.fakes.documents import document, entry, publish
from tests.fakes.ear import ENOUGH_S, Ear, reporting_threads, takes, wait_until
from tests.fakes.services import Servants
from tests.fakes.upstream import Connection
from tests.publish.believing import Time, snapshot

LET_ME_IN = "let-me-in"
TAKEN_AT_ONCE_BYTES = 64 << 10  # by the supervisor


# --- what is told -----------------------------------------------------------------------------------------------------


def test_a_report_says_who_how_when_and_of_which_life(liveness: Liveness, ear: Ear) -> None:
    liveness.report(Backend("code", "http://127.0.0.1:1", instance="4f1e@noon"), ok=False, error="answered 500")
    wait_until(lambda: len(ear.reports) == 1)

    assert ear.connections[0].head.startswith("POST /v1/observations HTTP/1.0\r\n")
    assert "Content-Type: application/json" in ear.connections[0].head
    assert ear.reports == [
        {
            "backend": "code",
            "instance": "4f1e@noon",
            "ok": False,
            "error": "answered 500",
            "first_token_s": None,
            "age_s": 0.0,
        }
    ]


def test_a_success_may_say_how_soon_it_began(liveness: Liveness, ear: Ear) -> None:
    liveness.report("code", ok=True, first_token_s=0.41)
    wait_until(lambda: len(ear.reports) == 1)

    assert (ear.reports[0]["ok"], ear.reports[0]["first_token_s"], ear.reports[0]["error"]) == (True, 0.41, "")


def test_a_backend_that_was_picked_knows_its_instance(path: Path, liveness: Liveness, ear: Ear) -> None:
    publish(path, document(entry("code", instance="4f1e@noon"), entry("general", instance=None), now_s=time.time()))

    for picked in liveness.pick("code", "general").candidates:
        liveness.report(picked, ok=False)
    wait_until(lambda: len(ear.reports) == 2)

    assert [report["instance"] for report in ear.reports] == ["4f1e@noon", None]


def test_of_a_name_or_a_url_alone_nobody_knows_the_instance(path: Path, liveness: Liveness, ear: Ear) -> None:
    publish(path, document(entry("code", instance="of now, and the request went to another"), now_s=time.time()))

    liveness.report("code", ok=False)
    liveness.report("http://127.0.0.1:8093", ok=False)
    wait_until(lambda: len(ear.reports) == 2)

    assert [(each["backend"], each["instance"]) for each in ear.reports] == [
        ("code", None),
        ("http://127.0.0.1:8093", None),
    ]


@pytest.mark.parametrize(
    "nonsense",
    [-0.1, float("nan"), float("inf"), 10**400, 86_401.0, "soon", True, [1.0]],
    ids=["negative", "nan", "endless", "beyond-numbers", "beyond-a-day", "a-word", "true", "a-list"],
)
def test_a_first_token_time_that_is_none_is_left_out(liveness: Liveness, ear: Ear, nonsense: Any) -> None:
    liveness.report("code", ok=False, first_token_s=nonsense)
    wait_until(lambda: len(ear.reports) == 1)

    assert ear.reports[0]["first_token_s"] is None


@pytest.mark.parametrize("letter", ["x", "\x00", '"', "é", "🙂", "\ud800"], ids=ascii)
def test_as_many_reports_as_go_at_once_fit_what_is_taken_at_once(liveness: Liveness, ear: Ear, letter: str) -> None:
    for _ in range(MAX_BATCH + 1):
        liveness.report(1000 * letter, ok=False, error=1000 * letter)
    wait_until(lambda: len(ear.reports) == MAX_BATCH + 1)

    assert max(len(connection.body) for connection in ear.connections) <= TAKEN_AT_ONCE_BYTES


def test_a_report_about_nobody_does_not_spoil_what_goes_with_it(liveness: Liveness, ear: Ear) -> None:
    liveness.report("", ok=True)
    liveness.report("code", ok=False)
    wait_until(lambda: "code" in ear.backends)

    assert ear.backends == ["code"]


async def test_the_supervisors_own_api_takes_what_is_reported(tmp_path: Path) -> None:
    board, all_heard = Time().board(snapshot("planner"), snapshot("code")), asyncio.Event()
    heard: list[tuple[str, TrafficSeen]] = []

    def hear(name: str, seen: TrafficSeen) -> bool:
        heard.append((name, seen))
        if len(heard) == 6:
            all_heard.set()
        return board.find(name) is not None

    api = Api(
        board,
        operate=nobody_operates,
        report=hear,
        history=nobody_remembers,
        holds=Brakes(),
        incidents=Remembered(),
        rereads=Rereads(),
        services=Servants().services(),
        token="",
    )
    server = HttpServer(bind_unix(tmp_path / "control.sock"), api.app(trusted=True))
    serving = asyncio.create_task(server.run())
    liveness = Liveness(tmp_path / "liveness.json")
    for picked in (Backend("planner", "http://127.0.0.1:1", instance="4f1e@noon"), "code", "nobody", "\x00", "é" * 500):
        liveness.report(picked, ok=True, first_token_s=0.4)
    liveness.report("planner", ok=False, error="answered\n500")
    async with asyncio.timeout(ENOUGH_S):
        await all_heard.wait()
    await asyncio.to_thread(liveness.close)
    server.stop()
    await serving

    assert [name for name, _ in heard] == ["planner", "code", "nobody", "\x00", "é" * MAX_CHARS, "planner"]
    of_planner = [seen for name, seen in heard if name == "planner"]
    assert [(seen.ok, seen.instance, seen.first_token_s, seen.detail) for seen in of_planner] == [
        (True, "4f1e@noon", 0.4, ""),
        (False, None, None, "answered 500"),
    ]


async def nobody_operates(_: str, __: Verb, ___: float, ____: bool) -> Outcome:
    raise AssertionError("a report asks for nothing to be done")


async def nobody_remembers(_: str, __: int) -> list[dict[str, Any]] | None:
    raise AssertionError("a report asks for no history")


# --- where to ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "/", "/v1/liveness"])
def test_an_address_that_is_read_from_is_reported_to(ear: Ear, place: str) -> None:
    with contextlib.closing(Liveness(f"{ear.url}{place}")) as liveness:
        liveness.report("code", ok=False)
        wait_until(lambda: ear.backends == ["code"])

    assert ear.connections[-1].head.startswith("POST /v1/observations ")


@pytest.mark.parametrize("place", ["/of/models", "/of/models/", "/of/models/v1/liveness"])
def test_a_path_in_front_of_the_documents_own_is_in_front_of_the_reports_too(ear: Ear, path: Path, place: str) -> None:
    with contextlib.closing(Liveness(path, report_to=f"{ear.url}{place}")) as liveness:
        liveness.report("code", ok=False)
        wait_until(lambda: ear.backends == ["code"])

    assert ear.connections[0].head.startswith("POST /of/models/v1/observations ")


def test_beside_a_file_the_control_socket_is_reported_to_once_it_is_there(path: Path) -> None:
    with contextlib.closing(Liveness(path)) as liveness:
        liveness.report("too-early", ok=False)
        assert reporting_threads() == 0

        with Ear(at=path.parent / "control.sock") as ear:
            liveness.report("code", ok=False)
            wait_until(lambda: ear.backends == ["code"])


def test_what_is_told_to_report_to_goes_before_what_would_be_found(path: Path, liveness: Liveness, ear: Ear) -> None:
    with Ear(at=path.parent / "control.sock") as beside:
        liveness.report("code", ok=False)
        wait_until(lambda: ear.backends == ["code"])

        assert beside.connections == []


def test_reporting_can_be_switched_off(path: Path) -> None:
    with Ear(at=path.parent / "control.sock") as ear:
        liveness = Liveness(path, report_to="")
        liveness.report("code", ok=False)
        liveness.close()

        assert reporting_threads() == 0
        assert ear.connections == []


def test_the_token_goes_with_the_reports(ear: Ear, path: Path) -> None:
    with contextlib.closing(Liveness(path, report_to=ear.url, token=LET_ME_IN)) as liveness:
        liveness.report("code", ok=False)
        wait_until(lambda: ear.backends == ["code"])

    assert f"Authorization: Bearer {LET_ME_IN}" in ear.connections[0].head


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/x", "control.sock", "http://", "https://host"])
def test_an_address_it_cannot_report_to_is_refused_when_it_is_named(path: Path, address: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        Liveness(path, report_to=address)


# --- how much ---------------------------------------------------------------------------------------------------------


def test_of_many_successes_one_a_second_and_backend_is_told(liveness: Liveness, ear: Ear, clocks: Clocks) -> None:
    for _ in range(3):
        for _ in range(500):
            liveness.report("code", ok=True)
            liveness.report("general", ok=True)
        clocks.pass_s(OK_EVERY_S)
    liveness.report("the last", ok=False)
    wait_until(lambda: "the last" in ear.backends)

    assert sorted(ear.backends) == ["code"] * 3 + ["general"] * 3 + ["the last"]


def test_a_success_after_a_failure_is_always_told(liveness: Liveness, ear: Ear) -> None:
    for ok in (True, True, False, True, True):
        liveness.report("code", ok=ok)
    wait_until(lambda: len(ear.reports) == 3)

    assert [report["ok"] for report in ear.reports] == [True, False, True]


def test_successes_go_together_and_a_failure_takes_along_what_waits(liveness: Liveness, ear: Ear) -> None:
    for name in ("a", "b", "c"):
        liveness.report(name, ok=True)
    wait_until(lambda: len(ear.reports) == 3)
    liveness.report("d", ok=True)
    liveness.report("e", ok=False)
    wait_until(lambda: len(ear.reports) == 5)

    assert [[report["backend"] for report in batch] for batch in ear.batches] == [["a", "b", "c"], ["d", "e"]]


def test_names_without_end_do_not_pile_up(liveness: Liveness, ear: Ear) -> None:
    for number in range(50 * MAX_REPORTS):
        liveness.report(f"user-{number}", ok=True)
    liveness.report("the last", ok=False)
    wait_until(lambda: "the last" in ear.backends)

    assert len(ear.reports) <= MAX_REPORTS + MAX_BATCH
    assert liveness._outbox is not None
    assert len(liveness._outbox._last_ok_s) <= MAX_REPORTS


def test_while_nothing_can_be_delivered_the_newest_are_kept(liveness: Liveness, ear: Ear) -> None:
    release = threading.Event()

    def takes_in_the_end(connection: Connection) -> None:
        release.wait(ENOUGH_S)
        takes(connection)

    ear.behave = takes_in_the_end
    liveness.report("the first", ok=False)
    wait_until(lambda: len(ear.connections) == 1)

    for number in range(1000):
        liveness.report(f"{number}", ok=False)
    release.set()
    wait_until(lambda: len(ear.reports) == MAX_REPORTS + 1)

    assert ear.backends == ["the first", *map(str, range(1000 - MAX_REPORTS, 1000))]


def test_reports_of_many_threads_all_arrive_once(liveness: Liveness, ear: Ear) -> None:
    def report(thread: int) -> None:
        for number in range(10):
            liveness.report(f"{thread}.{number}", ok=False)

    threads = [threading.Thread(target=report, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(ear.reports) >= 80)

    assert sorted(ear.backends) == sorted(f"{thread}.{number}" for thread in range(8) for number in range(10))
    assert reporting_threads() == 1
