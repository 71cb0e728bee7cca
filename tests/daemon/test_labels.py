"""Containers that are watched because their labels say so: they come, are made anew, are wrong, and go."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from supervisor.settings_labels import NO_SECRETS
from testbed.clients import free_port, wait_until
from testbed.compose import Compose, compose_command
from testbed.debian import NotToBeHad
from testbed.engine import find
from testbed.leaving import Leaving
from testbed.servers import ContainerServers
from testbed.stack import SERVER_FLAGS
from testbed.supervisord import Supervisord, toml
from tests.cannot import cannot
from tests.settings.texts import BACKEND

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(180)]
GRACE_S = 4.0
PREFIX = "benchai.supervisor."


class Harbour(Leaving):
    """Containers with labels, and the daemon that looks for them."""

    def __init__(self, folder: Path, model: Path, client: docker.DockerClient, image: str) -> None:
        self.daemon = Supervisord(folder)
        self.servers = ContainerServers(client, image)
        self._model = model
        self._image = image
        self._prefix = f"{folder.name[-24:].strip('-_.')}-"
        # Others may look for containers on this engine at the same time.
        self._label = f"benchai.test.{self._prefix.lower()}enable"

    def leave(self) -> None:
        """End the daemon, then the servers."""
        self.daemon.stop()
        self.servers.remove_all()

    def container(self, name: str) -> str:
        """Return the name of a container."""
        return self._prefix + name

    def run(self, name: str, labels: Mapping[str, str], *, port: int | None = None, ready: bool = True) -> None:
        """Run a server whose container says so much of itself."""
        said = {self._label: "true", **{f"{PREFIX}{key}": value for key, value in labels.items()}}
        self.servers.run(self.container(name), self._model, *SERVER_FLAGS, port=port, ready=ready, labels=said)

    def write(self, backends: str = "", *, discover: bool = True) -> None:
        """Write the settings."""
        label = f"discover = {toml(discover)}\ndiscover_label = {toml(self._label)}\n"
        self.daemon.write_settings(
            f"[docker]\nhost = {toml(find().host)}\n{label}discover_grace_s = {GRACE_S}\n{backends}"
        )

    def composed(self, command: list[str], model: Path, port: int) -> Compose:
        """Return Compose on a file with one labelled server."""
        labels = {self._label: "true", f"{PREFIX}name": "planner", f"{PREFIX}port": "8080"}
        service = {
            "image": self._image,
            "command": ["-m", f"/models/{model.name}", *SERVER_FLAGS],
            "ports": [f"127.0.0.1:{port}:8080"],
            "volumes": [f"{model.resolve().parent}:/models:ro"],
            "labels": labels,
            "stop_grace_period": "1s",
        }
        file = self.daemon.folder / "compose.json"
        file.write_text(json.dumps({"services": {"planner": service}}))
        return Compose(command=command, project=self._prefix.lower().strip("-_"), variables={}, file=file)

    def comes_up(self, backends: str = "") -> None:
        """Start the daemon."""
        self.write(backends)
        self.daemon.start()
        self.daemon.wait_answers()

    @property
    def names(self) -> list[str]:
        """Everybody who is watched."""
        return [each["name"] for each in self.daemon.status()["targets"]]

    @property
    def problems(self) -> list[str]:
        """What ails the daemon, as it says itself."""
        return list(self.daemon.status()["daemon"]["problems"])

    def until_watched(self, *names: str) -> None:
        """Wait until these are watched and nobody else."""
        wait_until(lambda: sorted(self.names) == sorted(names), f"{names} are watched")

    def until_ready(self, name: str) -> dict[str, Any]:
        """Wait until it is watched, and ready."""
        wait_until(lambda: name in self.names, f"{name} is watched")
        return self.daemon.wait_target(name, verdict="ready")


@pytest.fixture
def compose() -> list[str]:
    """The words that run Compose."""
    try:
        return compose_command()
    except NotToBeHad as problem:
        cannot(f"no Docker Compose: {problem}")


@pytest.fixture
def harbour(tmp_path: Path, model: Path, engine: docker.DockerClient, image: str) -> Iterator[Harbour]:
    with Harbour(tmp_path, model, engine, image) as harbour:
        yield harbour


def test_a_container_is_watched_from_when_it_comes_and_restarted_like_any_other(harbour: Harbour) -> None:
    harbour.comes_up()
    nobody = harbour.names

    harbour.run("one", {"name": "planner", "models": "planner, research", "policy.hung_after_s": "9"})
    ready = harbour.until_ready("planner")
    harbour.servers.kill(harbour.container("one"))
    wait_until(lambda: harbour.daemon.target("planner")["restarts"] == 1, "it is restarted")
    again = harbour.until_ready("planner")

    assert nobody == []
    assert harbour.daemon.liveness()["models"] == {"planner": ["planner"], "research": ["planner"]}
    assert again["instance"] != ready["instance"]
    assert harbour.daemon.get("/v1/incidents?target=planner").json()["incidents"]


def test_one_that_is_made_anew_goes_on_and_one_that_is_gone_goes_after_a_while(harbour: Harbour) -> None:
    harbour.run("one", {"name": "planner"})
    harbour.run("two", {"name": "code"})
    harbour.comes_up()
    harbour.until_ready("planner")
    harbour.until_ready("code")
    harbour.daemon.ctl("hold", "planner", "-m", "new image")

    harbour.servers.container(harbour.container("one")).remove(force=True)
    harbour.servers.container(harbour.container("two")).remove(force=True)
    wait_until(lambda: not harbour.daemon.target("planner")["routable"], "planner is told to be away")
    away = harbour.names
    harbour.run("one", {"name": "planner", "models": "planner,research"})
    anew = harbour.until_ready("planner")
    harbour.until_watched("planner")

    assert sorted(away) == ["code", "planner"]
    assert anew["held"]["message"] == "held by the operator: new image"
    assert harbour.daemon.backend("planner")["models"] == ["planner", "research"]
    history = harbour.daemon.get("/v1/history?target=planner").json()["transitions"]
    assert [each["after"] for each in history].count("up") == 2


def test_what_compose_makes_anew_is_the_same_target_all_along(
    harbour: Harbour, compose: list[str], model: Path
) -> None:
    stack = harbour.composed(compose, model, free_port())
    harbour.comes_up()
    try:
        stack.run("up", "--detach")
        first = harbour.until_ready("planner")

        stack.run("up", "--detach", "--force-recreate")
        wait_until(
            lambda: harbour.daemon.target("planner")["instance"] != first["instance"], "another life of it is seen"
        )
        again = harbour.until_ready("planner")

        assert first["instance"].partition("@")[0] != again["instance"].partition("@")[0]
        assert harbour.names == ["planner"]
        assert "is not watched" not in harbour.daemon.log()
        assert harbour.daemon.log().count("planner: found by its labels") == 1
        assert "planner: its container is gone" not in harbour.daemon.log()
        assert "planner: it is found in another place" not in harbour.daemon.log()
    finally:
        stack.run("down", "--timeout", "1")


def test_a_container_whose_labels_are_wrong_is_told_of_and_disturbs_nobody(harbour: Harbour) -> None:
    port = free_port()
    file = BACKEND.replace("8091", str(port))
    harbour.comes_up(f'{file}container = "{harbour.container("zero")}"\n')
    harbour.run("zero", {"name": "second"}, port=port)
    harbour.run("one", {"name": "planner"})
    harbour.until_ready("planner")

    harbour.run("bad", {"name": "bad", "policy.hung_after_s": "soon", "modles": "x", "api_key": "hunter2"})
    harbour.run("same", {"name": "planner"})
    harbour.run("file", {"name": "general"})
    wait_until(lambda: len(harbour.problems) == 4, "all are told of")

    taken = "is the name of another target too; each needs its own"
    assert sorted(harbour.problems) == sorted(
        f"container {harbour.container(name)} is not watched: {why}"
        for name, why in {
            "bad": f"label {PREFIX}api_key = (hidden): {NO_SECRETS}; "
            f'label {PREFIX}modles = "x": is not a key for labels; did you mean models?; '
            f'label {PREFIX}policy.hung_after_s = "soon": must be a number',
            "same": f'label {PREFIX}name = "planner": {taken}',
            "file": f'label {PREFIX}name = "general": {taken}',
            "zero": f'label {PREFIX}url = "http://127.0.0.1:{port}": leads to the same server as backends.general.url;'
            " each needs its own; is the container of backends.general too; two would fight over it",
        }.items()
    )
    assert "hunter2" not in harbour.daemon.log() + str(harbour.problems)
    assert harbour.names == ["general", "planner"]
    assert harbour.daemon.target("planner")["verdict"] == "ready"
    harbour.servers.container(harbour.container("bad")).remove(force=True)
    wait_until(lambda: len(harbour.problems) == 3, "what is mended is told of no more")


def test_what_was_found_is_watched_by_the_next_daemon_at_once_and_no_more_when_nobody_looks(harbour: Harbour) -> None:
    harbour.run("one", {"name": "planner"})
    harbour.comes_up()
    first = harbour.until_ready("planner")
    harbour.daemon.kill()
    text = harbour.daemon.settings_file.read_text()
    harbour.daemon.settings_file.write_text(text.replace(str(find().host), "unix:///nowhere/docker.sock"))

    harbour.daemon.start()
    harbour.daemon.wait_answers()
    blind = harbour.daemon.target("planner")
    harbour.daemon.kill()
    harbour.comes_up()
    again = harbour.until_ready("planner")
    harbour.write(f'{BACKEND}engine = "none"\n', discover=False)
    done = harbour.daemon.ctl("update")

    assert blind["routable"]
    assert again["instance"] == first["instance"]
    assert done.stdout.splitlines() == ["general: added process group", "  docker.discover: true -> false"]
    assert harbour.names == ["general"]
