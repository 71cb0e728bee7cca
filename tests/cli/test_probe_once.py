"""`probe --url`: one probe without a daemon, of llama.cpp's own server in every state, by its words and exit status."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from testbed import tiny_model
from testbed.clients import busy, free_port, wait_until
from testbed.servers import ProcessServers
from tests.fakes.upstream import Upstream, silent

KEY = "s3cret"
SLOW_TO_READ = tiny_model.Shape(embd=512, layers=4, heads=8, kv_heads=4, ff=1408)
# The guidelines for plugins: one line, `SERVICE STATUS - text | 'label'=value[UOM];[warn];[crit];[min];[max] ...`.
PLUGIN = re.compile(
    r"BENCHAI (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \| ([a-z_]+=[0-9.]+(s|ms|%|B|c)?(;[0-9.]*){0,4} ?)+)?\n"
)
CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}


def probe(*words: str, **environment: str) -> tuple[int, str]:
    """Run it as a health check does; return its exit status and what it printed."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("BENCHAI_", "LLAMA_"))}
    done = subprocess.run(
        [sys.executable, "-m", "supervisor.cli", "probe", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean | environment,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def plugin(*words: str, **environment: str) -> tuple[str, str]:
    """Run it as a plugin; return its status and its line, held to the guidelines."""
    code, told = probe("--nagios", *words, **environment)
    found = PLUGIN.fullmatch(told)
    assert found is not None, told
    assert code == CODES[found[1]]
    return found[1], told


@pytest.fixture
def url(process_servers: ProcessServers, model: Path) -> str:
    """An idle server."""
    return process_servers.run("general", model, "-np", "1")


def test_one_that_answers_is_well(url: str) -> None:
    code, told = probe("--url", url)

    assert code == 0
    assert re.fullmatch(rf"{url}: ok \(ready, first token [0-9.]+s\)\n", told)
    status, line = plugin("--url", url)
    assert status == "OK"
    assert re.search(r"\| time=[0-9.]+s;;;0;10 first_token=[0-9.]+s;;;0;10 slots_busy=0;;;0;1", line)


@pytest.mark.parametrize(("limits", "status"), [(("-w", "0"), "WARNING"), (("-w", "0", "-c", "0"), "CRITICAL")])
def test_a_first_token_that_is_too_late_for_whoever_asks_is_worse(
    url: str, limits: tuple[str, ...], status: str
) -> None:
    assert plugin("--url", url, *limits)[0] == status


def test_one_whose_slots_are_all_at_work_and_move_is_busy_and_well_and_nobody_waits_behind_its_users(url: str) -> None:
    with busy(url) as user:
        user.wait_first_token()
        began = time.monotonic()
        code, told = probe("--url", url)
        took_s = time.monotonic() - began
        status, line = plugin("--url", url)
        received = user.received
        wait_until(lambda: user.received > received, "the user goes on being served")

    assert (code, told) == (0, f"{url}: ok (busy: every slot is at work, and moving)\n")
    assert (status, "slots_busy=1;;;0;1" in line) == ("OK", True)
    assert took_s < 8.0


def test_one_that_hangs_behind_a_good_face_is_found_out(process_servers: ProcessServers, url: str) -> None:
    with process_servers.freeze("general"):
        code, told = probe("--url", url, "-t", "6")
        status, _ = plugin("--url", url, "-t", "6")

    assert (code, status) == (1, "CRITICAL")
    assert re.fullmatch(rf"{url}: ERROR \(hung: .*cpu idle\)\n", told)


def test_one_that_hangs_in_the_midst_of_an_answer_is_found_out(process_servers: ProcessServers, url: str) -> None:
    with busy(url) as user:
        user.wait_first_token()
        with process_servers.freeze("general", mid_answer=True):
            code, told = probe("--url", url)

    assert code == 1
    assert "ERROR (hung: every slot is at work, and nothing moves, cpu idle)" in told


def test_one_that_reads_a_long_prompt_is_busy(process_servers: ProcessServers) -> None:
    """Its counters stand for a whole batch: only its CPU tells that from a hang."""
    one_batch = ("-np", "1", "-c", "65536", "-b", "65536", "-ub", "65536")
    slow = process_servers.run("slow", tiny_model.ensure(shape=SLOW_TO_READ), *one_batch)
    with busy(slow, tokens=4, messages=[{"role": "user", "content": "word " * 30_000}]):
        wait_until(lambda: probe("--url", slow, "-t", "2")[1].count("busy") > 0, "it is at work")
        code, told = probe("--url", slow, "-t", "4")

    assert code == 0, told


def test_one_that_is_gone_is_down_at_once() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    assert probe("--url", url)[0] == 1
    status, line = plugin("--url", url)
    assert (status, "down" in line) == ("CRITICAL", True)


def test_one_that_loads_its_model_is_not_ready_yet_and_no_alarm(process_servers: ProcessServers) -> None:
    url = process_servers.run("loading", tiny_model.ensure(shape=SLOW_TO_READ), ready=False)
    seen: set[str] = set()

    def is_up() -> bool:
        seen.add(plugin("--url", url, "-t", "2")[1].partition(" |")[0].partition("(")[0])
        return probe("--url", url, "-t", "5")[0] == 0

    wait_until(is_up, "it is up")
    expected = ("BENCHAI WARNING - loading: loading its model", "BENCHAI CRITICAL - down", "BENCHAI OK")
    assert all(each.startswith(expected) for each in seen), seen


def test_the_key_comes_from_the_environment_and_a_wrong_one_says_nothing_of_the_server(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("locked", model, "--api-key", KEY)

    right = probe("--url", url, BENCHAI_SUPERVISOR_API_KEY=KEY)[0]
    its_own = probe("--url", url, LLAMA_API_KEY=KEY)[0]
    wrong = probe("--url", url, BENCHAI_SUPERVISOR_API_KEY="guessed")
    none = plugin("--url", url)

    assert (right, its_own, wrong[0]) == (0, 0, 1)
    assert "guessed" not in wrong[1]
    assert none[0] == "UNKNOWN"
    assert "is the key right?" in none[1]


def test_a_sleeper_is_well_and_is_woken_only_where_that_is_said(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("sleeper", model, "--sleep-idle-seconds", "1")
    # Nothing else lets it: any probe that it answers keeps it up for as long again.
    wait_until(lambda: httpx.get(f"{url}/props", trust_env=False).json()["is_sleeping"], "it has fallen asleep")

    again = probe("--url", url)
    woken = probe("--url", url, "--wake")

    assert again == (0, f"{url}: ok (asleep: it has put its model away; a canary would wake it)\n")
    assert woken[0] == 0
    assert "ready" in woken[1]


def test_broken_weights_are_no_answer(process_servers: ProcessServers) -> None:
    url = process_servers.run("broken", tiny_model.ensure(answer="nan"))

    code, told = probe("--url", url)

    assert code == 1
    assert "ERROR (failing:" in told


@pytest.mark.parametrize(("kind", "flags"), [("completion", ()), ("embeddings", ("--embeddings", "--pooling", "mean"))])
def test_it_asks_what_the_model_is_for(
    process_servers: ProcessServers, model: Path, kind: str, flags: tuple[str, ...]
) -> None:
    url = process_servers.run(kind, model, *flags)

    assert probe("--url", url, "--canary", kind)[0] == 0


def test_it_never_takes_longer_than_its_timeout() -> None:
    with Upstream(silent) as server:
        began = time.monotonic()
        code, told = probe("--url", server.url, "-t", "2")
        took_s = time.monotonic() - began

    assert code == 1, told
    assert took_s < 4.0  # Python's own start is in it


@contextmanager
def cut_off_by_probes() -> Iterator[tuple[str, list[str]]]:
    """What llama-cpp-python shows of itself: an OpenAPI title, and no counters."""
    asked: list[str] = []
    openapi = b'{"info": {"title": "\xf0\x9f\xa6\x99 llama.cpp Python API"}}'
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    peer, _ = door.accept()
                except OSError:
                    return
                with peer:
                    path = peer.recv(65536).split(b" ")[1].decode()
                    asked.append(path)
                    status, body = (b"200 OK", openapi) if path == "/openapi.json" else (b"404 Not Found", b"{}")
                    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n" % (status, len(body))
                    peer.sendall(head + b"Content-Type: application/json\r\n\r\n" + body)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}", asked
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_server_that_a_probe_would_cut_off_is_not_asked_unless_that_is_said() -> None:
    with cut_off_by_probes() as (url, asked):
        status, line = plugin("--url", url)
        asked_by_then = list(asked)
        probe("--url", url, "--may-cut-off")

    assert status == "UNKNOWN"
    assert "cuts off whoever it serves" in line
    assert not any(path.startswith("/v1/") for path in asked_by_then)
    assert "/v1/chat/completions" in asked


@pytest.mark.parametrize("url", ["8091", "ftp://127.0.0.1", "http://", "127.0.0.1:8091"])
def test_an_address_that_is_none_is_a_mistake_of_whoever_asks(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    from supervisor.cli import main

    assert main(["probe", "--url", url]) == 2
    assert "is no address of a server" in capsys.readouterr().err
    assert plugin("--url", url)[0] == "UNKNOWN"


@pytest.mark.parametrize("words", [(), ("general", "--url", "http://127.0.0.1:1")])
def test_whoever_says_too_little_or_too_much_is_told(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    from supervisor.cli import main

    assert main(["probe", *words]) == 2
    assert "--url" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "stray"),
    [
        (("general", "--nagios"), "--nagios: only for --url"),
        (("general", "-t", "3", "--model", "m"), "--model, --timeout: only for --url"),
        (("--url", "http://127.0.0.1:1", "--wait", "3"), "--wait: only for targets"),
    ],
)
def test_an_option_that_would_choose_nothing_is_refused(
    words: tuple[str, ...], stray: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from supervisor.cli import main

    assert main(["probe", *words]) == 2
    assert stray in capsys.readouterr().err
