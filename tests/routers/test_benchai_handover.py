"""BenchAI's router restarts model servers too; once guarded it leaves that to the supervisor, while there is one."""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed.clients import free_port, wait_until
from testbed.process_servers import server_command
from testbed.routers.base import Served
from testbed.routers.benchai import BenchaiRouter
from testbed.supervisord import Supervisord, toml
from tests.fakes.documents import document, entry, publish
from tests.fakes.town import content
from tests.routers.benchai_town import BenchaiTown, ask

EVERY_S = 0.1  # its health checks, which are a minute apart otherwise
CHECKS_S = 1.0
RESUME_S = 0.6
ENOUGH_S = 20.0


@pytest.fixture
def town(tmp_path: Path) -> Iterator[BenchaiTown]:
    with BenchaiTown(tmp_path) as town:
        yield town


class Starts:
    """What the router starts by itself: it writes down its name and its process id, and is healthy."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "starts"
        self.orphans = folder / "orphans"
        (folder / "served").mkdir()
        (folder / "served" / "health").touch()
        serve = shlex.join([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d", str(folder / "served")])
        script = f"echo $0 $$ >> {shlex.quote(str(self._file))}; exec {serve} $1"
        self.settings = {
            "BENCHAI_START_COMMAND": shlex.join(["sh", "-c", script]),
            "BENCHAI_ORPHANS_COMMAND": shlex.join(["touch", str(self.orphans)]),
            "BENCHAI_HEALTH_CHECK_INTERVAL": str(EVERY_S),
            "BENCHAI_COOLDOWN_S": "0",
            "BENCHAI_START_WITHIN_S": "10",
            "BENCHAI_LIVENESS_RESUME_AFTER_S": str(RESUME_S),
        }

    @property
    def lines(self) -> list[list[str]]:
        """Each start: the model and the process."""
        return [line.split() for line in self._file.read_text().splitlines()] if self._file.exists() else []

    @property
    def names(self) -> set[str]:
        """Who was started at least once."""
        return {name for name, _ in self.lines}


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    return Starts(tmp_path)


def kill_general(town: BenchaiTown) -> None:
    """Let nobody listen there any more."""
    town.upstreams["general"].close()


def is_healthy(town: BenchaiTown) -> bool:
    """Say whether somebody does all the same."""
    try:
        return httpx.get(f"{town.upstreams['general'].url}/health", timeout=2.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


# --- the two of them --------------------------------------------------------------------------------------------------


def test_without_the_guard_the_router_restarts_what_is_down(town: BenchaiTown, starts: Starts) -> None:
    with town.router(guard="none", **starts.settings):
        kill_general(town)

        wait_until(lambda: "general" in starts.names, "it was started", within_s=ENOUGH_S)
        assert starts.orphans.exists()


@pytest.mark.parametrize("guard", ["wrapper", "lines"])
def test_while_the_supervisor_lives_the_router_starts_and_kills_nothing(
    town: BenchaiTown, starts: Starts, guard: str
) -> None:
    with town.router(guard=guard, **starts.settings) as router:
        kill_general(town)
        ask(router, "general")
        time.sleep(CHECKS_S)
        said = router.log().count("has handed its health checks over to the supervisor")

    assert starts.lines == []
    assert not starts.orphans.exists()
    assert said == 1


def test_a_router_that_starts_before_the_supervisor_waits_for_it(town: BenchaiTown, starts: Starts) -> None:
    kill_general(town)
    town.file.unlink()

    with town.router(**{**starts.settings, "BENCHAI_LIVENESS_RESUME_AFTER_S": "60"}):
        time.sleep(CHECKS_S)

    assert starts.lines == []


def test_once_the_supervisor_has_been_gone_for_long_the_router_takes_up_again(
    town: BenchaiTown, starts: Starts
) -> None:
    town.say(valid_for_s=0.1)
    with town.router(**starts.settings):
        kill_general(town)

        wait_until(lambda: "general" in starts.names, "it was started", within_s=ENOUGH_S)


def test_what_it_has_started_meanwhile_it_stops_when_the_supervisor_is_back(town: BenchaiTown, starts: Starts) -> None:
    town.say(valid_for_s=0.1)
    with town.router(**starts.settings) as router:
        kill_general(town)
        wait_until(lambda: is_healthy(town), "it was started", within_s=ENOUGH_S)
        town.say()

        wait_until(lambda: not is_healthy(town), "its own has ended", within_s=ENOUGH_S)
        time.sleep(CHECKS_S)
        said = router.log()

    assert said.count("stops its own general") == 1
    assert len(starts.lines) == 1


def test_a_supervisor_that_only_observes_is_handed_nothing(town: BenchaiTown, starts: Starts) -> None:
    publish(town.file, {**json.loads(town.file.read_text()), "mode": "observe"})
    with town.router(**starts.settings):
        kill_general(town)

        wait_until(lambda: "general" in starts.names, "it was started", within_s=ENOUGH_S)


def test_a_model_that_the_supervisor_does_not_know_stays_the_routers(town: BenchaiTown, starts: Starts) -> None:
    with town.router(**starts.settings) as router:
        publish(town.file, document(entry("code"), now_s=time.time(), valid_for_s=60.0))
        ask(router, "general")

        wait_until(lambda: "general" in starts.names, "it was started", within_s=ENOUGH_S)


@pytest.mark.parametrize(("guard", "answer"), [("none", "Vision analysis requires"), ("wrapper", "from vision")])
def test_the_gpu_memory_that_vision_holds_itself_is_not_held_against_it(
    town: BenchaiTown, guard: str, answer: str
) -> None:
    with town.router(guard=guard, BENCHAI_GPU_USED_MB="11000") as router:
        assert content(ask(router, "vision")).startswith(answer)


# --- with a real daemon -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_daemon_restarts_alone_hears_of_real_requests_and_leaves_the_rest_to_the_router(
    tmp_path: Path, model: Path, starts: Starts
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Supervisord(tmp_path / "daemon") as daemon:
        daemon.folder.mkdir()
        command = server_command(model, port, "-np", "1", "-c", "4096", "-t", "1")
        daemon.write_settings(
            "[process]\nstop_on_exit = true\n[policy]\ntick_s = 1.0\nlook_timeout_s = 0.5\nbackoff_first_s = 0.1\n"
            f'[[backends]]\nname = "general"\nurl = "{url}"\nmodels = ["general"]\n'
            f'engine = "process"\ncommand = {toml(command)}\n',
            valid_for_s=4.0,
        )
        daemon.start()
        daemon.wait_answers()
        first = daemon.wait_target("general", verdict="ready")
        served = Served(
            backends={"general": url},
            models={"general": ("general",)},
            liveness_file=daemon.liveness_file,
            supervisor_url=daemon.address,
            control_socket=daemon.socket,
            extra=starts.settings,
        )
        with BenchaiRouter(tmp_path / "router", served) as router:
            router.start()
            assert content(ask(router, "general", max_tokens=4))
            wait_until(lambda: _has_heard_of_requests(daemon), "the report has come in", within_s=ENOUGH_S)

            os.killpg(first["pid"], signal.SIGKILL)
            wait_until(lambda: _is_another(daemon, first), "the daemon restarted it", within_s=ENOUGH_S)
            assert content(ask(router, "general", max_tokens=4))
            assert starts.lines == []

            daemon.stop()  # and the server with it
            wait_until(lambda: "general" in starts.names, "the router took up", within_s=ENOUGH_S)


def _has_heard_of_requests(daemon: Supervisord) -> bool:
    told = daemon.get("/v1/targets/general/why").json()
    return any(each["witness"] == "traffic" and "was answered" in each["says"] for each in told["statements"])


def _is_another(daemon: Supervisord, first: dict[str, object]) -> bool:
    now = daemon.target("general")
    return bool(now["verdict"] == "ready" and now["instance"] != first["instance"])
