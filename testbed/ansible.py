"""Ansible in an environment of its own, with community.general's `supervisorctl` module as its users have it.

The collection comes with the package `ansible`, which is 280 MB unpacked: one file is taken out of it.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

from testbed.cache import REPOSITORY, cache_dir
from testbed.debian import run_logged

LOCK: Final = REPOSITORY / "requirements" / "ansible.txt"
MODULE: Final = "ansible_collections/community/general/plugins/modules/supervisorctl.py"
INSTALL_TIMEOUT_S: Final = 600
RUN_TIMEOUT_S: Final = 120


def ensure_ansible() -> Path:
    """Install what requirements/ansible.txt pins, unless it is there, and return the folder of it all.

    Raises:
        NotToBeHad: it could not be installed.
    """
    home = cache_dir("ansible")
    mark = home / "installed"
    wanted = f"{home} {sys.version} {hashlib.sha256(LOCK.read_bytes()).hexdigest()}"
    with (home / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # of two that need it, the second finds the first's
        if not mark.exists() or mark.read_text() != wanted:
            print(f"testbed: installing Ansible into {home}: 20 s, 70 MB", flush=True)
            mark.unlink(missing_ok=True)
            _install(home)
            mark.write_text(wanted)
    return home


def run_module(module: str, arguments: dict[str, object], *, folder: Path) -> tuple[bool, dict[str, Any]]:
    """Have Ansible run a module on this machine; return whether it went well, and what it says.

    Raises:
        RuntimeError: Ansible did not get as far as the module.
    """
    home = ensure_ansible()
    python = home / "venv" / "bin" / "python"
    words = ["all", "-i", "localhost,", "-c", "local", "-m", module, "-a", json.dumps(arguments), "--one-line"]
    environment = {
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_LIBRARY": str(home / "modules"),
        "ANSIBLE_PYTHON_INTERPRETER": str(python),
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [str(home / "venv" / "bin" / "ansible"), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    found = re.search(r"^localhost \| (\w+)!? => (\{.*\})$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"ansible ended with {done.returncode}: {done.stdout}{done.stderr}")
    return found[1] in ("SUCCESS", "CHANGED"), json.loads(found[2])


def _install(home: Path) -> None:
    pip = str(home / "venv" / "bin" / "pip")
    pinned = re.split(r"(?m)^(?=[a-z0-9])", LOCK.read_text())
    collections = [each for each in pinned if each.startswith("ansible==")]
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        core, whole = Path(scratch, "core.txt"), Path(scratch, "whole.txt")
        core.write_text("".join(each for each in pinned if each not in collections))
        whole.write_text("".join(collections))
        _run(sys.executable, "-m", "venv", "--clear", str(home / "venv"))
        _run(pip, "install", "--require-hashes", "-r", str(core))
        _run(pip, "download", "--require-hashes", "--no-deps", "--dest", scratch, "-r", str(whole))
        (wheel,) = Path(scratch).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as packed:
            (home / "modules").mkdir(exist_ok=True)
            (home / "modules" / "supervisorctl.py").write_bytes(packed.read(MODULE))


def _run(*command: str) -> None:
    run_logged(command, log="ansible-install.log", timeout_s=INSTALL_TIMEOUT_S)
