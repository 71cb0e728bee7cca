"""The whole stack of compose/docker-compose.yml, brought up for real.

Two things differ from a user's host: the model servers' image is the testbed's (the same flags, a tiny model under
each expected file name), and the Dockerfile builds on a local stand-in for the official Python image.
"""

import contextlib
import io
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import docker
import httpx
import pytest
from docker.errors import ImageNotFound

from testbed import tiny_projector
from testbed.base_image import ensure_base_image
from testbed.clients import LOOPBACK, wait_until
from testbed.compose import PROXY_FILE, Compose, ComposeFailed
from testbed.container_servers import ContainerServers
from testbed.engine import find
from tests.cannot import cannot
from tests.compose.conftest import MODELS, flag

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first run makes a Debian and fetches every package

PROJECT: Final = "benchai-testbed-compose"
OUR_IMAGE: Final = "benchai-testbed/supervisor"
HAPROXY_IMAGE: Final = "benchai-testbed/haproxy"
CONTAINERS: Final = frozenset(
    f"benchai-{name}" for name in (*MODELS, "supervisor", "router", "haproxy", "docker-proxy")
)
PORTS: Final = (8085, 8090, 8091, 8092, 8093, 8094, 8099)
DOWN: Final = ("--profile", "demo", "--profile", "haproxy", "down", "--volumes", "--timeout", "2")
STATUS_URL: Final = f"http://{LOOPBACK}:8090/v1/status"
ROUTER_URL: Final = f"http://{LOOPBACK}:8085/v1/chat/completions"
SEED: Final = {"model": "auto", "messages": [{"role": "user", "content": "say hi"}], "max_tokens": 10}
SEED_WITHIN_S: Final = 5.0
OPEN_THE_ENGINES: Final = "import socket; socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')"
HEARD_WITHIN_S: Final = 1.0  # HAProxy asks twice a second


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack, up."""

    compose: Compose
    engine: docker.DockerClient

    def target(self, name: str) -> dict[str, Any]:
        """Return what the supervisor says about one target."""
        targets: list[dict[str, Any]] = httpx.get(STATUS_URL, timeout=5.0, trust_env=False).json()["targets"]
        return next(each for each in targets if each["name"] == name)

    def is_ready(self, name: str) -> bool:
        try:
            told = self.target(name)
        except httpx.TransportError:  # it has only just been started
            return False
        return (told["state"], told["routable"]) == ("RUNNING", True)

    def wait_ready(self) -> None:
        wait_until(lambda: all(self.is_ready(name) for name in MODELS), "four backends ready", within_s=45.0)

    def container(self, name: str) -> dict[str, Any]:
        """Return what the engine says about a service's container."""
        attributes: dict[str, Any] = self.engine.containers.get(f"benchai-{name}").attrs
        return attributes

    def health(self, name: str) -> str:
        return str(self.container(name)["State"]["Health"]["Status"])

    def lives(self) -> set[tuple[str, str]]:
        """Return each model server with the time at which its present life began."""
        return {(name, self.container(name)["State"]["StartedAt"]) for name in MODELS}


