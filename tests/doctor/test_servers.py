"""Model servers that hide what is needed, want a key, or keep no prompts: real ones of llama.cpp."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from supervisor.doctor.checks import aliases, keys, ports, servers
from testbed.clients import free_port, wait_until
from testbed.old_servers import OldProcess
from testbed.servers import ProcessServers
from tests.doctor.patient import around, backend, found, words

KEY = "the-servers-Key-of-8"


def port(url: str) -> int:
    """Return the port of an address."""
    return urlsplit(url).port or 0


@pytest.fixture
def seen(tmp_path: Path, process_servers: ProcessServers, model: Path) -> Any:
    """Return a function that runs a server with flags, and returns what is found of it."""

    def run(*flags: str, check: Any = servers, **settings: object) -> list[str]:
        url = process_servers.run("general", model, *flags)
        return words(found(check.look, around(tmp_path, backend("general", port=port(url), **settings))))

    return run


def test_a_server_that_shows_its_slots_has_all_that_is_needed(seen: Any) -> None:
    assert seen() == []


def test_a_server_without_slots_hides_whether_it_works(seen: Any) -> None:
    assert seen("--no-slots", "--metrics") == [
        "warning general: its slots are hidden (--no-slots): whether it hangs or works is told by"
        " canaries and its CPU alone"
    ]


def test_a_server_without_slots_and_metrics_hides_everything(seen: Any) -> None:
    assert seen("--no-slots")[1] == "warning general: it has no /metrics either: nothing tells what it does"


def test_a_server_that_sleeps_needs_metrics(seen: Any) -> None:
    (told,) = seen("--sleep-idle-seconds", "600")

    assert told.startswith("warning general: it sleeps when idle and has no /metrics")


def test_one_slot_without_a_cache_makes_canaries_dear(seen: Any) -> None:
    (told,) = seen("--cache-ram", "0")

    assert told.startswith("warning general: it keeps no prompts in RAM (--cache-ram 0)")


def test_with_a_second_slot_a_canary_costs_nobody(seen: Any) -> None:
    assert seen("--cache-ram", "0", "-np", "2") == []


def test_a_sleeper_is_not_woken(tmp_path: Path, process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("general", model, "--sleep-idle-seconds", "1", "--metrics")
    wait_until(lambda: is_asleep(url), "it sleeps")
    patient = around(tmp_path, backend("general", port=port(url)))

    told = [list(check.look(patient)) for check in (servers, keys, ports)]

    assert [each.seen for each in told[0]] == ["llama.cpp b0-unknown tells what is needed and sleeps"]
    assert is_asleep(url)


def is_asleep(url: str) -> bool:
    """Whether a server says that it sleeps."""
    return bool(httpx.get(f"{url}/props", trust_env=False).json()["is_sleeping"])


def test_an_old_llama_cpp_is_told_by_what_it_does_not_say(tmp_path: Path) -> None:
    with OldProcess() as old:
        patient = around(tmp_path, backend("general", port=port(old.server.url)))
        (told,) = words(found(servers.look, patient))

    assert told.startswith("warning general: its llama.cpp (b4")
    assert "keeps no prompts in RAM" in told


@pytest.mark.parametrize(
    ("key", "told"),
    [
        pytest.param("", "error general: its server wants an API key, and we have none (401)", id="none"),
        pytest.param("another", "error general: its server refuses our key (401)", id="wrong"),
        pytest.param(KEY, "", id="right"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_told_without_being_shown(seen: Any, key: str, told: str) -> None:
    said = seen("--api-key", KEY, check=keys, api_key=key)

    assert said == ([told] if told else [])
    assert KEY not in str(said)


def test_of_a_server_that_wants_a_key_nothing_else_is_said_twice(seen: Any) -> None:
    assert seen("--api-key", KEY) == []


@contextmanager
def answering(answers: dict[str, tuple[int, bytes]]) -> Iterator[tuple[int, list[str]]]:
    """Have a server that knows these paths alone, and writes down what it is asked; return its port and that."""
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_HEAD = do_GET  # noqa: N815 - the base's names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


@pytest.mark.parametrize(
    ("told", "variables", "size"),
    [
        (["-cram", "64", "-cram", "0"], {}, "0"),
        (["--cache-ram=0"], {}, "0"),
        ([], {"LLAMA_ARG_CACHE_RAM": "0"}, "0"),
        (["--cache-ram", "2048"], {"LLAMA_ARG_CACHE_RAM": "0"}, "2048"),
        (["--cache-ram"], {}, None),
        ([], {}, None),
    ],
)
def test_the_last_flag_holds_over_the_variable(told: list[str], variables: dict[str, str], size: str | None) -> None:
    assert servers._cache_size(told, variables) == size


def test_only_what_a_server_answers_from_memory_is_asked(tmp_path: Path) -> None:
    with answering({}) as (number, asked):
        patient = around(tmp_path, backend("general", port=number))
        for check in (servers, keys, aliases, ports):
            list(check.look(patient))

    assert set(asked) == {"GET /props", "GET /metrics"}


def test_a_server_that_does_not_answer_costs_seconds_and_is_told(
    tmp_path: Path, process_servers: Any, model: Path
) -> None:
    url = process_servers.run("general", model)
    process_servers.pause("general")
    began = time.monotonic()
    try:
        told = words(found(servers.look, around(tmp_path, backend("general", port=port(url)))))
    finally:
        process_servers.resume("general")

    assert told == ["note general: it was not looked at: no answer within 3 s"]
    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there_is_not_this_checks_business(tmp_path: Path) -> None:
    assert found(servers.look, around(tmp_path, backend("general", port=free_port()))) == []
