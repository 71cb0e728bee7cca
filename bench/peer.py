"""The peer: Docker's own HEALTHCHECK with a chat request, and a loop that restarts what is unhealthy, as autoheal does.

On containers of its own, with the engine's own restart policy besides, which autoheal leaves crashes to.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from docker.errors import APIError, NotFound

from bench.watch import Told
from bench.world import PREFIX, client_of
from testbed.clients import wait_until
from testbed.container_servers import INNER_URL
from testbed.engine import Found
from testbed.image import PYTHON, ensure_image
from testbed.servers import ContainerServers
from testbed.stack import SERVER_FLAGS

PEER: Final = f"{PREFIX}peer-"
INTERVAL_S, TIMEOUT_S, RETRIES = 10, 5, 3
HEAL_EVERY_S: Final = 5.0  # autoheal's default
STOP_TIMEOUT_S: Final = 10  # autoheal's default, and Docker's
LOOK_EVERY_S: Final = 0.25
HEALTHY_WITHIN_S: Final = 60.0
_NS: Final = 1_000_000_000
_CHAT: Final = f"""
import json, urllib.request
body = {{"messages": [{{"role": "user", "content": "ping"}}], "max_tokens": 4}}
ask = urllib.request.Request("{INNER_URL}/v1/chat/completions", json.dumps(body).encode(),
                             {{"Content-Type": "application/json"}})
assert json.load(urllib.request.urlopen(ask))["usage"]["completion_tokens"]
"""
HEALTHCHECK: Final = {
    "test": ["CMD", PYTHON, "-c", _CHAT],
    "interval": INTERVAL_S * _NS,
    "timeout": TIMEOUT_S * _NS,
    "retries": RETRIES,
}


def run(servers: ContainerServers, name: str, model: Path) -> str:
    """Start a server in the peer's care and return its address; it is not healthy before its first check."""
    policy = {"Name": "unless-stopped"}
    return servers.run(name, model, *SERVER_FLAGS, healthcheck=HEALTHCHECK, restart_policy=policy)


def wait_healthy(servers: ContainerServers, name: str, care: "Autoheal") -> None:
    """Wait until Docker calls it healthy."""

    def is_healthy() -> bool:
        if care.is_over:
            raise RuntimeError("the benchmark was interrupted")
        return _told(servers, name).routable

    wait_until(is_healthy, f"{name} healthy", within_s=HEALTHY_WITHIN_S)


def health_of(servers: ContainerServers, names: list[str]) -> Mapping[str, Told]:
    """Return what a router that asks Docker would be told."""
    return {name: _told(servers, name) for name in names}


def _told(servers: ContainerServers, name: str) -> Told:
    state: dict[str, Any] = servers.container(name).attrs["State"]
    health = state["Health"]["Status"] if state["Running"] else "not running"
    return Told(routable=health == "healthy", verdict=health, instance=state["StartedAt"] if state["Running"] else None)


class Autoheal:
    """Restarts the peer's unhealthy containers one after the other, every five seconds, while the block lasts.

    At its end it removes them all: whichever thread still waits for one of them then gives up.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="autoheal", daemon=True)
        self.restarted: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        with client_of(self._found) as client:
            for container in client.containers.list(all=True, filters={"name": PEER}, ignore_removed=True):
                with contextlib.suppress(APIError):
                    container.remove(force=True, v=True)

    @property
    def is_over(self) -> bool:
        """Whether the block has been left."""
        return self._stop.is_set()

    def _run(self) -> None:
        with client_of(self._found) as client:
            while not self._stop.wait(HEAL_EVERY_S):
                for container in client.containers.list(filters={"health": "unhealthy", "name": PEER}):
                    with contextlib.suppress(APIError, NotFound):
                        container.restart(timeout=STOP_TIMEOUT_S)
                        self.restarted.append(container.name or "?")


@contextlib.contextmanager
def servers_of(found: Found) -> Iterator[ContainerServers]:
    """Yield the peer's servers, for one thread."""
    with client_of(found) as client, ContainerServers(client, ensure_image(client)) as servers:
        yield servers
