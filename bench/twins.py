"""Model servers for whoever wants to compare: the same in all, but for the supervision that some of them are under."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import docker

from bench.world import PREFIX
from testbed.clients import wait_until
from testbed.image import ensure_image
from testbed.servers import ContainerServers
from testbed.supervisord import Supervisord, toml

UP_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server: its model, its flags, and its share of the cores; None: as much as it can get."""

    name: str
    model: Path
    flags: Sequence[str]
    cpus: float | None = None


@contextlib.contextmanager
def running(client: docker.DockerClient, servers: Sequence[Server]) -> Iterator[dict[str, str]]:
    """Run the servers in containers, and yield their addresses by name."""
    with ContainerServers(client, ensure_image(client)) as containers:
        yield {
            each.name: containers.run(PREFIX + each.name, each.model, *each.flags, cpus=each.cpus) for each in servers
        }


@contextlib.contextmanager
def supervised(urls: Mapping[str, str]) -> Iterator[Supervisord]:
    """Let a daemon with default settings and no memory supervise the servers in `urls`, once it calls them routable."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, Supervisord(Path(folder)) as daemon:
        host = os.environ.get("DOCKER_HOST")
        engine = f"[docker]\nhost = {toml(host)}\n" if host else ""
        daemon.write_settings(engine + "".join(_backend(name, url) for name, url in urls.items()))
        daemon.start()
        daemon.wait_answers()
        wait_until(lambda: _is_up(daemon), "every supervised server routable", within_s=UP_WITHIN_S)
        yield daemon


def _is_up(daemon: Supervisord) -> bool:
    daemon.check_alive()
    return all(entry["routable"] for entry in daemon.liveness()["backends"])


def _backend(name: str, url: str) -> str:
    return (
        f'[[backends]]\nname = "{name}"\nurl = "{url}"\nmodels = ["{name}"]\n'
        f'engine = "docker"\ncontainer = "{PREFIX}{name}"\n'
    )