@pytest.fixture(scope="module")
def stack(
    engine: docker.DockerClient,
    image: str,
    model: Path,
    command: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """The stack with the demo router, built and brought up; nothing of it is left afterwards."""
    engine_socket = (find().host or "").removeprefix("unix://")
    models = tmp_path_factory.mktemp("models")
    variables = {
        "DOCKER_HOST": f"unix://{engine_socket}",
        "DOCKER_SOCKET": engine_socket,
        "DOCKER_GID": str(Path(engine_socket).stat().st_gid),
        "MODELS_DIR": str(models),
        "LLAMA_CPP_IMAGE": image,
        "PYTHON_IMAGE": ensure_base_image(engine),
        "SUPERVISOR_IMAGE": OUR_IMAGE,
        "HAPROXY_IMAGE": HAPROXY_IMAGE,
    }
    compose = Compose(command=command, project=PROJECT, variables=variables)
    put_models(models, compose.services(), model)
    whole = replace(compose, more=[PROXY_FILE])
    whole.run(*DOWN)  # what an interrupted run left; nobody else uses this project's name
    must_be_free(engine)
    try:
        # Not with --wait: Compose 2.26 takes a health check that is switched off for one that fails.
        compose.run("--profile", "demo", "up", "--build", "--detach")
        yield Stack(compose, engine)
    finally:
        whole.run(*DOWN)
        with contextlib.suppress(ImageNotFound):
            engine.images.remove(OUR_IMAGE, force=True)


def haproxy_image(engine: docker.DockerClient) -> None:
    """Build Debian's HAProxy into an image that is started as the official one is."""
    recipe = (
        f"FROM {ensure_base_image(engine)}\nRUN apt-get update && apt-get install -y --no-install-recommends haproxy\n"
        'USER haproxy\nCMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]\n'
    )
    engine.images.build(fileobj=io.BytesIO(recipe.encode()), tag=HAPROXY_IMAGE, rm=True, network_mode="host")


def put_models(directory: Path, services: dict[str, dict[str, Any]], model: Path) -> None:
    """Put the tiny model where each server looks for its own, and a tiny projector."""
    for name in MODELS:
        shutil.copy(model, directory / Path(flag(services[name], "-m")).name)
    shutil.copy(tiny_projector.ensure(), directory / Path(flag(services["vision"], "--mmproj")).name)


def must_be_free(engine: docker.DockerClient) -> None:
    """Give up with a clear word where a name or a port of the stack is taken: both are fixed, as in settings.toml."""
    there = {container.name for container in engine.containers.list(all=True, ignore_removed=True)}
    if clashes := sorted(CONTAINERS & there):
        cannot(f"containers of the stack's names exist: {', '.join(clashes)}; remove them")
    for port in PORTS:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((LOOPBACK, port))
            except OSError as problem:
                cannot(f"port {port} of the stack is taken ({problem.strerror}); stop what listens there")


def ask_seed() -> str:
    """Ask what every client of the router asks first, with the patience it may have."""
    reply = httpx.post(ROUTER_URL, json=SEED, timeout=SEED_WITHIN_S, trust_env=False).raise_for_status()
    return str(reply.json()["choices"][0]["message"]["content"])


def test_the_supervisor_runs_without_root_and_says_that_all_four_servers_are_ready(stack: Stack) -> None:
    stack.wait_ready()

    wait_until(lambda: stack.health("supervisor") == "healthy", "the supervisor healthy", within_s=30.0)
    assert stack.container("supervisor")["Config"]["User"] == "10001:10001"


def test_an_operator_restarts_a_server_from_inside_the_supervisors_container(stack: Stack) -> None:
    stack.wait_ready()
    before = stack.lives()

    stack.compose.run("exec", "-T", "supervisor", "benchai-supervisorctl", "restart", "code")

    assert stack.is_ready("code")
    assert {name for name, _ in stack.lives() - before} == {"code"}


def test_the_router_answers_the_seed_request(stack: Stack) -> None:
    stack.wait_ready()

    assert ask_seed()


def test_a_crash_is_left_to_the_engine_and_the_new_life_is_told(stack: Stack, servers: ContainerServers) -> None:
    stack.wait_ready()
    before, told = stack.lives(), stack.target("planner")

    servers.kill("benchai-planner")

    wait_until(lambda: stack.target("planner")["instance"] != told["instance"], "a new instance told", within_s=30.0)
    stack.wait_ready()
    assert stack.container("planner")["RestartCount"] == 1
    assert stack.target("planner")["restarts"] == told["restarts"]
    assert {name for name, _ in stack.lives() - before} == {"planner"}


def test_a_hung_server_is_routed_around_and_restarted_and_no_other(stack: Stack, servers: ContainerServers) -> None:
    stack.wait_ready()
    before = stack.lives()

    with servers.freeze("benchai-general"):
        wait_until(lambda: not stack.target("general")["routable"], "general told not routable", within_s=15.0)
        answer = ask_seed()
        wait_until(lambda: bool(stack.lives() - before), "somebody restarted", within_s=45.0)

    stack.wait_ready()
    assert answer
    assert {name for name, _ in stack.lives() - before} == {"general"}


def test_haproxy_takes_the_demo_routers_place_and_obeys(stack: Stack, servers: ContainerServers) -> None:
    haproxy_image(stack.engine)
    stack.wait_ready()
    before = stack.lives()
    stack.compose.run("--profile", "demo", "stop", "--timeout", "2", "router")
    stack.compose.run("--profile", "haproxy", "up", "--detach", "haproxy")
    wait_until(answers, "HAProxy answers", within_s=30.0)

    with servers.freeze("benchai-general"):
        wait_until(lambda: not stack.target("general")["routable"], "general told not routable", within_s=15.0)
        time.sleep(HEARD_WITHIN_S)
        answer = ask_seed()
        wait_until(lambda: bool(stack.lives() - before), "somebody restarted", within_s=45.0)

    assert answer
    assert {name for name, _ in stack.lives() - before} == {"general"}


def test_behind_the_proxy_the_supervisor_has_no_socket_of_the_engines_and_does_its_work(stack: Stack) -> None:
    haproxy_image(stack.engine)
    behind = replace(stack.compose, more=[PROXY_FILE])
    behind.run("up", "--detach", "--no-deps", "docker-proxy", "supervisor")
    wait_until(lambda: stack.health("supervisor") == "healthy", "the supervisor healthy", within_s=30.0)
    stack.wait_ready()
    before = stack.lives()

    behind.run("exec", "-T", "supervisor", "benchai-supervisorctl", "restart", "code")
    with pytest.raises(ComposeFailed):
        behind.run("exec", "-T", "supervisor", "python", "-c", OPEN_THE_ENGINES)

    assert {name for name, _ in stack.lives() - before} == {"code"}
    assert "403" not in behind.run("logs", "docker-proxy")


def answers() -> bool:
    try:
        return bool(ask_seed())
    except httpx.HTTPError:
        return False


def test_down_with_volumes_leaves_nothing(stack: Stack) -> None:
    replace(stack.compose, more=[PROXY_FILE]).run(*DOWN)

    label = f"com.docker.compose.project={PROJECT}"
    assert stack.engine.containers.list(all=True, filters={"label": label}) == []
    assert stack.engine.volumes.list(filters={"label": label}) == []
    assert stack.engine.networks.list(filters={"label": label}) == []
