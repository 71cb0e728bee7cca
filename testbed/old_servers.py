"""Servers of the fake of an old llama.cpp, in containers or as child processes, and how they are told to break."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from testbed.cache import REPOSITORY
from testbed.clients import LOOPBACK, free_port, wait_ready
from testbed.container_servers import ContainerServers
from testbed.image import OLD_LLAMA
from testbed.leaving import Leaving
from testbed.old_llama.faults import Fault

INNER_CONTROL_PORT: Final = 8081
TELL_WITHIN_S: Final = 30.0  # a throttled one takes its time


@dataclass(frozen=True, slots=True)
class OldServer:
    """Where one of them answers, and where it is told what to suffer from."""

    url: str
    control: str

    def suffer(self, fault: Fault) -> None:
        """Switch a fault on; it lasts until the server is restarted."""
        httpx.post(f"{self.control}/{fault}", timeout=TELL_WITHIN_S, trust_env=False).raise_for_status()


def run_old(servers: ContainerServers, name: str, model: Path, *flags: str, **more: Any) -> OldServer:
    """Start one in a container; the model is only named in its answers. `more` is as for `ContainerServers.run`."""
    control = free_port()
    url = servers.run(
        name,
        model,
        "--control-port",
        str(INNER_CONTROL_PORT),
        *flags,
        entrypoint=list(OLD_LLAMA),
        publish={INNER_CONTROL_PORT: control},
        **more,
    )
    return OldServer(url, f"http://{LOOPBACK}:{control}")


class OldProcess(Leaving):
    """One as a child process, for whoever needs no engine."""

    def __init__(self, *flags: str, ready: bool = True) -> None:
        port, control = free_port(), free_port()
        self.server = OldServer(f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{control}")
        ports = ["--port", str(port), "--control-port", str(control)]
        self.process = subprocess.Popen(
            [sys.executable, *OLD_LLAMA[1:], *ports, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,
        )
        if ready:
            wait_ready(self.server.url, lives=lambda: self.process.poll() is None)

    def leave(self) -> None:
        """End it, whatever it suffers from."""
        self.process.kill()
        self.process.wait(10.0)
