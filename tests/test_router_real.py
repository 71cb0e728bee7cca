"""The demo router in front of real llama.cpp servers, some of them hung: the request that everybody sends."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from testbed.clients import free_port
from testbed.servers import ProcessServers
from tests.fakes.town import Town, ask, content, events, hung, wait_until

WITHIN_S = 5.0  # what `auto` promises at any moment
WAIT_S = 30.0


@pytest.fixture
def town(tmp_path: Path, model: Path, process_servers: ProcessServers) -> Iterator[Town]:
    with Town(tmp_path) as town:
        town.elsewhere = {name: process_servers.run(name, model) for name in ("general", "code")}
        town.say()
        yield town


@pytest.mark.parametrize("stream", [False, True])
def test_the_request_that_everybody_sends_is_answered(town: Town, stream: bool) -> None:
    response = ask(town.open(), stream=stream)

    assert response.headers["X-Backend"] == "general"
    assert content(response)


@pytest.mark.parametrize("stream", [False, True])
def test_auto_answers_in_time_while_one_hangs_and_nobody_has_noticed(
    town: Town, process_servers: ProcessServers, stream: bool
) -> None:
    client = town.open()
    process_servers.freeze("general")
    began = time.monotonic()

    response = ask(client, stream=stream)

    assert time.monotonic() - began < WITHIN_S
    assert response.headers["X-Backend"] == "code"
    assert content(response)


def test_auto_answers_in_time_while_one_stands_still_altogether(town: Town, process_servers: ProcessServers) -> None:
    client = town.open()
    process_servers.pause("general")
    began = time.monotonic()

    assert content(ask(client))
    assert time.monotonic() - began < WITHIN_S


def test_auto_answers_in_time_while_one_is_dead(town: Town, process_servers: ProcessServers) -> None:
    client = town.open()
    process_servers.kill("general")

    assert ask(client).headers["X-Backend"] == "code"


def test_with_all_of_them_dead_it_says_so_at_once(town: Town, process_servers: ProcessServers) -> None:
    client = town.open()
    for name in ("general", "code"):
        process_servers.kill(name)

    response = ask(client)

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert "general" in response.json()["error"]["message"]


def test_a_server_that_was_restarted_is_asked_over_a_new_connection(
    town: Town, process_servers: ProcessServers, model: Path
) -> None:
    client = town.open()
    assert ask(client, "general").status_code == 200
    process_servers.remove("general")
    process_servers.run("general", model, port=httpx.URL(town.url_of("general")).port)

    assert ask(client, "general").status_code == 200


def test_a_stream_that_freezes_ends_with_an_error_once_the_supervisor_has_noticed(
    town: Town, process_servers: ProcessServers
) -> None:
    body = {"model": "general", "messages": [{"role": "user", "content": "say hi"}], "stream": True}
    pieces: list[str] = []
    with town.open().stream("POST", "/v1/chat/completions", json=body) as response:
        for piece in response.iter_text():
            if not pieces:
                process_servers.freeze("general")
                town.say(general=hung())
            pieces.append(piece)

    assert events("".join(pieces))[-1]["error"]["code"] == "backend_died"


def test_requests_that_wait_for_one_another_at_a_single_slot_are_all_answered(town: Town) -> None:
    client = town.open()
    with ThreadPoolExecutor() as beside:
        waiting = [beside.submit(ask, client, "general", max_tokens=200) for _ in range(4)]

        assert all(content(response.result(WAIT_S)) for response in waiting)


def test_the_program_serves_what_its_arguments_say(town: Town) -> None:
    port = free_port()
    places = [f"--backend={name}={town.url_of(name)}" for name in town.names]
    words = [f"--liveness={town.file}", f"--port={port}", "--first-byte-s=60", *places]
    router = subprocess.Popen([sys.executable, "-m", "examples.router", *words])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WITHIN_S, trust_env=False) as client:
            wait_until(lambda: _answers(client))

            assert content(ask(client, "code"))
            assert "research" in [entry["id"] for entry in client.get("/v1/models").json()["data"]]
    finally:
        router.terminate()
        assert router.wait(WAIT_S) == -signal.SIGTERM  # uvicorn finishes, then ends as it was told to


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False
