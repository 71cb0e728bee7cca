"""What every router here offers: it is put in front of model servers, told of the supervisor, and ended again."""

import contextlib
import os
import signal
import subprocess
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import httpx

from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.leaving import Leaving

STOP_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a router is put in front of, and where it reads the supervisor's liveness."""

    backends: Mapping[str, str]  # each backend's URL by its name
    models: Mapping[str, tuple[str, ...]]  # the backends behind each alias, the preferred one first
    liveness_file: Path
    supervisor_url: str  # the daemon's HTTP API, http://127.0.0.1:port
    control_socket: Path  # its unix socket, by which reports may come in
    agent_port: int | None = None  # its agent-check port, where it has one
    extra: Mapping[str, str] = field(default_factory=dict)  # what one kind of router alone can be told


class Router(Leaving):
    """A router as a child process of ours, on a port of the loopback."""

    kind: ClassVar[str]  # haproxy, litellm, benchai, example, …
    client_headers: ClassVar[Mapping[str, str]] = {}  # what a client must send: an API key
    starts_within_s: ClassVar[float] = 30.0
    hears_within_s: ClassVar[float] = 1.0  # what the daemon has told, it obeys after so long
    refuses_with: ClassVar[int] = 503  # its status where nobody can answer

    def __init__(self, folder: Path, served: Served, *, port: int | None = None) -> None:
        self.folder = folder
        self.served = served
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The router's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Write whatever configuration it needs into `folder`, and return the command that runs it."""

    def environment(self) -> Mapping[str, str]:
        """Return what is added to our own environment."""
        return {}

    @abstractmethod
    def is_answering(self) -> bool:
        """Say whether it takes requests; called until it does."""

    def start(self) -> None:
        """Run it, and return once it takes requests."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.command()),
                env={**os.environ, **self.environment()},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, f"{self.kind} answers", within_s=self.starts_within_s)
        except Exception as late:
            late.add_note(self.log()[-3000:])
            self.stop()
            raise

    def stop(self) -> None:
        """End it and whatever it started; fine where it has gone."""
        process, self._process = self._process, None
        if process is None:
            return
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_WITHIN_S)
                break

    def leave(self) -> None:
        """End it."""
        self.stop()

    def log(self) -> str:
        """Return what it has printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.kind}.log"

    def _answers(self) -> bool:
        if self.pid is None:
            raise RuntimeError(f"{self.kind} has ended")
        with contextlib.suppress(httpx.HTTPError):
            return self.is_answering()
        return False
