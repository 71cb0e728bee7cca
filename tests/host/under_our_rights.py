"""Run on the host, by its own Python: may a service with our unit's rights open a socket that is the group docker's?

`python3 under_our_rights.py UNIT` makes such a group and such a socket, and ends with the status of who tried.
"""

import grp
import os
import socket
import subprocess
import sys
from pathlib import Path

PATH = "/run/docker-like.sock"
TRY = f"import socket; socket.socket(socket.AF_UNIX).connect({PATH!r})"
NOT_FOR_A_COMMAND = ("Exec", "Type", "NotifyAccess", "Watchdog", "Timeout", "Restart", "KillMode")


def main() -> int:
    """Make the socket, and have it tried."""
    subprocess.run(["groupadd", "--force", "docker"], check=True)
    subprocess.run(["usermod", "--append", "--groups", "docker", "benchai-supervisor"], check=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(PATH)
        os.chown(PATH, 0, grp.getgrnam("docker").gr_gid)
        Path(PATH).chmod(0o660)
        listener.listen()
        tried = subprocess.run(
            ["systemd-run", "--wait", "--pipe", "--quiet", *_rights(), "python3", "-c", TRY], check=False
        )
    Path(PATH).unlink()
    subprocess.run(["groupdel", "docker"], check=True)
    return tried.returncode


def _rights() -> list[str]:
    """Return what the unit's [Service] says, as far as it is about rights."""
    service = Path(sys.argv[1]).read_text().partition("[Service]\n")[2].partition("[Install]")[0]
    lines = [line for line in service.splitlines() if "=" in line and not line.startswith(("#", *NOT_FOR_A_COMMAND))]
    return [f"--property={line}" for line in lines if "Directory" not in line]


if __name__ == "__main__":
    sys.exit(main())
