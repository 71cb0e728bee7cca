"""Debian's supervisord with four programs that do nothing, to be measured against.

Where it is not installed its package is unpacked under `.cache/`, so that no service is started and nothing is
added to the machine.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed import debian
from testbed.cache import cache_dir
from testbed.clients import wait_until
from testbed.debian import NotToBeHad

PACKAGES: Final = ("supervisor", "python3-pkg-resources")
MODULES: Final = "usr/lib/python3/dist-packages"
UP_WITHIN_S: Final = 30.0
END_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Where the two commands are, and what must be in their environment."""

    folder: Path
    environment: Mapping[str, str]

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the words that run `supervisord` or `supervisorctl`."""
        return [str(self.folder / name), *arguments]

    def version(self) -> str:
        """Return the version it says it has."""
        said = subprocess.run(
            self.command("supervisord", "--version"), env=self.environment, capture_output=True, text=True, check=True
        )
        return said.stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One running supervisord: its process, and how to ask it."""

    installed: Installed
    pid: int
    settings: Path

    def status(self) -> list[str]:
        """Return the words of `supervisorctl status`."""
        return self.installed.command("supervisorctl", "-c", str(self.settings), "status")


@contextlib.contextmanager
def supervisord(programs: Sequence[str]) -> Iterator[Running]:
    """Run it with `programs`, each a `sleep infinity`, on files of its own; end it by its pid.

    Raises:
        NotToBeHad: it is not here and cannot be fetched.
    """
    installed = find()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Path(folder, "supervisord.conf")
        settings.write_text(_settings(Path(folder), programs))
        process = subprocess.Popen(
            installed.command("supervisord", "-n", "-c", str(settings)),
            env=installed.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is ours to hear
        )
        running = Running(installed=installed, pid=process.pid, settings=settings)
        try:
            wait_until(lambda: _is_up(running, len(programs)), "supervisord runs its programs", within_s=UP_WITHIN_S)
            yield running
        finally:
            process.terminate()
            process.wait(END_WITHIN_S)


def find() -> Installed:
    """Return Debian's own where it is installed, the unpacked packages otherwise.

    Raises:
        NotToBeHad: neither can be had.
    """
    outside = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}  # no PYTHONPATH of ours
    if Path("/usr/bin/supervisord").exists():
        return Installed(folder=Path("/usr/bin"), environment=outside)
    root = cache_dir("supervisord")
    if not (root / "usr/bin/supervisord").exists():
        _fetch(root)
    return Installed(folder=root / "usr/bin", environment={**outside, "PYTHONPATH": str(root / MODULES)})


def _fetch(root: Path) -> None:
    if debian.mirror() is None:
        raise NotToBeHad("no supervisord to compare with: apt-get install supervisor, or run this on Debian")
    print("fetching Debian's supervisor to compare with; it is unpacked, not installed", flush=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        try:
            debian.run_apt("download", *PACKAGES, cwd=Path(scratch))
        except NotToBeHad:
            debian.run_apt("update")  # a fresh machine has no lists yet
            debian.run_apt("download", *PACKAGES, cwd=Path(scratch))
        for package in sorted(Path(scratch).glob("*.deb")):  # supervisor itself last: it says that all is there
            debian.run_logged(["dpkg-deb", "-x", str(package), str(root)], log="dpkg-deb.log", timeout_s=60)


def _settings(folder: Path, programs: Sequence[str]) -> str:
    socket = folder / "supervisor.sock"
    head = (
        f"[unix_http_server]\nfile={socket}\nchmod=0700\n"
        f"[supervisord]\nlogfile={folder}/supervisord.log\npidfile={folder}/supervisord.pid\nchildlogdir={folder}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{socket}\n"
    )
    return head + "".join(f"[program:{name}]\ncommand=sleep infinity\n" for name in programs)


def _is_up(running: Running, programs: int) -> bool:
    said = subprocess.run(
        running.status(), env=running.installed.environment, capture_output=True, text=True, check=False, timeout=30.0
    )
    return said.stdout.count("RUNNING") == programs
