"""Putting the guard on: two commands and no change to the router, or one line twice; what is wrong is said at once."""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from testbed.routers.benchai import LINE, PACKAGE, PROGRAM, install
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import document, entry
from tests.fakes.town import content, hung, wait_until
from tests.routers.benchai_town import BenchaiTown, ask

BROKEN = """'''A router.'''
class ModelManager:
    async def start_model(self, name): ...
    def _cleanup_orphans(self): raise SystemExit("killed them all")
manager = ModelManager()
manager._cleanup_orphans()
raise RuntimeError("line seven")
"""


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a router's folder, with nothing of this repository in reach but what is installed there."""
    env: Mapping[str, str] = {"PATH": os.environ["PATH"], **environment}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("module", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_every_file_is_python_3_9(module: Path) -> None:
    assert ast.parse(module.read_text(), feature_version=(3, 9))


def test_the_copied_client_is_used_and_not_some_package_of_that_name(tmp_path: Path) -> None:
    install(tmp_path)

    ran = run(tmp_path, "-c", "import sys, benchai_liveness; print('supervisor' in sys.modules)")

    assert ran.stdout == "False\n", ran.stderr


def test_the_wrapper_comes_before_the_manager_and_moves_no_line(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "llm_router.py").write_text(BROKEN)

    ran = run(tmp_path, "-m", PACKAGE.name, "llm_router.py")

    assert "kills no llama-server at its start" in ran.stderr
    assert 'llm_router.py", line 7' in ran.stderr
    assert "RuntimeError: line seven" in ran.stderr


def test_the_wrapper_says_what_it_wants(tmp_path: Path) -> None:
    install(tmp_path)

    ran = run(tmp_path, "-m", PACKAGE.name, "nothing.py")

    assert ran.returncode == 1
    assert "usage: python -m benchai_liveness llm_router.py" in ran.stderr


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("BENCHAI_LIVENESS_HONEST", "yes", "1 turns errors into error statuses"),
        ("BENCHAI_LIVENESS_RESUME_AFTER_S", "soon", "a number of seconds"),
        ("BENCHAI_LIVENESS", "ftp://here", "give a path"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_says_what_would_be_right(
    tmp_path: Path, name: str, value: str, cure: str
) -> None:
    install(tmp_path)
    (tmp_path / "llm_router.py").write_text(BROKEN)

    ran = run(tmp_path, "-m", PACKAGE.name, "llm_router.py", **{name: value})

    assert ran.returncode == 1
    assert value in ran.stderr
    assert cure in ran.stderr


def test_a_router_of_another_shape_is_told_that_nothing_of_it_is_known(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "llm_router.py").write_text("from starlette.applications import Starlette\napp = Starlette()\n")

    ran = run(tmp_path, "-m", PACKAGE.name, "llm_router.py")

    assert "guards no function that it knows" in ran.stderr


@pytest.mark.parametrize("parameters", ["model, messages", "messages, *, model_key", "query, which='general'"])
def test_the_model_is_found_whatever_its_argument_is_called(tmp_path: Path, parameters: str) -> None:
    """Asked by their position, by their name, or by nothing but a value that is a model's name."""
    with BenchaiTown(tmp_path) as town, town.router() as probe:
        folder = probe.folder
        ports = probe.environment()["BENCHAI_PORTS"]
    program = f"""
import asyncio, sys
from starlette.applications import Starlette
MODELS = {ports}
async def execute_reasoning({parameters}):
    return "Reasoning failed: Could not start it"
app = Starlette()
{LINE}
from benchai_liveness.words import CASE, Case, Refusal
CASE.set(Case("code", is_auto=False))
arguments = {{"model": "code", "messages": [], "model_key": "code", "query": "q", "which": "code"}}
names = execute_reasoning.__wrapped__.__code__.co_varnames
try:
    asyncio.run(execute_reasoning(**{{name: arguments[name] for name in names}}))
except Refusal as refusal:
    print(refusal.status, refusal.retry_after_s)
"""
    town.say(code={"retry_after_s": 7.0})

    ran = run(folder, "-c", program, BENCHAI_LIVENESS=str(town.file))

    assert ran.stdout == "503 7.0\n", ran.stderr


def test_the_liveness_may_come_by_an_address(tmp_path: Path) -> None:
    with BenchaiTown(tmp_path) as town, FakeDaemon() as daemon:
        url = town.upstreams["general"].url
        daemon.liveness = document(entry("general", url=url), now_s=time.time())
        with town.router(BENCHAI_LIVENESS=daemon.url, BENCHAI_LIVENESS_REPORT_TO="") as router:
            assert content(ask(router, "general")) == "from general"
            daemon.liveness = document(entry("general", url=url, **hung()), now_s=time.time(), revision=2)

            wait_until(lambda: ask(router, "general").status_code == 503)


def test_the_lines_are_put_where_the_page_says() -> None:
    program = PROGRAM.read_text()

    assert program.count("\nmanager = ModelManager()\n") == 1
    assert program.count('\nif __name__ == "__main__":\n') == 1
