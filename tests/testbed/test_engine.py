"""Finding an engine, starting one, and leaving nothing behind.

The engines started here are real and live in a network namespace of their own: a second dockerd in ours would take
the first one's bridge away.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import psutil
import pytest

from testbed.clients import wait_until
from testbed.engine import find, version_of

NOWHERE = "unix:///nowhere/docker.sock"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="starting an engine needs root")


def run_with_engine(*command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "testbed.engine", "run", "--", *command]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.engine
def test_an_engine_that_answers_is_found(engine: docker.DockerClient) -> None:
    found = find()

    assert found.kind == "docker"
    assert engine.version()["Version"] in found.reason


def test_an_address_where_no_engine_answers_gives_none_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)

    found = find()

    assert found.host is None
    assert NOWHERE in found.reason


def test_a_command_is_told_that_there_is_no_engine_and_why() -> None:
    ended = run_with_engine("env", env={"DOCKER_HOST": NOWHERE})

    assert "TESTBED_ENGINE=none\n" in ended.stdout
    assert f"TESTBED_ENGINE_REASON=DOCKER_HOST is {NOWHERE}" in ended.stdout


def test_a_commands_exit_status_is_passed_on() -> None:
    assert run_with_engine("sh", "-c", "exit 7", env={"DOCKER_HOST": NOWHERE}).returncode == 7


def test_a_command_killed_by_a_signal_gives_the_shells_status() -> None:
    assert run_with_engine("sh", "-c", "kill -KILL $$", env={"DOCKER_HOST": NOWHERE}).returncode == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_reaches_the_command_and_its_end_is_awaited(number: signal.Signals) -> None:
    script = 'trap "echo cleaned up; exit 5" TERM INT HUP; echo ready; while :; do sleep 0.05; done'
    arguments = [sys.executable, "-m", "testbed.engine", "run", "--", "sh", "-c", script]
    environment = {**os.environ, "DOCKER_HOST": NOWHERE}

    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stdout
        while process.stdout.readline().strip() != "ready":
            pass
        process.send_signal(number)
        said, _ = process.communicate(timeout=20)

    assert "cleaned up" in said
    assert process.returncode == 5


START = """
import sys, time
from pathlib import Path
from testbed.dockerd import LocalEngine
from testbed.engine import version_of
root = Path(sys.argv[1])
host, flags = f"unix://{root}/docker.sock", ("--data-root", f"{root}/data", "--exec-root", f"{root}/exec")
with LocalEngine(root / "state", host=host, flags=flags) as local:
    if "join" not in sys.argv:
        local.start(lambda: version_of(host) is not None)
    print("up", version_of(host), flush=True)
    if sys.argv[2] == "stay":
        time.sleep(300)
"""


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for one engine of our own; whatever engine is left in it at the end is ended."""
    root = tmp_path_factory.mktemp("e", numbered=True)  # short: a socket's path may have 107 characters
    yield root
    for process in engines_in(root):
        process.kill()


def engines_in(root: Path) -> list[psutil.Process]:
    """Return every dockerd and containerd that works in `root`."""
    every = psutil.process_iter(["name", "cmdline"])
    ours = [process for process in every if str(root) in " ".join(process.info["cmdline"] or ())]
    return [process for process in ours if process.info["name"] in {"dockerd", "containerd"}]


def own_engine(root: Path, *words: str) -> subprocess.Popen[str]:
    command = ["unshare", "--net", sys.executable, "-c", START, str(root), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_up(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdout.readline().startswith("up ")


@needs_root
@pytest.mark.engine
def test_an_engine_started_here_answers_and_is_gone_afterwards(root: Path) -> None:
    with own_engine(root, "leave") as process:
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "up None" not in said
    assert engines_in(root) == []
    assert not (root / "state" / "dockerd.pid").exists()


@needs_root
@pytest.mark.engine
def test_an_engine_left_by_a_killed_run_is_stopped_by_the_next(root: Path) -> None:
    with own_engine(root, "stay") as killed:
        wait_up(killed)
        killed.kill()
    assert engines_in(root)

    with own_engine(root, "leave", "join") as process:
        process.communicate(timeout=60)

    assert engines_in(root) == []


@needs_root
@pytest.mark.engine
def test_the_last_user_stops_the_engine_not_the_first(root: Path) -> None:
    with own_engine(root, "stay") as first, own_engine(root, "stay", "join") as second:
        wait_up(first)
        wait_up(second)
        first.send_signal(signal.SIGINT)
        first.wait(30)
        between = version_of(f"unix://{root}/docker.sock")
        second.send_signal(signal.SIGINT)
        second.wait(30)

    assert between
    assert engines_in(root) == []


@needs_root
@pytest.mark.engine
def test_the_pid_file_of_a_killed_engine_does_not_keep_the_next_from_starting(root: Path) -> None:
    (root / "state").mkdir()
    (root / "state" / "dockerd.pid").write_text(str(os.getpid()))  # alive, and no dockerd

    with own_engine(root, "leave") as process:
        process.communicate(timeout=60)

    assert process.returncode == 0
    assert engines_in(root) == []


@needs_root
@pytest.mark.engine
def test_ctrl_c_while_the_engine_starts_leaves_nothing_behind(root: Path) -> None:
    with own_engine(root, "leave") as process:
        wait_until(lambda: bool(engines_in(root)), "dockerd started", within_s=30)
        process.send_signal(signal.SIGINT)
        process.wait(60)

    assert process.returncode != 0
    assert engines_in(root) == []
