"""uv, pipx and twine in an environment of their own, and the wheels that we depend on: enough to install us offline."""

import fcntl
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.cache import REPOSITORY, cache_dir
from testbed.debian import run_logged

LOCK: Final = REPOSITORY / "requirements" / "installers.txt"
RUNTIME: Final = REPOSITORY / "requirements" / "runtime.txt"
TIMEOUT_S: Final = 600


@dataclass(frozen=True, slots=True)
class Installers:
    """Where they are."""

    programs: Path  # uv, pipx, twine
    wheels: Path  # all that we depend on, and pip


def ensure_installers() -> Installers:
    """Fetch what the lock files pin, unless it is there.

    Raises:
        NotToBeHad: it could not be fetched.
    """
    home = cache_dir("installers")
    venv, wheels, mark = home / "venv", home / "wheels", home / "installed"
    wanted = f"{venv} {sys.version} {hashlib.sha256(LOCK.read_bytes() + RUNTIME.read_bytes()).hexdigest()}"
    with (home / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # of two that need it, the second finds the first's
        if not mark.exists() or mark.read_text() != wanted:
            print(f"testbed: installing uv, pipx and twine into {venv}: 120 MB", flush=True)
            mark.unlink(missing_ok=True)
            _fetch(venv, wheels)
            mark.write_text(wanted)
    return Installers(venv / "bin", wheels)


def _fetch(venv: Path, wheels: Path) -> None:
    pip = venv / "bin" / "pip"
    pinned = re.search(r"^pip==\S+", LOCK.read_text(), re.MULTILINE)
    if pinned is None:
        raise RuntimeError(f"{LOCK} pins no pip: make lock")
    _run(sys.executable, "-m", "venv", "--clear", str(venv))
    _run(str(pip), "install", "--require-hashes", "-r", str(LOCK))
    _run(str(pip), "download", "--no-deps", "--require-hashes", "-r", str(RUNTIME), "--dest", str(wheels))
    _run(str(pip), "download", "--no-deps", pinned[0], "--dest", str(wheels))


def _run(*command: str) -> None:
    run_logged(command, log="installers.log", timeout_s=TIMEOUT_S)
