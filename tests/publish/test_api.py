"""The HTTP face, over a real port and a real socket."""

import asyncio
import time as real_time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from supervisor.client import Liveness
from supervisor.core.events import Verb
from supervisor.core.state import Phase
from supervisor.publish.api import Api
from supervisor.publish.board import Board
from supervisor.publish.file import LivenessFile
from supervisor.publish.server import HttpServer, bind_tcp, bind_unix
from tests.fakes.brakes import Brakes, Remembered, Rereads
from tests.fakes.services import Servants
from tests.publish.believing import NOON, VALID_FOR_S, snapshot
from tests.publish.serving import BEARER, TOKEN, WATCHED, Operator, Served, error_of, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One API for all tests, whose token is set: ending a server takes it a moment."""
    async with serving(tmp_path_factory.mktemp("api"), token=TOKEN) as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    """That API, as if it had just begun."""
    shared.time.now, shared.time.wall = 100.0, NOON
    for each in WATCHED:
        shared.board.put(each)
    shared.operator.asked.clear()
    shared.operator.fault = None
    return shared


async def test_the_document_is_served_with_its_validator_and_its_end(served: Served) -> None:
    response = await served.tcp.get("/v1/liveness")

    assert response.status_code == 200
    assert response.content == served.board.document.body
    assert response.headers["content-type"] == "application/json"
    assert response.headers["etag"] == served.board.document.etag
    assert response.headers["liveness-expires-at"] == "2026-11-23T12:00:15.000Z"
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("spelling", ["{etag}", '"other", {etag}', "{strong}"])
async def test_whoever_holds_the_document_learns_only_how_much_longer_it_is_true(served: Served, spelling: str) -> None:
    etag = served.board.document.etag
    held = spelling.format(etag=etag, strong=etag.removeprefix("W/"))

    served.time.pass_s(2.0)
    served.board.put(snapshot("planner", as_of=served.time.now))
    response = await served.tcp.get("/v1/liveness", headers={"If-None-Match": held})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag
    assert response.headers["liveness-expires-at"] == "2026-11-23T12:00:17.000Z"


async def test_whoever_holds_an_older_document_is_given_the_new_one(served: Served) -> None:
    held = served.board.document.etag

    served.board.put(snapshot("planner", phase=Phase.SUSPECT))
    response = await served.tcp.get("/v1/liveness", headers={"If-None-Match": held})

    assert response.status_code == 200
    assert response.json()["backends"][0]["routable"] is False
    assert response.headers["etag"] != held


async def test_file_port_and_socket_tell_the_same_bytes(served: Served, tmp_path: Path) -> None:
    file = LivenessFile(tmp_path / "liveness.json", served.board)
    running = asyncio.create_task(file.run())
    await file.told(timeout_s=10)
    running.cancel()
    file.close()

    tcp, unix = await served.tcp.get("/v1/liveness"), await served.unix.get("/v1/liveness")

    assert tcp.content == unix.content == (tmp_path / "liveness.json").read_bytes()


@pytest.mark.parametrize("where", ["tcp", "unix"])
async def test_our_client_reads_it_and_extends_what_it_holds(tmp_path: Path, where: str) -> None:
    board = Board([snapshot("planner")], valid_for_s=VALID_FOR_S)
    listener = bind_tcp("127.0.0.1", 0) if where == "tcp" else bind_unix(tmp_path / "s.sock")
    address = f"http://127.0.0.1:{listener.getsockname()[1]}" if where == "tcp" else f"unix://{tmp_path}/s.sock"
    operator = Operator()
    api = Api(
        board,
        operate=operator.operate,
        report=operator.report,
        history=operator.history,
        holds=Brakes(),
        incidents=Remembered(),
        rereads=Rereads(),
        services=Servants().services(),
        token="",
    )
    server = HttpServer(listener, api.app(trusted=False))
    running = asyncio.create_task(server.run())

    liveness = await asyncio.to_thread(Liveness, address, timeout_s=10)
    first = liveness.snapshot()
    board.put(snapshot("planner"))
    await asyncio.to_thread(liveness.refresh)
    second = liveness.snapshot()
    server.stop()
    await running

    assert first.known
    assert second.known
    assert second.revision == first.revision == 1
    assert first.expires_at is not None
    assert second.expires_at is not None
    assert second.expires_at > first.expires_at


async def test_a_late_owner_makes_the_daemon_dead_and_its_backends_unknown(served: Served) -> None:
    alive = await served.tcp.get("/livez")
    served.time.pass_s(VALID_FOR_S + 1)
    dead, not_ready = await served.tcp.get("/livez"), await served.tcp.get("/readyz")
    backend = await served.tcp.get("/v1/backends/planner")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert error_of(dead) == (503, "LoopLate")
    assert error_of(not_ready) == (503, "NotYet")
    assert (backend.status_code, backend.json()["verdict"]) == (200, "unknown")


async def test_ready_is_when_everything_has_been_looked_at(served: Served) -> None:
    known = snapshot("planner").state.judgement
    unseen = type(known)(verdict=known.verdict, reason="NotYetKnown", message="not looked at yet")
    served.board.put(snapshot("planner", judgement=unseen))

    before = await served.tcp.get("/readyz")
    served.board.put(snapshot("planner"))
    after = await served.tcp.get("/readyz")

    assert error_of(before) == (503, "NotYet")
    assert after.status_code == 200


async def test_the_status_is_the_boards(served: Served) -> None:
    response = await served.tcp.get("/v1/status")

    assert response.json() == served.board.status()


@pytest.mark.parametrize("verb", list(Verb))
async def test_whoever_can_open_the_socket_may_change_things(served: Served, verb: Verb) -> None:
    response = await served.unix.post(f"/v1/targets/planner/{verb}?wait_s=2.5")

    assert served.operator.asked == [("planner", verb, 2.5, True)]
    assert (response.status_code, response.json()) == (
        200,
        {
            "name": "planner",
            "verb": verb,
            "outcome": "done",
            "message": "ready, first token 0.04s, 1s ago",
            "stopped": [],
            "state": "RUNNING",
        },
    )


@pytest.mark.parametrize(
    "authorization",
    [None, b"", b"Bearer", b"Bearer wrong", BEARER + b"x", BEARER[:-1], TOKEN.encode(), b"Basic " + TOKEN.encode()],
    ids=repr,
)
async def test_over_the_port_nobody_changes_anything_without_the_token(
    served: Served, authorization: bytes | None
) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization}

    response = await served.tcp.post("/v1/targets/planner/stop", headers=headers)

    assert error_of(response) == (401, "Unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in response.text
    assert served.operator.asked == []


@pytest.mark.parametrize(("drain", "drains"), [("?drain=0", False), ("?drain=1", True), ("", True)])
async def test_whoever_is_being_served_may_finish_unless_somebody_is_in_a_hurry(
    served: Served, drain: str, drains: bool
) -> None:
    await served.unix.post(f"/v1/targets/planner/restart{drain}")

    assert served.operator.asked == [("planner", Verb.RESTART, 60.0, drains)]


async def test_what_is_neither_yes_nor_no_is_refused(served: Served) -> None:
    response = await served.unix.post("/v1/targets/planner/restart?drain=maybe")

    assert error_of(response) == (400, "BadRequest")
    assert served.operator.asked == []


@pytest.mark.parametrize("authorization", [BEARER, BEARER.replace(b"Bearer", b"bearer")])
async def test_over_the_port_the_token_opens(served: Served, authorization: bytes) -> None:
    response = await served.tcp.post("/v1/targets/planner/stop", headers={b"Authorization": authorization})

    assert response.status_code == 200
    assert served.operator.asked == [("planner", Verb.STOP, 60.0, True)]


@pytest.mark.parametrize("authorization", ["", "Bearer x", "Bearer None"])
async def test_where_no_token_is_set_the_port_changes_nothing_whatever_is_sent(
    tmp_path: Path, authorization: str
) -> None:
    async with serving(tmp_path, token="") as served:
        response = await served.tcp.post("/v1/targets/planner/stop", headers={"Authorization": authorization})

    assert error_of(response) == (403, "Forbidden")
    assert "http.token" in response.json()["error"]["message"]
    assert served.operator.asked == []


@pytest.mark.parametrize("wait_s", ["-1", "601", "nan", "inf", "soon", ""])
async def test_a_wait_must_be_a_sensible_number_of_seconds(served: Served, wait_s: str) -> None:
    response = await served.unix.post(f"/v1/targets/planner/stop?wait_s={wait_s}")

    assert error_of(response) == (400, "BadRequest")
    assert "wait_s" in response.json()["error"]["message"]
    assert served.operator.asked == []


@pytest.mark.parametrize(
    ("method", "path", "expected", "words"),
    [
        ("POST", "/v1/targets/stranger/stop", (404, "NoSuchTarget"), "planner, code, router"),
        ("POST", "/v1/targets/planner/explode", (404, "NoSuchVerb"), "start, stop, restart"),
        ("GET", "/v1/backends/stranger", (404, "NoSuchBackend"), "planner, code"),
        ("GET", "/v1/models/stranger/ready", (404, "NoSuchModel"), "planner, code"),
        ("GET", "/v1/history?target=stranger", (404, "NoSuchTarget"), "planner, code, router"),
        ("GET", "/v1/targets/planner/stop", (405, "MethodNotAllowed"), ""),
        ("POST", "/v1/liveness", (405, "MethodNotAllowed"), ""),
        ("GET", "/v1/nothing", (404, "NotFound"), ""),
    ],
)
async def test_every_refusal_has_one_shape_and_says_what_there_is(
    served: Served, method: str, path: str, expected: tuple[int, str], words: str
) -> None:
    response = await served.unix.request(method, path)

    assert error_of(response) == expected
    assert words in response.json()["error"]["message"]


async def test_a_fault_of_ours_is_told_in_that_shape_too_and_costs_only_its_request(served: Served) -> None:
    served.operator.fault = RuntimeError("an inner secret")

    response = await served.unix.post("/v1/targets/planner/stop")
    after = await served.unix.get("/livez")

    assert error_of(response) == (500, "OurFault")
    assert "inner secret" not in response.text
    assert after.status_code == 200


async def test_a_request_that_never_ends_does_not_hold_up_the_others_nor_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path, token="") as served:
        _, writer = await asyncio.open_unix_connection(str(served.socket))
        writer.write(b"POST /v1/targets/planner/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        await writer.drain()
        other = await served.unix.get("/livez")

        began = real_time.monotonic()
        for server in served.servers:
            server.stop()
        await asyncio.gather(*served.tasks)
        took_s = real_time.monotonic() - began
        writer.close()

    assert other.status_code == 200
    assert took_s < 5
