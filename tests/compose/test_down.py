"""`compose stop` and `compose down` are an operator's word: the daemon on the host undoes neither, and sees `up`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from testbed.clients import LOOPBACK, free_port
from testbed.compose import Compose
from testbed.engine import find
from testbed.stack import SERVER_FLAGS
from testbed.supervisord import Supervisord, toml

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(180)]
PROJECT = "benchai-testbed-down"
CONTAINER = f"{PROJECT}-general"


@dataclass(frozen=True, slots=True)
class Project:
    """One model server that Compose made, and the daemon that watches it."""

    compose: Compose
    daemon: Supervisord


@pytest.fixture
def project(
    tmp_path: Path, model: Path, engine: docker.DockerClient, image: str, command: list[str]
) -> Iterator[Project]:
    port = free_port()
    service = {
        "image": image,
        "container_name": CONTAINER,
        "command": ["-m", "/models/model.gguf", "--host", "0.0.0.0", "--port", "8080", *SERVER_FLAGS],
        "ports": [f"{LOOPBACK}:{port}:8080"],
        "volumes": [f"{model}:/models/model.gguf:ro"],
        "restart": "unless-stopped",
    }
    file = tmp_path / "compose.json"  # which is YAML too
    file.write_text(json.dumps({"services": {"general": service}}))
    compose = Compose(
        command=command, project=PROJECT, variables={"DOCKER_HOST": find().host or engine.api.base_url}, file=file
    )
    compose.run("down", "--timeout", "1")
    with Supervisord(tmp_path) as daemon:
        daemon.write_settings(
            f'[docker]\nhost = {toml(find().host)}\n[[backends]]\nname = "general"\n'
            f'url = "http://{LOOPBACK}:{port}"\nmodels = ["general"]\ncontainer = "{CONTAINER}"\n'
        )
        try:
            compose.run("up", "--detach")
            daemon.start()
            daemon.wait_answers()
            daemon.wait_target("general", verdict="ready")
            yield Project(compose, daemon)
        finally:
            compose.run("down", "--timeout", "1")


def test_what_compose_stops_stays_stopped_and_what_it_starts_counts_again(project: Project) -> None:
    first = project.daemon.target("general")["instance"]

    project.compose.run("stop", "--timeout", "1")
    stopped = project.daemon.wait_target("general", state="STOPPED")
    project.compose.run("start")
    started = project.daemon.wait_target("general", verdict="ready")
    project.compose.run("down", "--timeout", "1")
    gone = project.daemon.wait_target("general", state="STOPPED", reason="Missing")
    project.compose.run("up", "--detach")
    back = project.daemon.wait_target("general", verdict="ready")

    assert "stopped by the operator" in stopped["summary"]
    assert not gone["routable"]
    assert len({first, started["instance"], back["instance"]}) == 3
    assert back["restarts"] == 0
    assert project.daemon.get("/v1/incidents").json()["incidents"] == []


def test_why_names_composes_own_restarts_beside_ours(project: Project) -> None:
    told = " ".join(project.daemon.ctl("why", "general").stdout.split())

    assert "Its engine restarts it too when it exits (restart policy unless-stopped)" in told
