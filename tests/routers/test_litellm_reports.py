"""What a LiteLLM proxy tells the supervisor, and its clients, of how requests went: the real proxy, servers of ours."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testbed.leaving import Leaving
from testbed.routers.base import Served
from testbed.routers.litellm import LiteLLMRouter
from tests.fakes.documents import Document, document, entry, out, publish
from tests.fakes.ear import Ear, wait_until
from tests.fakes.upstream import Connection, Upstream, answers, fails, hangs_up, resets, silent, streams_then

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first run installs the proxy

CHAT = "/v1/chat/completions"
ENOUGH_S = 20.0
PRIVATE = "what nobody else may read"
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
failing = fails("500 Internal Server Error", '{"error": {"message": "Compute error"}}')


class Town(Leaving):
    """A proxy, two servers and whoever takes reports. `lone` is served by `a`, `other` by `b`, `pair` by both."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "liveness.json"
        self.ear = Ear(at=folder / "control.sock")
        self.servers = {name: Upstream() for name in "ab"}
        served = Served(
            backends={name: server.url for name, server in self.servers.items()},
            models={"lone": ("a",), "other": ("b",), "pair": ("a", "b")},
            liveness_file=self._file,
            supervisor_url="http://127.0.0.1:1",
            control_socket=folder / "control.sock",
        )
        self.router = LiteLLMRouter(folder / "router", served)
        for part in (self.ear, *self.servers.values()):
            part.__enter__()

    def leave(self) -> None:
        self.router.stop()
        for part in (self.ear, *self.servers.values()):
            part.close()

    def calm(self) -> None:
        """Let both answer, and say so; forget what was asked and told."""
        for name, server in self.servers.items():
            server.behave = answers(f"from {name}")
            server.connections.clear()
        self.ear.connections.clear()
        self.say()

    def say(self, *, valid_for_s: float = 60.0, **changes: Document) -> None:
        """Publish that both are ready, but for the entries in `changes`."""
        ready = {name: entry(name, url=server.url) for name, server in self.servers.items()}
        entries = {**ready, **{name: {**told, "url": ready[name]["url"]} for name, told in changes.items()}}
        publish(self._file, document(*entries.values(), now_s=time.time(), valid_for_s=valid_for_s))

    def ask(self, model: str, path: str = CHAT, **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": PRIVATE}], "max_tokens": 4, **more}
        url, headers = f"{self.router.url}{path}", self.router.client_headers
        return httpx.post(url, json=body, headers=headers, timeout=ENOUGH_S, trust_env=False)

    def told_of(self, name: str) -> Document:
        """Return what was told of a server, once it is there; nothing else may have been told of it."""
        wait_until(lambda: name in self.ear.backends)
        reports = [report for report in self.ear.reports if report["backend"] == name]
        assert len(reports) == 1
        return reports[0]

    def nothing_told_of_a(self) -> bool:
        """Say whether nothing was told of `a` by the time that a later failure of `b` was."""
        self.servers["b"].behave = failing
        self.ask("other")
        wait_until(lambda: "b" in self.ear.backends)
        return "a" not in self.ear.backends


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Town(tmp_path_factory.mktemp("litellm")) as town:
        town.say()
        town.router.start()
        yield town


@pytest.fixture
def town(running: Town) -> Town:
    running.calm()
    return running


# --- reports ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_told(town: Town) -> None:
    time.sleep(1.0)  # one success a second is news
    town.ask("lone")

    told = town.told_of("a")
    assert told["ok"]
    assert told["first_token_s"] is None


def test_of_a_stream_the_time_to_its_first_piece_is_told(town: Town) -> None:
    def slowly(connection: Connection) -> None:
        connection.wait(0.3)
        answers("after a while")(connection)

    time.sleep(1.0)
    town.servers["a"].behave = slowly
    town.ask("lone", stream=True)

    told = town.told_of("a")
    assert told["ok"]
    assert told["first_token_s"] >= 0.3


@both_ways
@pytest.mark.parametrize("fault", [failing, resets], ids=["500", "reset"])
def test_a_failure_is_told_once_without_what_anybody_wrote(town: Town, stream: bool, fault: Any) -> None:
    town.servers["a"].behave = fault
    town.ask("lone", stream=stream)

    told = town.told_of("a")
    assert not told["ok"]
    assert told["error"]
    assert PRIVATE not in str(told)
    assert "Compute" not in str(told)


def test_a_stream_that_breaks_is_told(town: Town) -> None:
    town.servers["a"].behave = streams_then("half of", hangs_up)
    town.ask("lone", stream=True)

    assert not town.told_of("a")["ok"]


def test_it_is_told_of_each_that_failed_a_request(town: Town) -> None:
    for server in town.servers.values():
        server.behave = failing
    town.ask("pair")

    assert not town.told_of("a")["ok"]
    assert not town.told_of("b")["ok"]


def test_a_failure_is_told_of_the_life_that_the_request_was_sent_to(town: Town) -> None:
    def restarted(connection: Connection) -> None:
        town.say(a=entry("a", instance="a second life"))
        failing(connection)

    town.say(a=entry("a", instance="a first life"))
    town.servers["a"].behave = restarted
    town.ask("lone")

    assert town.told_of("a")["instance"] == "a first life"


@both_ways
def test_the_clients_own_mistake_is_not_told(town: Town, stream: bool) -> None:
    town.servers["a"].behave = fails("400 Bad Request", '{"error": {"message": "too long"}}')
    reply = town.ask("lone", stream=stream)

    assert reply.status_code == 400
    assert town.nothing_told_of_a()


def test_a_timeout_that_the_client_chose_is_not_told(town: Town) -> None:
    town.servers["a"].behave = silent
    town.ask("lone", timeout=0.3)

    assert town.nothing_told_of_a()


def test_a_failure_that_the_supervisor_knows_of_is_not_told(town: Town) -> None:
    def found_out(connection: Connection) -> None:
        town.say(a=out("a"))
        resets(connection)

    town.servers["a"].behave = found_out
    town.ask("lone")

    assert town.nothing_told_of_a()


def test_servers_are_sent_nothing_of_our_notes(town: Town) -> None:
    town.ask("lone", metadata={"theirs": "yes"})

    assert "benchai" not in str(town.servers["a"].connections[0].json)


# --- what clients get -------------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("fault", [failing, resets], ids=["500", "reset"])
def test_whoever_fails_is_asked_once_and_another_answers(town: Town, stream: bool, fault: Any) -> None:
    town.servers["a"].behave = fault
    replies = [town.ask("pair", stream=stream) for _ in range(4)]

    assert {reply.status_code for reply in replies} == {200}
    assert len(town.servers["a"].connections) <= len(replies)


@both_ways
def test_where_no_server_can_be_reached_the_client_may_come_back(town: Town, stream: bool) -> None:
    town.servers["a"].behave = resets
    reply = town.ask("lone", stream=stream)

    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/responses"])
def test_every_way_of_asking_is_refused_with_503(town: Town, path: str) -> None:
    town.say(a=out("a"))
    reply = town.ask("lone", path, prompt="hi", input="hi")

    assert reply.status_code == 503
    assert "no progress for 14 s" in reply.text
    assert town.servers["a"].connections == []


def test_a_refusal_is_not_tried_again_even_for_a_client_that_wants_retries(town: Town) -> None:
    town.say(a=out("a"))
    began = time.monotonic()
    reply = town.ask("lone", num_retries=5)

    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "12"
    assert time.monotonic() - began < 5 * 0.5  # LiteLLM pauses half a second and more before each


def test_a_fallback_of_litellms_own_answers_where_the_model_is_out(town: Town) -> None:
    town.say(a=out("a"))
    reply = town.ask("lone", fallbacks=["other"])

    assert reply.json()["choices"][0]["message"]["content"] == "from b"


def test_without_a_supervisor_whoever_has_just_failed_is_asked_last(town: Town) -> None:
    town.ask("lone")  # its answer ends what an earlier failure of it has begun
    town.say(valid_for_s=0.0)
    town.servers["a"].behave = failing
    town.servers["a"].connections.clear()
    for _ in range(60):  # LiteLLM chooses by lot
        if not town.servers["a"].connections:
            town.ask("pair")
    town.servers["a"].connections.clear()
    replies = [town.ask("pair") for _ in range(6)]
    alone = town.ask("lone")

    assert {reply.status_code for reply in replies} == {200}
    assert len(town.servers["a"].connections) == 1
    assert alone.status_code == 500
