"""The whole story on one machine: four model servers, the daemon beside them, and a router in front.

With Docker the servers are containers that the daemon finds by name; without, they are child processes that the
daemon itself runs. Everything lives in one folder and goes with it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import docker
import httpx

from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.image import ensure_image
from testbed.process_servers import freeze_process, server_command
from testbed.servers import ContainerServers, Frozen

MODELS: Final = {"general": ("general",), "planner": ("planner", "research"), "code": ("code",), "vision": ("vision",)}
END_WITHIN_S: Final = 45.0
DEFAULT_PORTS: Final = {"general": 8091, "planner": 8092, "code": 8093, "vision": 8094, "router": 8085, "http": 8090}
SERVER_FLAGS: Final = ("-np", "1", "-c", "8192", "-t", "1", "--metrics", "--cache-ram", "64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a stack consists of: ports by name (0: any free one), policy keys that differ from the defaults."""

    prefix: str = "benchai-"
    ports: Mapping[str, int] | None = None
    policy: Mapping[str, float] | None = None
    with_router: bool = True
    models: Mapping[str, Path] | None = None  # where a backend's model is not the common one
    log_level: str = "INFO"


class Stack:
    """Runs a plan. Use it with `with`: nothing of it is left behind."""

    def __init__(self, folder: Path, model: Path, plan: Plan, *, client: docker.DockerClient | None) -> None:
        """`client` None: no engine, the daemon runs the servers itself."""
        self.folder = folder
        self.plan = plan
        self.ports = {name: (plan.ports or {}).get(name) or free_port() for name in DEFAULT_PORTS}
        self.servers = ContainerServers(client, ensure_image(client)) if client else None
        self._model = model
        self._client = client
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kind(self) -> str:
        """The engine's word in the settings."""
        return "docker" if self.servers else "process"

    @property
    def liveness_file(self) -> Path:
        """What the router reads."""
        return self.folder / "liveness.json"

    @property
    def socket(self) -> Path:
        """What `benchai-supervisorctl` talks to."""
        return self.folder / "control.sock"

    @property
    def router_url(self) -> str:
        """Where clients go."""
        return self.url("router")

    def url(self, name: str) -> str:
        """Return the address of a backend, the router, or (`http`) the daemon."""
        return f"http://{LOOPBACK}:{self.ports[name]}"

    def start_servers(self) -> None:
        """Start the model servers, where they are not the daemon's to run."""
        for name in MODELS if self.servers else ():
            self.run_server(name)

    def run_server(self, name: str) -> None:
        """Start one server's container."""
        assert self.servers is not None, "without an engine the daemon runs the servers"  # noqa: S101
        self.servers.run(self.plan.prefix + name, self._model_of(name), *SERVER_FLAGS, port=self.ports[name])

    def _model_of(self, name: str) -> Path:
        return (self.plan.models or {}).get(name, self._model)

    def start_daemon(self) -> None:
        """Start the daemon and wait until it has looked at everything."""
        self.settings_file.write_text(self._settings())
        self._start("daemon", "-m", "supervisor.supervisord", "--settings", str(self.settings_file))
        wait_until(self.is_up, "every backend ready", within_s=60.0)

    def start_router(self) -> None:
        """Start the demo router."""
        backends = [f"--backend={name}={self.url(name)}" for name in MODELS]
        port = str(self.ports["router"])
        self._start("router", "-m", "examples.router", "--liveness", str(self.liveness_file), "--port", port, *backends)
        wait_until(lambda: _answers(f"{self.router_url}/health"), "the router answers", within_s=30.0)

    @property
    def settings_file(self) -> Path:
        """The daemon's settings."""
        return self.folder / "settings.toml"

    def is_up(self) -> bool:
        """Whether every backend is ready; a daemon that has ended raises with its last words."""
        code = self._children["daemon"].poll()
        if code is not None:
            raise RuntimeError(f"the daemon has ended with {code}: {self.log('daemon')[-2000:]}")
        with contextlib.suppress(httpx.HTTPError):
            entries = self.liveness()["backends"]
            return all(entry["verdict"] == "ready" for entry in entries)
        return False

    def liveness(self) -> dict[str, Any]:
        """Return the liveness document, as HTTP has it."""
        return dict(httpx.get(f"{self.url('http')}/v1/liveness", timeout=5.0, trust_env=False).json())

    def backend(self, name: str) -> dict[str, Any]:
        """Return one backend of the liveness document."""
        return next(entry for entry in self.liveness()["backends"] if entry["name"] == name)

    def status(self) -> dict[str, Any]:
        """Return what people are told."""
        return dict(httpx.get(f"{self.url('http')}/v1/status", timeout=5.0, trust_env=False).json())

    def target(self, name: str) -> dict[str, Any]:
        """Return one target's status."""
        return next(entry for entry in self.status()["targets"] if entry["name"] == name)

    def freeze(self, name: str, *, mid_answer: bool = False, when_busy: bool = False) -> Frozen:
        """Stop one server's inference thread and nothing else."""
        if self.servers:
            return self.servers.freeze(self.plan.prefix + name, mid_answer=mid_answer, when_busy=when_busy)
        return freeze_process(self.target(name)["pid"], self.url(name), mid_answer=mid_answer, when_busy=when_busy)

    def kill(self, name: str) -> None:
        """Kill one server as a crash does."""
        if self.servers:
            self.servers.kill(self.plan.prefix + name)
        else:
            os.kill(self.target(name)["pid"], signal.SIGKILL)

    def log(self, child: str) -> str:
        """Return what the daemon or the router has printed."""
        return (self.folder / f"{child}.log").read_text(errors="replace")

    def process(self, child: str) -> subprocess.Popen[bytes]:
        """Return the daemon's or the router's process."""
        return self._children[child]

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run benchai-supervisorctl against this daemon."""
        command = [sys.executable, "-m", "supervisor.cli", "--server", f"unix://{self.socket}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def end(self, child: str, *, within_s: float = END_WITHIN_S) -> int:
        """Send SIGTERM to the daemon or the router and return its exit status."""
        process = self._children.pop(child)
        process.terminate()
        try:
            return process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10.0)
            raise

    def stop(self) -> None:
        """End the router, the daemon, then the servers."""
        for child in ("router", "daemon"):
            if child in self._children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.end(child)
        if self.servers:
            self.servers.remove_all()

    def _start(self, child: str, *arguments: str) -> None:
        with (self.folder / f"{child}.log").open("ab") as output:
            self._children[child] = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to hear; we end them in order
            )

    def _settings(self) -> str:
        backends = "".join(self._backend_settings(name, models) for name, models in MODELS.items())
        policy = "".join(f"{key} = {value}\n" for key, value in (self.plan.policy or {}).items())
        host = os.environ.get("DOCKER_HOST")
        engine = f"[docker]\nhost = {_toml(host)}\n" if host else ""
        return (
            f"[daemon]\nstate_dir = {_toml(self.folder / 'state')}\nliveness_file = {_toml(self.liveness_file)}\n"
            f"log_level = {_toml(self.plan.log_level)}\n"
            f"[http]\nport = {self.ports['http']}\nsocket = {_toml(self.socket)}\n"
            f"{engine}[process]\nstop_on_exit = true\n"
            f"[policy]\n{policy}{backends}{self._router_settings() if self.plan.with_router else ''}"
        )

    def _backend_settings(self, name: str, models: tuple[str, ...]) -> str:
        common = f'[[backends]]\nname = "{name}"\nurl = "{self.url(name)}"\nmodels = {_toml(list(models))}\n'
        if self.servers:
            return f'{common}engine = "docker"\ncontainer = "{self.plan.prefix}{name}"\n'
        command = server_command(self._model_of(name), self.ports[name], *SERVER_FLAGS)
        return f'{common}engine = "process"\ncommand = {_toml(command)}\n'

    def _router_settings(self) -> str:
        return f'[[routers]]\nname = "router"\nurl = "{self.router_url}"\nengine = "none"\ncanary_model = "auto"\n'


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def is_free(port: int) -> bool:
    """Say whether nothing listens on this port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex((LOOPBACK, port)) != 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def told(stack: Stack, name: str, *, routable: bool, within_s: float) -> float:
    """Wait until routers are told that `name` is (not) routable; return how long that took, in seconds."""
    began = time.monotonic()
    wait_until(
        lambda: stack.backend(name)["routable"] is routable,
        f"{name} {'routable' if routable else 'not routable'}",
        within_s=within_s,
    )
    return time.monotonic() - began
