"""The filter of integrations/docker-proxy/ in front of a Docker engine: a real HAProxy, and what it let through."""

import os
import re
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervisor.engines.docker_pool import UNIX, knock
from testbed.cache import REPOSITORY
from testbed.clients import LOOPBACK, wait_until
from testbed.debian import ensure_tool
from testbed.leaving import Leaving

CONFIGURATION: Final = REPOSITORY / "integrations" / "docker-proxy" / "haproxy.cfg"
LINE: Final = re.compile(r"^([A-Z]+) (\S+) (\d+) ([A-Za-z-]{2})$", re.MULTILINE)
REFUSED_BY_PROXY: Final = "PR"  # HAProxy's word for a request that it answered itself, and did not pass on


@dataclass(frozen=True, slots=True)
class Call:
    """One call that came to the proxy."""

    method: str
    path: str  # without the query
    status: int
    is_denied: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class DockerProxy(Leaving):
    """Passes on to the engine at `host` what its configuration allows."""

    def __init__(
        self,
        host: str,
        *,
        containers: str = "",
        label: str = "",
        configuration: Path = CONFIGURATION,
        listen: str = "",
    ) -> None:
        """`containers` matches the names that are let through, none: every name; `listen` is host:port.

        `label` is that of the containers that may be listed; none: the default.
        """
        # Not among a test's own files: their paths may be too long for a socket.
        self._folder = tempfile.TemporaryDirectory(prefix="docker-proxy-")
        self._socket = Path(self._folder.name) / "docker.sock"
        self._log = Path(self._folder.name) / "proxy.log"
        self._configuration = configuration
        self._listen = listen
        self._environment = {"LOG": "all", "LISTEN": listen or f"unix@{self._socket}", "ENGINE": _address(host)}
        self._environment |= {"CONTAINERS": containers} if containers else {}
        self._environment |= {"LABEL": label} if label else {}
        self._process: subprocess.Popen[bytes] | None = None
        self._kept = ""  # its log, after its end

    @property
    def host(self) -> str:
        """What a client is told for the engine's address."""
        return f"tcp://{self._listen}" if self._listen else f"{UNIX}{self._socket}"

    def start(self) -> None:
        """Run it, and return once it listens; Debian's package is installed where it is missing."""
        ensure_tool("haproxy", "haproxy")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(self._configuration)],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._listens, f"HAProxy listens: {self._log}", within_s=10.0)

    def leave(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(10.0)
            self._kept = self._log.read_text(errors="replace")
        self._folder.cleanup()

    def calls(self) -> list[Call]:
        """Return what was asked so far, as far as it was answered; after its end too."""
        log = self._kept if self._process is None else self._log.read_text(errors="replace")
        found = LINE.findall(log)
        return [
            Call(method=method, path=path.partition("?")[0], status=int(status), is_denied=ended == REFUSED_BY_PROXY)
            for method, path, status, ended in found
        ]

    def denied(self) -> list[str]:
        """Return what was denied so far."""
        return [str(call) for call in self.calls() if call.is_denied]

    def _listens(self) -> bool:
        assert self._process is not None  # noqa: S101
        if self._process.poll() is not None:
            raise RuntimeError(f"HAProxy has ended: {self._log.read_text(errors='replace')[-2000:]}")
        try:
            if self._listen:
                socket.create_connection((LOOPBACK, int(self._listen.rpartition(":")[2])), timeout=1.0).close()
            else:
                knock(self.host, timeout_s=1.0)
        except OSError:
            return False
        return True


def _address(host: str) -> str:
    return f"unix@{host.removeprefix(UNIX)}" if host.startswith(UNIX) else host.rpartition("/")[2]
