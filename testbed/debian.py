"""What the testbed takes from Debian: this machine's own mirror, and tools that apt can install.

The mirror is read from apt's own view of its sources, so that proxies, caches and local mirrors are used as they are
set up here; no address is written down in this project.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from testbed.cache import cache_dir
from testbed.dockerd import may_install

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")  # of every Debian; it signs all its releases
APT_TIMEOUT_S: Final = 600
LOCK_WAIT_S: Final = 300  # for whoever else is installing something
POLICY: Final = Path("/usr/sbin/policy-rc.d")  # asked before a package's service is started; 101 forbids it


class NotToBeHad(Exception):
    """Something of Debian's cannot be had here; the message says why and what to do."""


def mirror() -> str | None:
    """Return the address of the Debian archive that this machine's apt uses; None where it uses none."""
    codename = _release().get("VERSION_CODENAME")
    if _release().get("ID") != "debian" or not codename or not shutil.which("apt-get"):
        return None
    for target in _stanzas(run_apt("indextargets", "Created-By: Packages")):
        if target.get("Component") == "main" and codename in (target.get("Release"), target.get("Codename")):
            return target["Repo-URI"].rstrip("/")
    return None


def ensure_tool(tool: str, package: str) -> None:
    """Install `package` where `tool` is missing, and say so.

    Raises:
        NotToBeHad: we may not, or apt could not.
    """
    if shutil.which(tool):
        return
    if not may_install():
        raise NotToBeHad(f"{tool} is missing, and only root on Debian or Ubuntu may add it: apt-get install {package}")
    with (cache_dir("debian") / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # apt does one thing at a time, and tests are run side by side
        if shutil.which(tool):
            return
        print(f"testbed: {tool} is missing; we are root on Debian or Ubuntu: apt-get install {package}", flush=True)
        with _no_service_started():
            run_apt("update")
            run_apt("-o", f"DPkg::Lock::Timeout={LOCK_WAIT_S}", "install", "-y", "--no-install-recommends", package)


@contextlib.contextmanager
def _no_service_started() -> Iterator[None]:
    """Have Debian's packages start nothing: what we want of them is a program, and a port of theirs may be in use."""
    try:
        POLICY.touch(0o755, exist_ok=False)
    except FileExistsError:  # somebody has decided that already
        yield
        return
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        yield
    finally:
        POLICY.unlink()


def fetch(suite: str, *packages: str, scratch: Path, mirror: str) -> list[Path]:
    """Let apt fetch and verify packages of another suite, with lists and sources of its own: the machine's stay as is.

    Raises:
        NotToBeHad: apt could not.
    """
    for directory in ("lists/partial", "cache/archives/partial"):
        (scratch / directory).mkdir(parents=True)
    signed_by = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    sources = scratch / "sources.list"
    sources.write_text(f"deb {signed_by}{mirror} {suite} main\n")
    private = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",  # no change of user: the scratch directory is ours alone
        "Acquire::Languages": "none",
    }
    options = [word for key, value in private.items() for word in ("-o", f"{key}={value}")]
    run_apt(*options, "update")
    run_apt(*options, "download", *packages, cwd=scratch)
    return [next(scratch.glob(f"{package}_*.deb")) for package in packages]


def run_apt(*arguments: str, cwd: Path | None = None) -> str:
    """Run apt-get and return what it printed.

    Raises:
        NotToBeHad: it failed; its last words are in the message, all of them in a log file.
    """
    command = ["apt-get", *arguments]
    return run_logged(
        command, log="apt-get.log", cwd=cwd, timeout_s=APT_TIMEOUT_S, env={"DEBIAN_FRONTEND": "noninteractive"}
    )


def run_logged(
    command: Sequence[str], *, log: str, timeout_s: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run `command`, keep what it says on standard error in a file under `.cache/logs`, and return what it printed.

    Raises:
        NotToBeHad: it could not be run, failed or took too long.
    """
    path = cache_dir("logs") / log
    try:
        with path.open("w") as errors:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                check=True,
                timeout=timeout_s,
            )
    except (OSError, subprocess.SubprocessError) as problem:
        last = path.read_text(errors="replace").splitlines()[-1:]
        raise NotToBeHad(f"{' '.join(command[:3])} … failed, see {path}: {''.join(last) or problem}") from problem
    return done.stdout


def _release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _stanzas(text: str) -> list[dict[str, str]]:
    blocks = [block.splitlines() for block in text.split("\n\n") if block.strip()]
    return [dict(line.split(": ", 1) for line in block if ": " in line) for block in blocks]
