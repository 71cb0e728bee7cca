"""An older Python, for what users run on one: this machine's own, or Debian's, unpacked into `.cache/`."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from testbed import debian
from testbed.cache import cache_dir
from testbed.debian import NotToBeHad

SUITES: Final = {"3.9": "bullseye"}  # whose Debian has it
PARTS: Final = ("python{}-minimal", "libpython{}-minimal", "libpython{}-stdlib")


def ensure(version: str) -> Path:
    """Return an interpreter of `version`, such as "3.9": one in the PATH, of pyenv's or uv's, or Debian's.

    Raises:
        NotToBeHad: there is none, and none can be fetched; the message says why and what to do.
    """
    home = cache_dir("python")
    fetched = home / version / "usr/bin" / f"python{version}"
    if found := next((each for each in [*_installed(version), fetched] if version_of(each) == version), None):
        return found
    with (home / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # of two that need it, the second finds the first's
        if version_of(fetched) != version:
            _fetch(version, home / version)
    if version_of(fetched) != version:
        raise NotToBeHad(f"{fetched} came from Debian {SUITES[version]} and does not run here; put one into the PATH")
    return fetched


def version_of(python: Path) -> str:
    """Return what an interpreter says it is, "" where there is none: a shim of pyenv's may stand for nothing."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        said = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return ""
    return said.stdout.strip()


def _installed(version: str) -> list[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    in_path = shutil.which(f"python{version}")
    return [
        Path(sys.executable),
        *([Path(in_path)] if in_path else []),
        *pyenv.glob(f"{version}.*/bin/python"),
        *uv.glob(f"cpython-{version}.*/bin/python"),
    ]


def _fetch(version: str, place: Path) -> None:
    mirror = debian.mirror()
    if mirror is None or version not in SUITES:
        raise NotToBeHad(f"there is no Python {version} here: put python{version} into the PATH")
    print(f"python: no {version} here; fetching Debian {SUITES[version]}'s", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        packages = [each.format(version) for each in PARTS]
        for package in debian.fetch(SUITES[version], *packages, scratch=Path(scratch), mirror=mirror):
            debian.run_logged(["dpkg-deb", "-x", str(package), str(place)], log="dpkg-deb.log", timeout_s=60)
