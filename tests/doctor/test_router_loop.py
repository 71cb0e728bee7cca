"""BenchAI's router and its own health loop: real processes by its name, handed over or not."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.doctor.checks.router_loop import look
from tests.doctor.patient import around, backend, router, words

ROUTER = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
{more}
time.sleep(60)
"""
LOOP = "def _check_and_restart_models(): ...\n"
GUARDED = f"{LOOP}0 and benchai_liveness.guard(globals())\n"


@contextmanager
def running(folder: Path, *words: str) -> Iterator[int]:
    """Run a router in a folder, by these words, and return its port."""
    with subprocess.Popen([sys.executable, *words], cwd=folder, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        pytest.param(LOOP, "error router: the router (llm_router.py) restarts model servers by itself", id="its-own"),
        pytest.param(GUARDED, "ok router: the router has handed its health loop over", id="two-lines-written-into-it"),
        pytest.param("", "ok router: the router has no health loop", id="a-version-without"),
    ],
)
def test_a_router_that_restarts_servers_itself_is_in_the_way(tmp_path: Path, more: str, told: str) -> None:
    (tmp_path / "llm_router.py").write_text(ROUTER.format(more=more))
    with running(tmp_path, "llm_router.py") as port:
        (only,) = look(around(tmp_path, backend("general", port=1) + router(port=port)))

    assert words([only])[0].startswith(told)
    assert ("docs/routers/benchai.md" in only.cure) is told.startswith("error")


def test_a_router_that_is_started_by_our_folder_has_handed_it_over(tmp_path: Path) -> None:
    (tmp_path / "llm_router.py").write_text(LOOP)
    (tmp_path / "benchai_liveness.py").write_text(ROUTER.format(more=""))
    with running(tmp_path, "-m", "benchai_liveness", "llm_router.py") as port:
        (only,) = look(around(tmp_path, backend("general", port=1) + router(port=port)))

    assert words([only]) == ["ok router: the router has handed its health loop over"]


def test_another_router_has_none(tmp_path: Path) -> None:
    (tmp_path / "proxy.py").write_text(ROUTER.format(more=LOOP))
    with running(tmp_path, "proxy.py") as port:
        (only,) = look(around(tmp_path, backend("general", port=1) + router(port=port)))

    assert words([only]) == ["ok router: the router is none that restarts model servers"]


def test_a_router_that_does_not_run_is_known_by_its_unit(tmp_path: Path) -> None:
    unit = tmp_path / "root/etc/systemd/system/benchai.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\nWorkingDirectory={tmp_path}\nExecStart=/usr/bin/python3 llm_router.py\n")
    (tmp_path / "llm_router.py").write_text(LOOP)
    settings = backend("general", port=1) + router(port=2, engine="systemd", unit="benchai.service")

    (only,) = look(around(tmp_path, settings, root=tmp_path / "root"))

    assert only.severity == "error"


def test_where_nobody_listens_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert list(look(around(tmp_path, backend("general", port=1) + router(port=2)))) == []
