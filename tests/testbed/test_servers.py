"""What containers and child processes have in common, each fault on a real server."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import docker
import httpx
import psutil
import pytest
from docker.errors import NotFound

from testbed.clients import busy, chat, chat_body, wait_ready, wait_until
from testbed.container_servers import ContainerServers
from testbed.servers import ProcessServers, Servers

SILENT_S = 1.5  # longer than any healthy answer here by two orders of magnitude


@pytest.fixture(params=[pytest.param("servers", marks=pytest.mark.engine), "process_servers"])
def kind(request: pytest.FixtureRequest) -> Servers:
    """Both kinds of servers, one after the other."""
    chosen: Servers = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def name() -> str:
    return f"testbed-{uuid.uuid4().hex[:8]}"


def answers(url: str, path: str) -> bool:
    try:
        return httpx.get(f"{url}{path}", timeout=SILENT_S).is_success
    except httpx.TimeoutException:
        return False


def chat_answers(url: str) -> bool:
    try:
        return bool(chat(url, timeout_s=SILENT_S))
    except httpx.TimeoutException:
        return False


def counters(url: str) -> tuple[int, int]:
    slot = httpx.get(f"{url}/slots", timeout=SILENT_S).json()[0]
    return slot["id_task"], slot["next_token"][0]["n_decoded"]


def test_an_idle_frozen_server_says_ok_on_health_and_hangs_on_slots_and_chat(
    kind: Servers, model: Path, name: str
) -> None:
    url = kind.run(name, model)

    with kind.freeze(name):
        seen = answers(url, "/health"), answers(url, "/slots"), chat_answers(url)

    assert seen == (True, False, False)


def test_a_server_frozen_mid_answer_shows_slots_that_stand_still(kind: Servers, model: Path, name: str) -> None:
    url = kind.run(name, model)

    with kind.freeze(name, mid_answer=True):
        first, second = counters(url), counters(url)
        seen = answers(url, "/health"), chat_answers(url)

    assert first == second
    assert first[1] > 0
    assert seen == (True, False)


def test_a_server_can_be_frozen_in_somebody_elses_answer(kind: Servers, model: Path, name: str) -> None:
    url = kind.run(name, model, "-c", "65536")

    with busy(url) as client:
        client.wait_first_token()
        with kind.freeze(name, when_busy=True):
            first, second = counters(url), counters(url)

    assert first == second
    assert not client.ended


@pytest.mark.parametrize("mid_answer", [False, True])
def test_a_released_server_answers_again(kind: Servers, model: Path, name: str, mid_answer: bool) -> None:
    url = kind.run(name, model)

    with kind.freeze(name, mid_answer=mid_answer):
        pass

    assert chat(url)


def test_a_killed_server_is_dead_on_return_and_refuses_connections(kind: Servers, model: Path, name: str) -> None:
    url = kind.run(name, model)

    kind.kill(name)

    assert kind.pid(name) is None
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", timeout=SILENT_S)


def test_a_frozen_server_can_be_killed_under_its_holder(kind: Servers, model: Path, name: str) -> None:
    kind.run(name, model)

    with kind.freeze(name):
        kind.kill(name)

        assert kind.pid(name) is None


def test_a_paused_server_is_silent_and_a_resumed_one_answers(kind: Servers, model: Path, name: str) -> None:
    url = kind.run(name, model)

    kind.pause(name)
    paused = answers(url, "/health")
    kind.resume(name)

    assert not paused
    assert chat(url)


def test_what_a_server_printed_can_be_read(kind: Servers, model: Path, name: str) -> None:
    kind.run(name, model)

    wait_until(lambda: "listening" in kind.log(name), "its log says that it listens")  # a moment after it answers

    assert "server is listening on" in kind.log(name)


def test_a_server_that_dies_at_its_start_is_told_at_once_with_its_log(kind: Servers, model: Path, name: str) -> None:
    with pytest.raises(ChildProcessError) as raised:
        kind.run(name, model, "--no-such-flag")

    assert "--no-such-flag" in "".join(raised.value.__notes__)


def test_a_removed_server_makes_room_for_another_of_its_name(kind: Servers, model: Path, name: str) -> None:
    kind.run(name, model)
    kind.remove(name)
    kind.remove(name)

    url = kind.run(name, model)

    assert chat(url)


def test_a_killed_container_looks_to_the_engine_like_a_crash(
    servers: ContainerServers, model: Path, name: str, engine: docker.DockerClient
) -> None:
    servers.run(name, model, restart_policy={"Name": "unless-stopped"})
    first = servers.pid(name)

    servers.kill(name)

    wait_until(lambda: servers.pid(name) not in {None, first}, "restarted by the engine's own policy", within_s=15)
    assert engine.containers.get(name).attrs["RestartCount"] == 1


def test_a_killed_container_can_be_killed_without_rights_on_the_host(
    servers: ContainerServers, model: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.run(name, model)

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    servers.kill(name)

    assert servers.container(name).attrs["State"]["ExitCode"] == 137


def test_a_frozen_container_answers_again_after_a_restart(servers: ContainerServers, model: Path, name: str) -> None:
    url = servers.run(name, model)

    with servers.freeze(name):
        servers.container(name).restart(timeout=1)
        wait_ready(url)
        said = chat(url)

    assert said


def test_removing_all_leaves_the_servers_of_another_group(
    servers: ContainerServers, engine: docker.DockerClient, image: str, model: Path, name: str
) -> None:
    url = servers.run(name, model)

    with ContainerServers(engine, image) as others:
        others.run(f"{name}-other", model)

    assert chat(url)
    with pytest.raises(NotFound):
        others.container(f"{name}-other")


def test_a_throttled_container_is_many_times_slower(servers: ContainerServers, model: Path, name: str) -> None:
    url = servers.run(name, model, "-c", "8192")

    full_speed = tokens_per_second(url)
    servers.throttle(name, 0.05)

    assert tokens_per_second(url) < full_speed / 3


def tokens_per_second(url: str) -> float:
    body = chat_body(max_tokens=400)
    reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    return float(reply.json()["timings"]["predicted_per_second"])


LEAVE_BEHIND = """
import os, sys
from pathlib import Path
from testbed.{module} import {kind}
{extra}
servers = {kind}({arguments})
servers.run(sys.argv[1], Path(sys.argv[2]))
print(servers.pid(sys.argv[1]), flush=True)
os._exit(9)  # as if killed: nothing is cleaned up
"""


def leave_behind(name: str, model: Path, **words: str) -> int:
    script = LEAVE_BEHIND.format(**words)
    ended = subprocess.run([sys.executable, "-c", script, name, str(model)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 9, ended.stderr
    return int(ended.stdout)


def test_a_process_left_by_an_interrupted_run_is_removed_by_the_next(model: Path, name: str, tmp_path: Path) -> None:
    arguments = f"Path({str(tmp_path)!r})"
    pid = leave_behind(name, model, module="servers", kind="ProcessServers", extra="", arguments=arguments)
    assert psutil.pid_exists(pid)

    with ProcessServers(tmp_path):
        wait_until(lambda: not psutil.pid_exists(pid) or _is_zombie(pid), f"{pid} gone", within_s=5)

    assert not psutil.pid_exists(pid) or _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Where nobody reaps orphans (a container without an init), a killed one stays as a zombie."""
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_container_left_by_an_interrupted_run_is_removed_by_the_next_and_ours_are_kept(
    servers: ContainerServers, engine: docker.DockerClient, image: str, model: Path, name: str
) -> None:
    servers.run(f"{name}-ours", model)
    leave_behind(
        name,
        model,
        module="servers",
        kind="ContainerServers",
        extra="from testbed.engine import find",
        arguments=f"find().client(), {image!r}",
    )

    ContainerServers(engine, image)

    remaining = {container.name for container in engine.containers.list(all=True)}
    assert name not in remaining
    assert f"{name}-ours" in remaining


def test_two_servers_of_one_name_are_refused(process_servers: ProcessServers, model: Path) -> None:
    process_servers.run("one", model)

    with pytest.raises(ValueError, match="one"):
        process_servers.run("one", model)
