"""Model servers as child processes, for machines without an engine; the same faults by the same means."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from testbed import owner
from testbed.cache import cache_dir
from testbed.clients import LOOPBACK, free_port, wait_ready
from testbed.leaving import Leaving

HERE: Final = Path(__file__).resolve().parent
SERVER: Final = str(HERE / "llama_server.py")
FREEZER: Final = str(HERE / "freeze.py")
OWNER_VARIABLE: Final = "BENCHAI_TESTBED_OWNER"


def server_command(model: Path, port: int, *flags: str) -> list[str]:
    """Return the command line that serves `model` on the loopback, for whoever wants to run it themselves."""
    return [sys.executable, SERVER, "-m", str(model), "--port", str(port), *flags]


class FrozenProcess(Leaving):
    """A child of ours that holds one thread of another."""

    def __init__(self, holder: subprocess.Popen[str]) -> None:
        self._holder = holder

    def release(self) -> None:
        """Let go: the holder detaches when its standard input ends."""
        if self._holder.stdin:
            self._holder.stdin.close()
        self._holder.wait(10.0)
        if self._holder.stdout:
            self._holder.stdout.close()

    def leave(self) -> None:
        """Release the thread."""
        self.release()


def freeze_process(pid: int, url: str, *, mid_answer: bool = False, when_busy: bool = False) -> FrozenProcess:
    """Stop the inference thread of process `pid`, which serves `url`; see `Servers.freeze`."""
    flags = ["--mid-answer"] * mid_answer + ["--when-busy"] * when_busy
    command = [sys.executable, FREEZER, str(pid), "--url", url, "--hold-stdin", *flags]
    pipe = subprocess.PIPE
    holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    frozen = FrozenProcess(holder)
    said = holder.stdout.readline() if holder.stdout else ""
    if not said.startswith("frozen tid"):
        more = holder.stdout.read() if holder.stdout else ""
        frozen.release()
        raise RuntimeError(f"process {pid} could not be frozen: {said}{more}")
    return frozen


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    url: str
    log: Path


class ProcessServers(Leaving):
    """Servers by name, each a child process in a session of its own, its output in a file."""

    def __init__(self, log_dir: Path | None = None) -> None:
        self._log_dir = log_dir or cache_dir("logs")
        self._children: dict[str, _Child] = {}
        self._held: list[FrozenProcess] = []
        _kill_leftovers()

    def leave(self) -> None:
        """Remove what was made here."""
        self.remove_all()

    def run(
        self,
        name: str,
        model: Path,
        *flags: str,
        port: int | None = None,
        ready: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Start a server and return its URL."""
        if name in self._children:
            raise ValueError(f"a server named {name} is there already: remove it first")
        port = port or free_port()
        log = self._log_dir / f"{name}.log"
        environment = {**os.environ, **(env or {}), OWNER_VARIABLE: owner.me()}
        with log.open("wb") as output:
            process = subprocess.Popen(
                server_command(model, port, *flags),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        self._children[name] = _Child(process, f"http://{LOOPBACK}:{port}", log)
        if ready:
            self._wait_ready(name)
        return self._children[name].url

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """Return the child process itself."""
        return self._children[name].process

    def pid(self, name: str) -> int | None:
        """Return the server's process id, None where it does not run."""
        process = self.process(name)
        return process.pid if process.poll() is None else None

    def freeze(self, name: str, *, mid_answer: bool = False, when_busy: bool = False) -> FrozenProcess:
        """Stop the inference thread; our own children let us, root or not."""
        child = self._children[name]
        frozen = freeze_process(child.process.pid, child.url, mid_answer=mid_answer, when_busy=when_busy)
        self._held.append(frozen)
        return frozen

    def kill(self, name: str) -> None:
        """Kill the server and return once it is dead."""
        self.process(name).kill()
        self.process(name).wait(10.0)

    def pause(self, name: str) -> None:
        """Stop the whole process."""
        self.process(name).send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Undo `pause`."""
        self.process(name).send_signal(signal.SIGCONT)

    def log(self, name: str) -> str:
        """Return what the server printed."""
        return self._children[name].log.read_text(errors="replace")

    def remove(self, name: str) -> None:
        """Kill the server and forget it."""
        if name in self._children:
            self.kill(name)
            del self._children[name]

    def remove_all(self) -> None:
        """Remove every server, then every hold: a holder ends by itself when what it holds is gone."""
        for name in list(self._children):
            self.remove(name)
        while self._held:
            self._held.pop().release()

    def _wait_ready(self, name: str) -> None:
        try:
            wait_ready(self._children[name].url, lives=lambda: self.pid(name) is not None)
        except (ChildProcessError, TimeoutError) as problem:
            problem.add_note(self.log(name))
            raise


def _kill_leftovers() -> None:
    """Kill servers whose maker has ended without removing them."""
    for process in psutil.process_iter(["cmdline"]):
        if SERVER not in (process.info["cmdline"] or ()):
            continue
        try:
            if owner.is_gone(process.environ().get(OWNER_VARIABLE, "")):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
