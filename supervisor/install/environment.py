"""The environment that the service runs in: which Python, made of what. A plan of steps; nothing is done here."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from supervisor import __version__
from supervisor.errors import InstallRefused
from supervisor.install.host import Host
from supervisor.install.layout import NAME, checkout, resource
from supervisor.install.step import Step

OLDEST = (3, 11)
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
ASKS = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def steps(host: Host, prefix: Path, source: str | None) -> Iterator[Step]:
    """Yield what makes the environment in `prefix`, out of `source`: by default, out of what we were installed from.

    Raises:
        InstallRefused: no Python here is fit for it.
    """
    if source is None and Path(sys.prefix) == prefix:
        yield Step(f"keep   {prefix} (the environment that runs this, {NAME} {__version__})")
        return
    python, version = _python()
    wanted = source or _own_source()
    there = _version_in(host, prefix)
    clears = [] if there in (None, version) else ["--clear"]
    done = "keep " if there == version else "make "
    ours = str(prefix / "bin/python")
    locked = resource("requirements.txt")
    yield Step(
        f"{done}  {prefix} (an environment of Python {version}, {python})",
        lambda: _make(host, prefix, str(python), *clears),
    )
    yield Step(
        f"pip    {len(re.findall('==', locked.read_text()))} locked packages into {prefix}",
        lambda: _run(host, ours, *PIP, "install", "--require-hashes", "--requirement", str(locked)),
    )
    yield Step(
        f"pip    {wanted} into {prefix}",
        lambda: _run(host, ours, *PIP, "install", "--no-deps", "--force-reinstall", wanted),
    )
    yield Step(f"check  {prefix}: what it needs is there", lambda: _run(host, ours, "-m", "pip", "check"))


def _make(host: Host, prefix: Path, python: str, *clears: str) -> None:
    host.claim(prefix)  # first, so that one which was interrupted is known as ours when it is tried again
    host.run(python, "-m", "venv", *clears, str(prefix))
    host.claim(prefix)  # again: what is cleared is gone with all in it


def _run(host: Host, *command: str) -> None:
    host.run(*command)


def _python() -> tuple[Path, str]:
    """Return the Python that the service may use, and its version: ours, or Debian's where ours is somebody's own."""
    ours = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    for python in (ours, Path("/usr/bin/python3")):
        if _everybody_may_run(python) and (version := _version(python)) is not None:
            return python, version
    wanted = ".".join(map(str, OLDEST))
    raise InstallRefused(
        f"no Python of {wanted} or later, with venv, that every user may run ({ours} is not):"
        " install one (Debian: apt-get install python3 python3-venv)"
    )


def _everybody_may_run(python: Path) -> bool:
    """Whether a user who owns nothing may run it: nobody sees root's home, where pyenv and uv put theirs."""
    try:
        python = python.resolve(strict=True)
        return all(each.stat().st_mode & stat.S_IXOTH for each in (python, *python.parents))
    except OSError:
        return False


def _version(python: Path) -> str | None:
    """Return the version of a Python that is new enough and can make environments."""
    try:
        asked = subprocess.run([python, "-c", ASKS], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    version = asked.stdout.strip()
    return version if tuple(map(int, version.split("."))) >= OLDEST else None


def _version_in(host: Host, prefix: Path) -> str | None:
    """Return the Python version that the environment in `prefix` was made with; None where there is none."""
    made = (host.read(prefix / "pyvenv.cfg") or b"").decode(errors="replace")
    found = re.search(r"^version\s*=\s*(\d+\.\d+)", made, re.MULTILINE)
    return found[1] if found else None


def _own_source() -> str:
    """Return what pip shall install: what we were installed from ourselves, as far as that is known and still there."""
    if (tree := checkout()) is not None:
        return str(tree)
    try:
        told = json.loads(metadata.distribution(NAME).read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        told = {}
    address = urlsplit(str(told.get("url", "")))
    if address.scheme == "file" and os.path.exists(path := unquote(address.path)):  # noqa: PTH110
        return path
    return f"{NAME}=={__version__}"
