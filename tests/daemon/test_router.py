"""A router hung behind a good `/health` is restarted; one whose backend alone is ill is not."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed.cache import REPOSITORY
from testbed.clients import LOOPBACK, chat, free_port
from testbed.process_servers import freeze_process, server_command
from testbed.stack import SERVER_FLAGS
from testbed.supervisord import Supervisord, toml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
WATCHED_S = 15.0  # longer than three rounds that failed would have lasted from before its backend was back
BACKENDS = ("general", "code")
POLICY = "[process]\nstop_on_exit = true\n[policy]\ntick_s = 1.0\ncanary_every_s = 3.0\ncanary_deadline_s = 4.0\n"
ROUTERS = "policy = { canary_retry_s = 0.5 }\n"


class Town:
    """Two backends, a router of ours in front, and the daemon that runs and watches all three."""

    def __init__(self, daemon: Supervisord, model: Path) -> None:
        self.daemon = daemon
        self.urls = {name: f"http://{LOOPBACK}:{free_port()}" for name in BACKENDS}
        self.router = f"http://{LOOPBACK}:{free_port()}"
        targets = "".join(
            f'[[backends]]\nname = "{name}"\nurl = "{url}"\nmodels = ["{name}"]\nengine = "process"\n'
            f"command = {toml(server_command(model, _port(url), *SERVER_FLAGS))}\n"
            for name, url in self.urls.items()
        )
        command = [
            *(sys.executable, "-m", "tests.daemon.faulty_router", "--port", str(_port(self.router))),
            *("--liveness", str(daemon.folder / "none.json")),  # it knows nothing, and runs into whatever hangs
            *(word for name, url in self.urls.items() for word in ("--backend", f"{name}={url}")),
        ]
        daemon.write_settings(
            f'{POLICY}{targets}[[routers]]\nname = "router"\nurl = "{self.router}"\nengine = "process"\n'
            f"command = {toml(command)}\nenvironment = {{ PYTHONPATH = {toml(REPOSITORY)} }}\n{ROUTERS}"
        )

    def comes_up(self) -> None:
        self.daemon.start()
        self.daemon.wait_answers()
        for name in (*BACKENDS, "router"):
            self.daemon.wait_target(name, verdict="ready", within_s=60.0)

    def signals(self, number: signal.Signals) -> None:
        os.kill(self.daemon.target("router")["pid"], number)

    def says_it_is_well(self) -> bool:
        return httpx.get(f"{self.router}/health", timeout=5.0, trust_env=False).is_success


@pytest.fixture
def town(tmp_path: Path, model: Path) -> Iterator[Town]:
    with Supervisord(tmp_path) as daemon:
        town = Town(daemon, model)
        town.comes_up()
        yield town


@pytest.mark.parametrize(
    ("fault", "health_is_good"),
    [(signal.SIGUSR2, True), (signal.SIGUSR1, False), (signal.SIGSTOP, False)],
    ids=["its-chats-deadlocked", "its-event-loop-blocked", "its-process-stopped"],
)
def test_a_hung_router_is_restarted_and_no_backend(town: Town, fault: signal.Signals, *, health_is_good: bool) -> None:
    before = {name: town.daemon.target(name)["restarts"] for name in (*BACKENDS, "router")}  # its start is one too

    town.signals(fault)
    healthy = town.says_it_is_well() if health_is_good else None
    town.daemon.wait_target("router", restarts=before["router"] + 1, verdict="ready", within_s=90.0)

    assert healthy in (True, None)
    assert town.daemon.get("/v1/incidents?target=router").json()["incidents"][0]["cause"] == "hung"
    assert all(town.daemon.target(name)["restarts"] == before[name] for name in BACKENDS)
    assert chat(town.router, model="general")


def test_a_router_is_excused_while_its_backend_hangs_and_is_restarted(town: Town) -> None:
    before = {name: town.daemon.target(name)["restarts"] for name in (*BACKENDS, "router")}

    with freeze_process(town.daemon.target("general")["pid"], town.urls["general"]):
        town.daemon.wait_target("general", restarts=before["general"] + 1, verdict="ready", within_s=90.0)
    time.sleep(WATCHED_S)

    router = town.daemon.wait_target("router", verdict="ready")
    assert router["restarts"] == before["router"]
    assert town.daemon.target("code")["restarts"] == before["code"]


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
