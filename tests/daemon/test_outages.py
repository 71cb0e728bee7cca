"""What the daemon does when the engine goes, comes back, or knows its containers no more."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.stack import SERVER_FLAGS
from testbed.supervisord import Supervisord, toml
from tests.engines.private_engine import PrivateEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow]
NAME = "outage-general"


class World:
    """One container on an engine of our own, and the daemon that watches it."""

    def __init__(self, dockerd: PrivateEngine, daemon: Supervisord, model: Path) -> None:
        self.dockerd = dockerd
        self.daemon = daemon
        self.model = model
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        daemon.write_settings(
            f'[docker]\nhost = {toml(dockerd.host)}\ntimeout_s = 3.0\n[[backends]]\nname = "general"\n'
            f'url = "{self.url}"\nmodels = ["general"]\ncontainer = "{NAME}"\n'
        )

    def create(self, name: str = NAME) -> None:
        """Create and start the container; it has the host's network, since this engine has none of its own."""
        with self.client() as client:
            client.containers.run(
                self.dockerd.image,
                ["-m", f"/models/{self.model.name}", "--port", str(self.port), *SERVER_FLAGS],
                name=name,
                detach=True,
                network_mode="host",
                volumes=[f"{self.model.parent}:/models:ro"],
            )

    def rename(self, new: str) -> None:
        with self.client() as client:
            client.containers.get(NAME).rename(new)

    def remove(self, name: str = NAME) -> None:
        with self.client() as client:
            for container in client.containers.list(all=True, filters={"name": name}):
                container.remove(force=True)

    def comes_up(self) -> None:
        self.daemon.start()
        self.daemon.wait_answers()
        self.daemon.wait_target("general", verdict="ready")

    def client(self) -> contextlib.closing[docker.DockerClient]:
        return contextlib.closing(self.dockerd.client())


@pytest.fixture
def world(dockerd: PrivateEngine, tmp_path: Path, model: Path) -> Iterator[World]:
    """A world that is taken apart afterwards, whatever was done to its engine."""
    dockerd.revive()
    with Supervisord(tmp_path, log_level="DEBUG") as daemon:
        world = World(dockerd, daemon, model)
        yield world
    dockerd.revive()
    world.remove("outage-")


def test_an_engine_that_is_not_there_at_the_start_is_found_when_it_comes(world: World) -> None:
    world.dockerd.stop()
    world.daemon.start()
    world.daemon.wait_answers()
    before = world.daemon.wait_target("general", routable=False)
    assert world.daemon.target("general")["restarts"] == 0

    world.dockerd.start()
    world.create()

    after = world.daemon.wait_target("general", verdict="ready")
    assert before["instance"] is None
    assert after["instance"] is not None


def test_containers_that_an_engine_took_down_with_it_are_started_again(world: World) -> None:
    world.create()
    world.comes_up()

    world.dockerd.stop()
    world.daemon.wait_target("general", routable=False)
    world.dockerd.start()

    assert world.daemon.wait_target("general", verdict="ready", within_s=60.0)["routable"]


def test_a_killed_engine_costs_nobody_a_restart_while_it_is_away(world: World) -> None:
    world.create()
    world.comes_up()

    old = world.daemon.target("general")["instance"]

    world.dockerd.kill()
    answers_all_the_same = world.daemon.wait_target("general", verdict="ready")
    world.dockerd.start()  # which ends what the killed one had started
    wait_until(lambda: world.daemon.target("general")["instance"] not in (None, old), "a new instance", within_s=60.0)

    assert answers_all_the_same["routable"]
    assert world.daemon.wait_target("general", verdict="ready", within_s=60.0, routable=True)["restarts"] <= 1


def test_a_removed_container_is_waited_for_and_a_recreated_one_taken_up(world: World) -> None:
    world.create()
    world.comes_up()
    old = world.daemon.target("general")["instance"]

    world.remove()
    gone = world.daemon.wait_target("general", state="STOPPED", routable=False)
    world.create()

    back = world.daemon.wait_target("general", verdict="ready")
    assert gone["reason"] == "Missing"
    assert back["instance"] != old
    assert "restart took" not in world.daemon.log()


def test_a_renamed_container_is_another_one_until_it_has_its_name_back(world: World) -> None:
    world.create()
    world.comes_up()

    world.rename("outage-other")
    world.daemon.wait_target("general", reason="Missing")
    with world.client() as client:
        client.containers.get("outage-other").rename(NAME)

    assert world.daemon.wait_target("general", verdict="ready")["routable"]


def test_a_port_that_somebody_else_took_is_told_in_the_servers_own_words_or_its_exit(world: World) -> None:
    world.create()
    world.comes_up()
    with world.client() as client:
        client.containers.get(NAME).stop(timeout=1)
    world.daemon.wait_target("general", state="STOPPED")

    squatter = f"import socket,time; s=socket.create_server(('{LOOPBACK}',{world.port})); time.sleep(60)"
    with world.client() as client:
        client.containers.run(
            world.dockerd.image,
            ["-c", squatter],
            entrypoint="/usr/bin/python3",
            name="outage-squatter",
            detach=True,
            network_mode="host",
        )
    wait_until(lambda: is_taken(world.port), "the port is taken")
    told = world.daemon.ctl("start", "--wait", "20", "general")

    assert told.returncode == 1
    assert "general: ERROR" in told.stdout + told.stderr
    assert world.daemon.target("general")["routable"] is False


def is_taken(port: int) -> bool:
    with contextlib.closing(socket.socket()) as caller:
        return caller.connect_ex((LOOPBACK, port)) == 0
