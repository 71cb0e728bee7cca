"""Install Debian's Docker engine, start it in the background, and stop it when its last user has left.

Users are counted with a shared lock on one file: a lock dies with its holder, so a killed run counts no more, and an
engine that such a run left behind is stopped by the next one. An engine that somebody else started is never touched.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import psutil

from testbed.cache import cache_dir
from testbed.clients import wait_until

HOST: Final = "unix:///var/run/docker.sock"
STATE: Final = Path("/run/benchai-testbed")  # one per machine, as the engine is; gone after a reboot, as it is
START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 30.0  # it gives each container 10 s
APT_WAITS: Final = ("-o", "DPkg::Lock::Timeout=120")  # another apt may be at work on a fresh machine


class NoEngine(Exception):
    """No engine can be had; the message says why and what to do."""


def may_install() -> bool:
    """Say whether we are root on a Debian or Ubuntu."""
    try:
        release = Path("/etc/os-release").read_text()
    except OSError:
        return False
    families = " ".join(line for line in release.splitlines() if line.startswith(("ID=", "ID_LIKE=")))
    return os.geteuid() == 0 and ("debian" in families or "ubuntu" in families)


def executable() -> str | None:
    """Return where dockerd is; a `docker` client alone is no engine."""
    return shutil.which("dockerd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def install() -> None:
    """Install `docker.io`; it pulls in containerd, runc and iptables by itself."""
    log = cache_dir("logs") / "apt.log"
    commands = (
        ["dpkg", "--configure", "-a"],  # does nothing, except after an installation that was cut short
        ["apt-get", "update"],
        ["apt-get", *APT_WAITS, "install", "-y", "--no-install-recommends", "docker.io"],
    )
    with log.open("wb") as output:
        for command in commands:
            if _run_to_its_end(command, output) != 0:
                raise NoEngine(f"no engine, and {' '.join(command)} failed: {_last_words(log)} (all it said: {log})")


def _run_to_its_end(command: Sequence[str], output: IO[bytes]) -> int:
    """Run a command out of Ctrl-C's reach and wait for it even when we are told to leave: half a package is worse."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            print(f"engine: letting {command[0]} finish what it began", flush=True)
            with _deaf_to_signals():
                process.wait()


class LocalEngine:
    """The one dockerd that the testbed may start on this machine, and our place among its users."""

    def __init__(self, state: Path = STATE, *, host: str = HOST, flags: tuple[str, ...] = ()) -> None:
        self.host = host
        self._flags = flags
        self._state = state
        self._pidfile = state / "dockerd.pid"
        self._user: int | None = None
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Join its users, whether it runs or not: from here on nobody stops it under us."""
        # Only root starts engines here, so only root needs a vote, and others may not write to /run.
        with contextlib.suppress(PermissionError):
            self._state.mkdir(parents=True, exist_ok=True)
            self._user = os.open(self._state / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._user, fcntl.LOCK_SH)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; the last one out stops it, deaf to signals meanwhile: half stopped is the worst state."""
        if self._user is None:
            return
        try:
            fcntl.flock(self._user, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with _deaf_to_signals():
                self._stop()
        except BlockingIOError:
            pass  # others use it
        finally:
            os.close(self._user)
            self._user = None

    def start(self, answers: Callable[[], bool]) -> None:
        """Start dockerd in a session of its own, out of Ctrl-C's reach, and return once it answers.

        Raises:
            NoEngine: it cannot be started here.
        """
        with (self._state / "starting").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # of two that find none, the second waits and then finds the first's
            if not answers():
                self._start(answers)

    def _start(self, answers: Callable[[], bool]) -> None:
        program, log = executable(), cache_dir("logs") / "dockerd.log"
        if program is None:
            raise NoEngine("docker.io is installed and brings no dockerd: start an engine yourself")
        if self.host == HOST and (running := _dockerd(Path("/var/run/docker.pid"))):
            raise NoEngine(f"dockerd (pid {running.pid}) runs and does not answer: restart it")
        self._pidfile.unlink(missing_ok=True)  # of a killed run; its number may be somebody else's by now
        with log.open("wb") as output:
            daemon = self._daemon = subprocess.Popen(
                [program, "--host", self.host, "--pidfile", str(self._pidfile), *self._flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(lambda: daemon.poll() is not None or answers(), "dockerd answers", within_s=START_WITHIN_S)
        except TimeoutError as problem:
            raise NoEngine(f"dockerd did not answer within {START_WITHIN_S:.0f} s, see {log}") from problem
        if daemon.poll() is not None:
            raise NoEngine(f"dockerd would not start, see {log}: {_last_words(log)}")

    def _stop(self) -> None:
        # A dockerd interrupted at its start may have written no pid file yet, but is our child then.
        started = self._daemon and self._daemon.poll() is None
        daemon = psutil.Process(self._daemon.pid) if started and self._daemon else _dockerd(self._pidfile)
        if daemon is None:
            return
        print("engine: stopping the dockerd that was started for this", flush=True)
        family = [daemon, *daemon.children(recursive=True)]
        daemon.terminate()
        psutil.wait_procs([daemon], timeout=STOP_WITHIN_S)
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)
        if self._daemon:
            self._daemon.wait(5)
        self._pidfile.unlink(missing_ok=True)


@contextlib.contextmanager
def _deaf_to_signals() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _dockerd(pidfile: Path) -> psutil.Process | None:
    """Return the dockerd that a pid file speaks of, if it is alive and one."""
    try:
        process = psutil.Process(int(pidfile.read_text()))
        return process if process.name() == "dockerd" and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"
