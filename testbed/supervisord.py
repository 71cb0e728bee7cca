"""A daemon under test: benchai-supervisord in a process and a folder of its own, and the questions one asks it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.leaving import Leaving

END_WITHIN_S: Final = 45.0  # it waits for an engine call under way


class Supervisord(Leaving):
    """Runs the daemon on the settings it is given; `[daemon]` and `[http]` are filled in here."""

    def __init__(self, folder: Path, *, port: int | None = None, log_level: str = "INFO") -> None:
        self.folder = folder
        self.port = port or free_port()
        self.address = f"http://{LOOPBACK}:{self.port}"
        self._log_level = log_level
        self._process: subprocess.Popen[bytes] | None = None

    def leave(self) -> None:
        """End the daemon."""
        self.stop()

    @property
    def liveness_file(self) -> Path:
        """What routers read."""
        return self.folder / "liveness.json"

    @property
    def socket(self) -> Path:
        """What `benchai-supervisorctl` talks to."""
        return self.folder / "control.sock"

    @property
    def settings_file(self) -> Path:
        """The daemon's settings."""
        return self.folder / "settings.toml"

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None, "it was not started"  # noqa: S101
        return self._process.pid

    def write_settings(self, targets: str, **daemon: object) -> None:
        """Write the settings: `targets` is TOML for all but `[daemon]` and `[http]`; `daemon` keys come on top."""
        keys = {
            "state_dir": self.folder / "state",
            "liveness_file": self.liveness_file,
            "log_level": self._log_level,
            **daemon,
        }
        section = "".join(f"{key} = {toml(value)}\n" for key, value in keys.items())
        http = f"port = {self.port}\nsocket = {toml(self.socket)}\n"
        self.settings_file.write_text(f"[daemon]\n{section}[http]\n{http}{targets}")

    def start(self, *, env: Mapping[str, str] | None = None) -> None:
        """Start the daemon, without waiting for anything."""
        with (self.folder / "daemon.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "--settings", str(self.settings_file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to hear; we end it in order
                env={**os.environ, **(env or {})},
            )

    def wait_answers(self, *, within_s: float = 30.0) -> None:
        """Wait until its HTTP answers; a daemon that has ended raises with its last words."""

        def answers() -> bool:
            self.check_alive()
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{self.address}/livez", timeout=2.0, trust_env=False).is_success
            return False

        wait_until(answers, "the daemon answers", within_s=within_s)

    def check_alive(self) -> None:
        """Raise RuntimeError if the daemon has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise RuntimeError(f"the daemon has ended with {code}: {self.log()[-2000:]}")

    def get(self, path: str) -> httpx.Response:
        """Ask it over HTTP."""
        return httpx.get(f"{self.address}{path}", timeout=5.0, trust_env=False)

    def post(self, path: str, *, token: str = "") -> httpx.Response:
        """Have it do something over HTTP."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.post(f"{self.address}{path}", headers=headers, timeout=30.0, trust_env=False)

    def liveness(self) -> dict[str, Any]:
        """Return the liveness document, as HTTP has it."""
        return dict(self.get("/v1/liveness").json())

    def backend(self, name: str) -> dict[str, Any]:
        """Return one backend of the liveness document."""
        return next(entry for entry in self.liveness()["backends"] if entry["name"] == name)

    def status(self) -> dict[str, Any]:
        """Return what people are told."""
        return dict(self.get("/v1/status").json())

    def target(self, name: str) -> dict[str, Any]:
        """Return one target's status."""
        return next(entry for entry in self.status()["targets"] if entry["name"] == name)

    def wait_target(self, name: str, *, within_s: float = 30.0, **wanted: object) -> dict[str, Any]:
        """Wait until a target's status has the `wanted` values, and return it."""

        entry: dict[str, Any] = {}

        def is_so() -> bool:
            self.check_alive()
            entry.update(self.target(name))
            return all(entry[key] == value for key, value in wanted.items())

        try:
            wait_until(is_so, f"{name} is {wanted}", within_s=within_s)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; it is {entry}; log: {self.log()[-3000:]}") from late
        return entry

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run benchai-supervisorctl against it."""
        command = [sys.executable, "-m", "supervisor.cli", "--server", f"unix://{self.socket}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def checked(self) -> subprocess.CompletedProcess[str]:
        """Have the settings checked as they stand."""
        command = [sys.executable, "-m", "supervisor.supervisord", "--check", "--settings", str(self.settings_file)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def log(self) -> str:
        """Return what it has printed."""
        return (self.folder / "daemon.log").read_text(errors="replace")

    def wait_end(self, *, within_s: float = END_WITHIN_S) -> int:
        """Wait for its end and return its exit status."""
        assert self._process is not None, "it was not started"  # noqa: S101
        return self._process.wait(within_s)

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill it with SIGKILL: nothing is written, nothing is waited for."""
        assert self._process is not None, "it was not started"  # noqa: S101
        self._process.kill()
        self._process.wait(10.0)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None, "it was not started"  # noqa: S101
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()


def toml(value: object) -> str:
    """Return a string, a number, a bool, a path or a list of them as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case list() | tuple():
            return "[" + ", ".join(toml(each) for each in value) + "]"
        case _:
            text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'"{text}"'
