"""uv, pipx and twine in an environment of their own, and the wheels that we depend on: enough to install us offline."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed import own_environment
from testbed.cache import REPOSITORY
from testbed.own_environment import Run

LOCK: Final = REPOSITORY / "requirements" / "installers.txt"
RUNTIME: Final = REPOSITORY / "requirements" / "runtime.txt"


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
    home = own_environment.ensure("installers", LOCK, RUNTIME, says="uv, pipx and twine (120 MB)", fill=_fetch)
    return Installers(home / "venv" / "bin", home / "wheels")


def _fetch(home: Path, run: Run) -> None:
    pip, wheels = str(home / "venv" / "bin" / "pip"), str(home / "wheels")
    pinned = re.search(r"^pip==\S+", LOCK.read_text(), re.MULTILINE)
    if pinned is None:
        raise RuntimeError(f"{LOCK} pins no pip: make lock")
    run(pip, "install", "--require-hashes", "-r", str(LOCK))
    run(pip, "download", "--no-deps", "--require-hashes", "-r", str(RUNTIME), "--dest", wheels)
    run(pip, "download", "--no-deps", pinned[0], "--dest", wheels)
