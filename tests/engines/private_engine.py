"""A dockerd of our own, on a socket of its own, that tests may stop, kill and hang without anybody else noticing."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import docker
import psutil
from docker.errors import DockerException

from supervisor.engines.docker_pool import knock
from testbed.clients import wait_until
from testbed.dockerd import executable

START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 30.0  # it gives each container 10 s
BRIDGE: Final = "bst-private"  # not used by any container: theirs have the host's network, or none
SIOCBRADDBR, SIOCBRDELBR, SIOCSIFFLAGS = 0x89A0, 0x89A1, 0x8914


def obstacle() -> str | None:
    """Return why none can be started here; None: it can."""
    if os.geteuid() != 0:
        return "it takes root"
    return None if executable() else "there is no program dockerd here"


class PrivateEngine:
    """Touches nobody else's network: a bridge of its own, no packet filter."""

    def __init__(self, directory: Path) -> None:
        self.host = f"unix://{directory}/docker.sock"
        self.image = ""
        self._directory = directory
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._end_helpers()
        self._unmount()
        _bridge(SIOCBRDELBR)
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The running dockerd's."""
        assert self._daemon is not None
        return self._daemon.pid

    def client(self) -> docker.DockerClient:
        """Return a new client; closing it is the caller's."""
        return docker.DockerClient(base_url=self.host, version="auto", timeout=30)

    def take_image(self, engine: docker.DockerClient, image: str) -> None:
        """Copy an image over from another engine."""
        client = self.client()
        try:
            client.images.load(b"".join(engine.images.get(image).save(named=True)))
        finally:
            client.close()
        self.image = image

    def start(self) -> None:
        """Start it and return once it answers."""
        program = executable()
        assert program is not None
        _bridge(SIOCBRADDBR)
        with (self._directory / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen([program, *self._flags()], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, "our dockerd answers", within_s=START_WITHIN_S)

    def stop(self) -> None:
        """Stop it as a service manager does: it stops its containers first."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """Kill it; its containers go on for now."""
        self.signal(signal.SIGKILL)
        self._wait()
        # Its containerd dies with it, but counts as alive to the next one until somebody has reaped it.
        (self._directory / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def revive(self) -> None:
        """Have it run and answer, whatever was done to it."""
        self.signal(signal.SIGCONT)
        if self._daemon is None or self._daemon.poll() is not None:
            self.start()
        wait_until(self._answers, "our dockerd answers", within_s=START_WITHIN_S)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; SIGSTOP hangs it."""
        if self._daemon is not None:
            self._daemon.send_signal(number)
            if number == signal.SIGSTOP:
                wait_until(lambda: _is_stopped(self.pid), "every thread of dockerd stands still")

    def _flags(self) -> list[str]:
        here = self._directory
        paths = [f"--host={self.host}", f"--data-root={here}/data", f"--exec-root={here}/exec", f"--pidfile={here}/pid"]
        # Not --bridge=none: a dockerd that is told so deletes docker0, and with it the network of the engine next door.
        return [*paths, f"--bridge={BRIDGE}", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]

    def _answers(self) -> bool:
        assert self._daemon is not None
        assert self._daemon.poll() is None, (self._directory / "dockerd.log").read_text(errors="replace")[-2000:]
        try:
            knock(self.host, timeout_s=1.0)
            self.client().close()
        except (DockerException, OSError):
            return False
        return True

    def _wait(self) -> None:
        assert self._daemon is not None
        self._daemon.wait(STOP_WITHIN_S)

    def _end_helpers(self) -> None:
        """End what a killed dockerd leaves behind: its containerd, and the keepers of its containers."""
        ours = [process for process in psutil.process_iter() if str(self._directory) in _command(process)]
        for process in ours:
            for member in [*process.children(recursive=True), process]:
                member.kill()
        psutil.wait_procs(ours, timeout=5)

    def _unmount(self) -> None:
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed(mounts):
            if mount.startswith(f"{self._directory}/"):
                subprocess.run(["umount", "--lazy", mount], check=False)


def _is_stopped(pid: int) -> bool:
    states = (stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat"))
    return all(state == "T" for state in states)


def _bridge(request: int) -> None:
    """Make or remove our bridge; fine where that has been done already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control, contextlib.suppress(OSError):
        if request == SIOCBRDELBR:  # only one that is down can be removed
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", BRIDGE.encode(), 0))
        fcntl.ioctl(control, request, BRIDGE.encode() + b"\0")


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
