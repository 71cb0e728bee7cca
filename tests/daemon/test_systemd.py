"""A server that is a unit of systemd, and the daemon that keeps it: on a real systemd, through a real bus."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from testbed.clients import wait_until
from testbed.supervisord import Supervisord, toml
from testbed.systemd_host import SystemdHost, in_container, obstacle
from tests.cannot import cannot
from tests.engines.systemd_bench import PYTHON, quoted

pytestmark = [pytest.mark.engine, pytest.mark.slow]
UNIT = "benchai.service"
KEYS = ("ActiveState", "InvocationID")
PORT = 8085
# A server of the standard library alone, which is all that host has. SIGUSR1 hangs it, and it burns nothing then.
SERVES = """
import http.server, json, signal, time
class Chat(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)
    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        says = {"delta": {"content": "pong"}, "finish_reason": "stop"}
        for part in ({"choices": [says]}, {"choices": [], "usage": {"completion_tokens": 1}}):
            self.wfile.write(f"data: {json.dumps(part)}\\n\\n".encode())
        self.wfile.write(b"data: [DONE]\\n\\n")
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(3600))
http.server.HTTPServer(("", 8085), Chat).serve_forever()
"""
PATIENCE = "canary_every_s = 1.0, canary_deadline_s = 1.0, hung_after_s = 2.0"


@pytest.fixture(scope="module")
def host(engine: docker.DockerClient) -> Iterator[SystemdHost]:
    if reason := obstacle():
        cannot(f"no systemd: {reason}")
    with in_container(engine, has_network=True) as host:
        host.write_unit(UNIT, f"[Service]\nExecStart={PYTHON} -c {quoted(SERVES)}\n")
        yield host


@pytest.fixture
def daemon(host: SystemdHost, tmp_path: Path) -> Iterator[Supervisord]:
    """A daemon that watches the unit, which runs."""
    host.systemctl("start", UNIT)
    with Supervisord(tmp_path) as daemon:
        daemon.write_settings(
            f'[systemd]\nbus = {toml(host.bus)}\n[[backends]]\nname = "server"\nurl = "http://{host.address}:{PORT}"\n'
            f'engine = "systemd"\nunit = "benchai"\nmodels = ["a"]\nprogress = "none"\npolicy = {{ {PATIENCE} }}\n'
        )
        daemon.start()
        daemon.wait_answers()
        daemon.wait_target("server", verdict="ready")
        yield daemon


def life(host: SystemdHost) -> tuple[str, str]:
    """Return whether the unit runs, and which life of its it is in."""
    state, invocation = (host.systemctl("show", "--value", f"--property={key}", UNIT).strip() for key in KEYS)
    return state, invocation


def test_a_unit_that_crashes_is_started_again(host: SystemdHost, daemon: Supervisord) -> None:
    _, before = life(host)

    host.systemctl("kill", "--signal=KILL", UNIT)

    wait_until(lambda: life(host)[0] == "active" and life(host)[1] != before, "it runs again")
    daemon.wait_target("server", verdict="ready")
    (incident, *_) = daemon.get("/v1/incidents?target=server").json()["incidents"]
    assert "SIGKILL" in json.dumps(incident)


def test_a_unit_that_hangs_is_restarted(host: SystemdHost, daemon: Supervisord) -> None:
    _, before = life(host)

    host.systemctl("kill", "--kill-whom=main", "--signal=USR1", UNIT)

    wait_until(lambda: life(host)[0] == "active" and life(host)[1] != before, "it runs again", within_s=60)
    daemon.wait_target("server", verdict="ready")
    assert "hung" in daemon.log()


def test_a_unit_that_an_operator_stops_stays_stopped_until_somebody_starts_it(
    host: SystemdHost, daemon: Supervisord
) -> None:
    host.systemctl("stop", UNIT)
    daemon.wait_target("server", state="STOPPED")
    time.sleep(3.0)  # longer than it would take us to start it

    stopped = life(host)[0]

    assert stopped == "inactive"
    assert daemon.ctl("start", "server").returncode == 0
    wait_until(lambda: life(host)[0] == "active", "it runs again")


def test_an_operators_stop_and_restart_by_our_command_are_systemds(host: SystemdHost, daemon: Supervisord) -> None:
    _, before = life(host)

    restarted = daemon.ctl("restart", "server")
    stopped = daemon.ctl("stop", "server")

    assert (restarted.returncode, stopped.returncode) == (0, 0), restarted.stdout + stopped.stdout
    assert life(host)[0] in ("inactive", "failed")
    assert life(host)[1] != before
