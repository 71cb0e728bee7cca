"""A bench on systemd: units out of a few lines of Python, on a host of their own."""

import asyncio
import signal
import uuid
from pathlib import Path
from typing import Any

from supervisor.engines.systemd import SystemdEngine
from testbed.systemd_host import UNITS, SystemdHost

TIMEOUT_S = 10.0
PYTHON = "/usr/bin/python3"


class SystemdBench:
    """Units, removed at the end; `host` stays the caller's.

    They are of Type=exec, which like other engines has a start fail where the program cannot be run.
    """

    def __init__(self, host: SystemdHost, **more: Any) -> None:
        self.host = host
        known: dict[str, Any] = {"bus": host.bus, "root": host.root, "journalctl": host.journalctl}
        self.engine = SystemdEngine(**known | {"timeout_s": TIMEOUT_S} | more)
        self.proc = host.root / "proc"
        self._units: list[Path] = []

    def make(self, code: str, *lines: str, **keys: str) -> str:
        """Make a unit that runs `code`; `lines` and `keys` go into its [Service] as they are."""
        return self.make_command(f"{PYTHON} -c {quoted(code)}", *lines, **keys)

    def make_unstartable(self) -> str:
        """Make a unit whose program does not exist."""
        return self.make_command("/no/such/program")

    def make_command(self, command: str, *lines: str, name: str | None = None, **keys: str) -> str:
        """Make a unit that runs `command`, which is written as systemd wants it."""
        name = name or f"target-{uuid.uuid4().hex[:8]}.service"
        service = {"Type": "exec", "ExecStart": command} | keys
        text = "\n".join(["[Service]", *(f"{key}={value}" for key, value in service.items()), *lines, ""])
        self._units.append(self.host.write_unit(name, text))
        return name

    def mask(self, name: str) -> None:
        """Put nothing in the place of a unit's file, as `systemctl mask` does."""
        path = self.host.root / UNITS / name
        path.unlink()
        path.symlink_to("/dev/null")

    def forget(self, name: str) -> None:
        """Remove a unit's file, and have systemd know."""
        (self.host.root / UNITS / name).unlink()
        self.host.systemctl("daemon-reload")

    async def systemctl(self, *arguments: str) -> str:
        """Do as an operator does."""
        return await asyncio.to_thread(self.host.systemctl, *arguments)

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the main process alone, past systemd."""
        pid = (await self.engine.inspect(name)).pid
        await asyncio.to_thread(self.host.run, "sh", "-c", f"kill -{number:d} {pid}")

    async def close(self) -> None:
        """Let go of the bus, and remove all units."""
        await self.engine.close()
        names = [unit.name for unit in self._units]
        if names:
            await asyncio.to_thread(self._remove, names)

    def _remove(self, names: list[str]) -> None:
        systemctl = self.host.systemctl
        systemctl("kill", "--signal=KILL", *names, check=False)
        systemctl("stop", *names, check=False)
        for unit in self._units:
            unit.unlink(missing_ok=True)
        systemctl("daemon-reload")
        systemctl("reset-failed", *names, check=False)


def quoted(word: str) -> str:
    """Return a word as it stands in a unit file."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("%", "%%"), ("$", "$$")):
        word = word.replace(plain, escaped)
    return f'"{word}"'
