"""A daemon whose settings a story may change while it runs, over model servers that it runs itself."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil

from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.leaving import Leaving
from testbed.process_servers import server_command
from testbed.supervisord import Supervisord, toml


class Town(Leaving):
    """The daemon, and the tables of the targets that its next settings name."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.daemon = Supervisord(folder)
        self.sections = ""
        self.urls: dict[str, str] = {}
        self._model = model
        self._tables: dict[str, str] = {}

    def leave(self) -> None:
        """End the daemon, then whatever it has run."""
        self.daemon.stop()
        for record in (self.daemon.folder / "state" / "process").glob("*.json"):
            pid = json.loads(record.read_text())["pid"]
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).environ().get("TEST_OWNER") == str(self.daemon.folder):
                    os.killpg(pid, signal.SIGKILL)

    def serve(self, name: str, *flags: str, policy: str = "", **keys: object) -> None:
        """Have the next settings say that a model server is run."""
        url = self.urls.setdefault(name, f"http://{LOOPBACK}:{free_port()}")
        command = server_command(self._model, int(url.rpartition(":")[2]), "-np", "1", *flags)
        self.run(name, command, policy=policy, **keys)

    def run(self, name: str, command: list[str], *, policy: str = "", **keys: object) -> None:
        """Have the next settings say that a command is run."""
        url = self.urls.setdefault(name, f"http://{LOOPBACK}:{free_port()}")
        told = {"name": name, "url": url, "models": [name], "engine": "process", "command": command, **keys}
        table = "".join(f"{key} = {toml(value)}\n" for key, value in told.items())
        owner = f"environment = {{ TEST_OWNER = {toml(self.daemon.folder)} }}\n"
        self._tables[name] = f"[[backends]]\n{table}{owner}" + (f"[backends.policy]\n{policy}\n" if policy else "")

    def forget(self, name: str) -> None:
        """Have the next settings say nothing of a target."""
        del self._tables[name]

    def write(self, **daemon: object) -> None:
        """Write the settings as they were said."""
        self.daemon.write_settings(self.sections + "".join(self._tables.values()), **daemon)

    def comes_up(self, *names: str) -> None:
        """Start the daemon, and wait until these are ready."""
        self.write()
        self.daemon.start()
        self.daemon.wait_answers()
        for name in names:
            self.daemon.wait_target(name, verdict="ready")

    @property
    def names(self) -> list[str]:
        """Everybody who is watched."""
        return [each["name"] for each in self.daemon.status()["targets"]]

    @property
    def problems(self) -> list[str]:
        """What ails the daemon, as it says itself."""
        return list(self.daemon.status()["daemon"]["problems"])

    def until_log(self, words: str) -> None:
        """Wait until the daemon has logged something."""
        wait_until(lambda: words in self.daemon.log(), f"the log says {words!r}")

    def pid(self, name: str) -> int:
        """Return the process that a target has been started as."""
        record: dict[str, Any] = json.loads((self.daemon.folder / "state" / "process" / f"{name}.json").read_text())
        return int(record["pid"])
