"""Ansible in an environment of its own, with community.general's `supervisorctl` module as its users have it.

The collection comes with the package `ansible`, which is 280 MB unpacked: one file is taken out of it.
"""

import json
import os
import re
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

from testbed import own_environment
from testbed.cache import REPOSITORY
from testbed.own_environment import Run

LOCK: Final = REPOSITORY / "requirements" / "ansible.txt"
MODULE: Final = "ansible_collections/community/general/plugins/modules/supervisorctl.py"
RUN_TIMEOUT_S: Final = 120


def ensure_ansible() -> Path:
    """Install what requirements/ansible.txt pins, unless it is there, and return the folder of it all.

    Raises:
        NotToBeHad: it could not be installed.
    """
    return own_environment.ensure("ansible", LOCK, says="Ansible (20 s, 70 MB)", fill=_install)


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


def _install(home: Path, run: Run) -> None:
    pip = str(home / "venv" / "bin" / "pip")
    pinned = re.split(r"(?m)^(?=[a-z0-9])", LOCK.read_text())
    collections = [each for each in pinned if each.startswith("ansible==")]
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        core, whole = Path(scratch, "core.txt"), Path(scratch, "whole.txt")
        core.write_text("".join(each for each in pinned if each not in collections))
        whole.write_text("".join(collections))
        run(pip, "install", "--require-hashes", "-r", str(core))
        run(pip, "download", "--require-hashes", "--no-deps", "--dest", scratch, "-r", str(whole))
        (wheel,) = Path(scratch).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as packed:
            (home / "modules").mkdir(exist_ok=True)
            (home / "modules" / "supervisorctl.py").write_bytes(packed.read(MODULE))
