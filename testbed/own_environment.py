"""Python environments under `.cache/` for programs that need one of their own, made once from what a lock file pins."""

import fcntl
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from testbed.cache import cache_dir
from testbed.debian import run_logged

TIMEOUT_S: Final = 900
Run = Callable[..., None]  # a command's words; raises NotToBeHad where it fails


def ensure(name: str, *locks: Path, says: str, fill: Callable[[Path, Run], None]) -> Path:
    """Return the folder `name` with an environment `venv` in it, filled anew where the lock files have changed.

    `says` is what is installed, for whoever waits: how long it takes and how large it is; `fill` installs it.

    Raises:
        NotToBeHad: it could not be installed.
    """
    home = cache_dir(name)
    mark = home / "installed"
    pinned = b"".join(lock.read_bytes() for lock in locks)
    wanted = f"{home} {sys.version} {hashlib.sha256(pinned).hexdigest()}"

    def run(*command: str) -> None:
        run_logged(command, log=f"{name}-install.log", timeout_s=TIMEOUT_S)

    with (home / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # of two that need it, the second finds the first's
        if not mark.exists() or mark.read_text() != wanted:
            print(f"testbed: installing {says} into {home}", flush=True)
            mark.unlink(missing_ok=True)
            run(sys.executable, "-m", "venv", "--clear", str(home / "venv"))
            fill(home, run)
            mark.write_text(wanted)
    return home
