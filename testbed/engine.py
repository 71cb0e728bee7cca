"""Is there a Docker engine; if not, get one. Says in plain words which and why, and stops only what it started.

(a) an engine answers: it is used, and never stopped; (b) root on Debian or Ubuntu: Debian's `docker.io` is installed
if need be and `dockerd` started in the background until the last user has left; (c) else there is none, and the
reason says what to do.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

import docker
from docker.context import ContextAPI
from docker.errors import DockerException

from testbed import dockerd
from testbed.dockerd import LocalEngine

FOUND_VARIABLE: Final = "TESTBED_ENGINE"  # docker or none
REASON_VARIABLE: Final = "TESTBED_ENGINE_REASON"
PING_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Found:
    """What there is: `host` is the engine's address, None where there is none."""

    host: str | None
    reason: str

    @property
    def kind(self) -> str:
        return "docker" if self.host else "none"

    def environment(self) -> dict[str, str]:
        """Return what a child process should have in its environment to find the same."""
        found = {FOUND_VARIABLE: self.kind, REASON_VARIABLE: self.reason}
        return found | ({"DOCKER_HOST": self.host} if self.host else {})

    def client(self, *, timeout_s: int = 60) -> docker.DockerClient:
        """Return a client of the engine; closing it is the caller's."""
        if self.host is None:
            raise RuntimeError(f"no Docker engine: {self.reason}")
        return docker.DockerClient(base_url=self.host, version="auto", timeout=timeout_s)


def find() -> Found:
    """Look for an engine that answers; start nothing."""
    told = os.environ.get("DOCKER_HOST")
    for host in [told] if told else _usual_hosts():
        version = version_of(host)
        if version:
            return Found(host, f"using the Docker engine {version} that answers at {host}")
    if told:
        return Found(None, f"DOCKER_HOST is {told}, and no engine answers there: start it or unset the variable")
    return Found(None, "no Docker engine answers: start one, or run this as root on Debian or Ubuntu to have it done")


@contextlib.contextmanager
def engine() -> Iterator[Found]:
    """Find an engine, or install and start one; stop it at the end if it was started here.

    SIGTERM leaves through the `with` block like Ctrl-C, so that the end is reached then too.
    """
    with _sigterm_as_exit(), LocalEngine() as local:
        found = find()
        if found.host is None and not os.environ.get("DOCKER_HOST"):
            found = _obtain(local, found)
        print(f"engine: {found.reason}", flush=True)
        yield found


def _obtain(local: LocalEngine, none: Found) -> Found:
    """Install and start an engine where we may."""
    if not dockerd.may_install():
        return none
    try:
        if not dockerd.executable():
            print("engine: none here; we are root on Debian or Ubuntu: installing docker.io with apt-get", flush=True)
            dockerd.install()
        print("engine: none answers; starting dockerd in the background, to be stopped at the end", flush=True)
        local.start(lambda: version_of(local.host) is not None)
    except dockerd.NoEngine as problem:
        return Found(None, str(problem))
    return Found(local.host, f"using the Docker engine {version_of(local.host)} that was started for this")


def _usual_hosts() -> list[str]:
    hosts = [dockerd.HOST]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        hosts.append(f"unix://{runtime}/docker.sock")  # rootless
    with contextlib.suppress(DockerException, OSError, ValueError):
        context = ContextAPI.get_current_context()
        if context and context.Host:
            hosts.append(context.Host)
    return list(dict.fromkeys(hosts))


def version_of(host: str) -> str | None:
    """Return the version of the engine at `host`, None where none answers."""
    if not _listens(host):
        return None
    try:
        client = docker.DockerClient(base_url=host, version="auto", timeout=PING_TIMEOUT_S)
    except (DockerException, OSError):
        return None
    try:
        return str(client.version()["Version"])
    except (DockerException, OSError):
        return None
    finally:
        client.close()


def _listens(host: str) -> bool:
    """Say whether somebody accepts on a unix socket; the SDK leaves its own socket open where nobody does."""
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT_S)
        return connection.connect_ex(host.removeprefix("unix://")) == 0


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, where nobody else has taken the signal."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not ours:
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run(command: Sequence[str]) -> int:
    """Run `command` with an engine at hand, passing signals on, and return its exit status."""
    with engine() as found, _Relay() as relay:
        status = relay.run(command, env={**os.environ, **found.environment()})
    return 128 - status if status < 0 else status


class _Relay:
    """Passes our signals on to one child, those too that come before it is there."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def __enter__(self) -> Self:
        for number in self._handlers:
            signal.signal(number, self._pass_on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def run(self, command: Sequence[str], *, env: Mapping[str, str]) -> int:
        self._child = subprocess.Popen(command, env=env)
        for number in self._early:
            self._child.send_signal(number)
        return self._child.wait()

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._child is None:
            self._early.append(number)
        elif not (number == signal.SIGINT and _in_foreground()):
            # A terminal has sent Ctrl-C to the child as well; twice would cut its cleaning up short.
            self._child.send_signal(number)


def _in_foreground() -> bool:
    try:
        with Path("/dev/tty").open() as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """`run -- COMMAND...` runs it with an engine at hand; `status` says what there is and starts nothing."""
    parser = argparse.ArgumentParser(prog="testbed.engine", description=main.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("status")
    verbs.add_parser("run").add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    if asked.verb == "status":
        found = find()
        print(found.reason)
        return 0 if found.host else 1
    command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    if not command:
        parser.error("run needs a command after --")
    return run(command)


if __name__ == "__main__":
    sys.exit(main())
