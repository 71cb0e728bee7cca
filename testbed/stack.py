"""The whole story on one machine: four model servers, the daemon beside them, and a router in front.

With Docker the servers are containers that the daemon finds by name; without, they are child processes that the
daemon itself runs. Everything lives in one folder and goes with it.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import docker
import httpx

from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.image import ensure_image
from testbed.process_servers import freeze_process, server_command
from testbed.routers.base import Router, Served
from testbed.routers.kinds import router_class
from testbed.servers import ContainerServers, Frozen
from testbed.supervisord import Supervisord, toml

MODELS: Final = {"general": ("general",), "planner": ("planner", "research"), "code": ("code",), "vision": ("vision",)}
QUICK: Final = ("general", "planner", "code")  # whom `auto` may ask, in this order
DEFAULT_PORTS: Final = {"general": 8091, "planner": 8092, "code": 8093, "vision": 8094, "router": 8085, "http": 8090}
SERVER_FLAGS: Final = ("-np", "1", "-c", "8192", "-t", "1", "--metrics", "--cache-ram", "64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a stack consists of: ports by name (none: free ones), policy keys that differ from the defaults."""

    prefix: str = "benchai-"
    ports: Mapping[str, int] | None = None
    policy: Mapping[str, float] | None = None
    router: str | None = "example"  # one of `routers/kinds.py`; None: nobody asks the servers but the daemon
    models: Mapping[str, Path] | None = None  # where a backend's model is not the common one
    log_level: str = "INFO"


class Stack(Supervisord):
    """Runs a plan: a daemon under test, and what it watches. Use it with `with`: nothing of it is left behind."""

    def __init__(self, folder: Path, model: Path, plan: Plan, *, client: docker.DockerClient | None) -> None:
        """`client` None: no engine, the daemon runs the servers itself."""
        self.ports = {name: (plan.ports or {}).get(name) or free_port() for name in DEFAULT_PORTS}
        super().__init__(folder, port=self.ports["http"], log_level=plan.log_level)
        self.plan = plan
        self.servers = ContainerServers(client, ensure_image(client)) if client else None
        self._model = model
        self._agent_port = free_port() if plan.router == "haproxy" else None
        self.router: Router | None = None
        if plan.router is not None:
            self.router = router_class(plan.router)(folder / "router", self._served(), port=self.ports["router"])

    def leave(self) -> None:
        """End the router, the daemon, then the servers."""
        if self.router is not None:
            self.router.leave()
        self.stop()
        if self.servers:
            self.servers.remove_all()

    @property
    def router_url(self) -> str:
        """Where clients go."""
        return self.url("router")

    def url(self, name: str) -> str:
        """Return the address of a backend or of the router."""
        return f"http://{LOOPBACK}:{self.ports[name]}"

    def start_all(self) -> Self:
        """Start the servers, the daemon and, if planned, the router; return once all of them are ready."""
        self.start_servers()
        self.start_daemon()
        if self.router is not None:
            self.router.start()
            self.wait_target("router", verdict="ready")
        return self

    def start_servers(self) -> None:
        """Start the model servers, where they are not the daemon's to run."""
        for name in MODELS if self.servers else ():
            self.run_server(name)

    def start_daemon(self) -> None:
        """Start the daemon and return once every backend is ready."""
        self.write_settings(self._targets())
        self.start()
        self.wait_answers()
        wait_until(self.is_up, "every backend ready", within_s=60.0)

    def run_server(self, name: str) -> None:
        """Start one server's container."""
        assert self.servers is not None, "without an engine the daemon runs the servers"  # noqa: S101
        self.servers.run(self.plan.prefix + name, self._model_of(name), *SERVER_FLAGS, port=self.ports[name])

    def is_up(self) -> bool:
        """Whether every backend is ready; a daemon that has ended raises with its last words."""
        self.check_alive()
        with contextlib.suppress(httpx.HTTPError):
            return all(entry["verdict"] == "ready" for entry in self.liveness()["backends"])
        return False

    def instances(self) -> dict[str, str]:
        """Return every backend's present instance."""
        return {name: str(self.target(name)["instance"]) for name in MODELS}

    def freeze(self, name: str, *, mid_answer: bool = False, when_busy: bool = False) -> Frozen:
        """Stop one server's inference thread and nothing else."""
        if self.servers:
            return self.servers.freeze(self.plan.prefix + name, mid_answer=mid_answer, when_busy=when_busy)
        return freeze_process(self.target(name)["pid"], self.url(name), mid_answer=mid_answer, when_busy=when_busy)

    def kill_server(self, name: str) -> None:
        """Kill one server as a crash does."""
        if self.servers:
            self.servers.kill(self.plan.prefix + name)
        else:
            os.kill(self.target(name)["pid"], signal.SIGKILL)

    def _model_of(self, name: str) -> Path:
        return (self.plan.models or {}).get(name, self._model)

    def _served(self) -> Served:
        return Served(
            backends={name: self.url(name) for name in MODELS},
            models={alias: (name,) for name, aliases in MODELS.items() for alias in aliases} | {"auto": QUICK},
            liveness_file=self.liveness_file,
            supervisor_url=self.address,
            control_socket=self.socket,
            agent_port=self._agent_port,
        )

    def _targets(self) -> str:
        host = os.environ.get("DOCKER_HOST")
        engine = f"[docker]\nhost = {toml(host)}\n" if host else ""
        policy = "".join(f"{key} = {toml(value)}\n" for key, value in (self.plan.policy or {}).items())
        backends = "".join(self._backend(name, models) for name, models in MODELS.items())
        agent = f"[agent]\nport = {self._agent_port}\n" if self._agent_port else ""
        return f"{engine}{agent}[process]\nstop_on_exit = true\n[policy]\n{policy}{backends}{self._router_target()}"

    def _backend(self, name: str, models: tuple[str, ...]) -> str:
        common = f'[[backends]]\nname = "{name}"\nurl = "{self.url(name)}"\nmodels = {toml(models)}\n'
        if self.servers:
            return f'{common}engine = "docker"\ncontainer = "{self.plan.prefix}{name}"\n'
        command = server_command(self._model_of(name), self.ports[name], *SERVER_FLAGS)
        return f'{common}engine = "process"\ncommand = {toml(command)}\n'

    def _router_target(self) -> str:
        if self.router is None:
            return ""
        key = self.router.client_headers.get("Authorization", "").removeprefix("Bearer ")
        asked_with = f"api_key = {toml(key)}\n" if key else ""
        return f'[[routers]]\nname = "router"\nurl = "{self.router_url}"\nengine = "none"\n{asked_with}'


def is_free(port: int) -> bool:
    """Say whether nothing listens on this port of the loopback."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) != 0
