"""A daemon over real containers whose models a story may take away, and what it reads of them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker

from testbed.clients import free_port, wait_until
from testbed.engine import find
from testbed.leaving import Leaving
from testbed.servers import ContainerServers
from testbed.stack import SERVER_FLAGS
from testbed.supervisord import Supervisord, toml


class Ward(Leaving):
    """Model servers in containers, each with a model of its own, and the daemon that watches them."""

    def __init__(self, folder: Path, model: Path, client: docker.DockerClient, image: str) -> None:
        self.daemon = Supervisord(folder)
        self.servers = ContainerServers(client, image)
        self._folder = folder
        self._model = model
        self._prefix = f"{folder.name[-24:].strip('-_.')}-"
        self._backends: list[str] = []

    def leave(self) -> None:
        """End the daemon, then the servers."""
        self.daemon.stop()
        self.servers.remove_all()

    def container(self, name: str) -> str:
        """Return the name of a backend's container."""
        return self._prefix + name

    def model(self, name: str) -> Path:
        """Return the file that a backend's model lies in."""
        return self._folder / name / "model.gguf"

    def add(
        self, name: str, *flags: str, settings: str = "", ready: bool = True, has_model: bool = True, **more: Any
    ) -> int:
        """Run one more server, and have it watched; return its port."""
        self.model(name).parent.mkdir(parents=True)
        if has_model:
            self.give_model(name)
        port = free_port()
        self.servers.run(self.container(name), self.model(name), *SERVER_FLAGS, *flags, port=port, ready=ready, **more)
        self._backends.append(
            f'[[backends]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}"\ncontainer = "{self.container(name)}"\n'
            + (settings if "stands_in_for" in settings else f'models = ["{name}"]\n{settings}')
        )
        return port

    def give_model(self, name: str) -> None:
        """Put the model where the server looks for it, whole."""
        aside = self.model(name).with_suffix(".part")
        shutil.copyfile(self._model, aside)
        aside.rename(self.model(name))

    def comes_up(self, *, host: str | None = None, sections: str = "", wait: bool = True, **daemon: object) -> None:
        """Start the daemon, with the engine at `host`, and wait until all are ready."""
        self.daemon.write_settings(
            f"[docker]\nhost = {toml(host or find().host)}\n{sections}{''.join(self._backends)}", **daemon
        )
        self.starts(wait=wait)

    def starts(self, *, wait: bool = True) -> None:
        """Start the daemon, or another after it."""
        self.daemon.start()
        self.daemon.wait_answers()
        if wait:
            self.until(lambda: all(each["verdict"] == "ready" for each in self.daemon.status()["targets"]), "all ready")

    def until(self, holds: Callable[[], bool], what: str, *, within_s: float = 60.0) -> None:
        """Wait until something holds; the daemon's log says why it does not."""
        try:
            wait_until(holds, what, within_s=within_s)
        except TimeoutError as late:
            late.add_note(f"{self.daemon.status()['targets']}\n{self.daemon.log()[-3000:]}")
            raise

    def kill(self, name: str) -> None:
        """Kill a server's process from outside."""
        self.servers.kill(self.container(name))

    def incidents(self, name: str) -> list[dict[str, Any]]:
        """Return a target's incidents, newest first."""
        return list(self.daemon.get(f"/v1/incidents?target={name}").json()["incidents"])

    def incident(self, name: str) -> dict[str, Any]:
        """Return a target's newest incident, with its evidence."""
        newest = self.incidents(name)[0]["id"]
        return dict(self.daemon.get(f"/v1/incidents/{newest}").json())
