"""A router in a container: hung behind a good `/health` it is restarted; where a backend alone is ill, it is not."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx
import pytest
from docker.models.containers import Container

from testbed import owner
from testbed.clients import LOOPBACK, chat, free_port
from testbed.container_servers import OWNER_LABEL
from testbed.image import LABEL, PYTHON
from tests.daemon.recovering import Ward

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
BACKENDS = ("general", "code")
WATCHED_S = 8.0  # longer than three rounds that failed would have lasted from before its backend was back
POLICY = (
    "[policy]\ntick_s = 1.0\ncanary_every_s = 1.0\ncanary_retry_s = 0.5\ncanary_deadline_s = 2.0\nhung_after_s = 3.0\n"
)
# Of the standard library alone, which is all that image has. SIGUSR2 hangs its chats; `/health` goes on saying ok.
ROUTER = """
import http.client, http.server, json, os, signal, sys, time
PORT, BACKENDS = int(sys.argv[1]), dict(word.split("=") for word in sys.argv[2:])
hung = []
class Router(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        while hung:
            time.sleep(1)
        backend = http.client.HTTPConnection(BACKENDS[json.loads(body)["model"]])
        try:
            backend.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = backend.getresponse()
        except OSError:
            return self.send_error(502)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.end_headers()
        while piece := answer.read1(65536):
            self.wfile.write(piece)
signal.signal(signal.SIGUSR2, lambda *_: hung.append(True))
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Router).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Town:
    """Two backends and a router in containers, and the daemon that watches all three."""

    ward: Ward
    router: Container
    url: str

    def restarts(self) -> dict[str, int]:
        return {name: self.ward.daemon.target(name)["restarts"] for name in (*BACKENDS, "router")}


@pytest.fixture(scope="module")
def town(
    tmp_path_factory: pytest.TempPathFactory, model: Path, engine: docker.DockerClient, image: str
) -> Iterator[Town]:
    with Ward(tmp_path_factory.mktemp("town"), model, engine, image) as ward:
        backends = [f"{name}={LOOPBACK}:{ward.add(name)}" for name in BACKENDS]
        port, name = free_port(), ward.container("router")
        router = engine.containers.run(
            image,
            ["-c", ROUTER, str(port), *backends],
            entrypoint=[PYTHON],
            name=name,
            network_mode="host",
            detach=True,
            labels={LABEL: "server", OWNER_LABEL: owner.me()},
        )
        try:
            url = f"http://{LOOPBACK}:{port}"
            ward.comes_up(
                sections=f'{POLICY}[[routers]]\nname = "router"\nurl = "{url}"\nprogress = "none"\n'
                f'engine = "docker"\ncontainer = "{name}"\n'
            )
            yield Town(ward, router, url)
        finally:
            ward.daemon.stop()
            router.remove(force=True)


def test_a_hung_router_in_a_container_is_restarted_and_no_backend(town: Town) -> None:
    daemon, before = town.ward.daemon, town.restarts()

    town.router.kill(signal="SIGUSR2")
    is_healthy = httpx.get(f"{town.url}/health", timeout=5.0, trust_env=False).is_success
    daemon.wait_target("router", restarts=before["router"] + 1, verdict="ready", within_s=90.0)

    assert is_healthy
    assert town.ward.incidents("router")[0]["cause"] == "hung"
    assert town.restarts() == before | {"router": before["router"] + 1}
    assert chat(town.url, model="general")


def test_a_router_in_a_container_is_excused_while_its_backend_hangs_and_is_restarted(town: Town) -> None:
    daemon, before = town.ward.daemon, town.restarts()

    with town.ward.servers.freeze(town.ward.container("general")):
        daemon.wait_target("general", restarts=before["general"] + 1, verdict="ready", within_s=90.0)
    time.sleep(WATCHED_S)

    daemon.wait_target("router", verdict="ready")
    assert town.restarts() == before | {"general": before["general"] + 1}
