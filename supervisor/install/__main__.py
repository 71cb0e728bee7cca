"""`make install`: from a copy of the repository and with nothing but Python. Else: benchai-supervisorctl install."""

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Install or uninstall; return the exit status."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it is what runs this that is to be told
        print("install: needs Python 3.11 or later (PYTHON=/path/to/python3 make install)", file=sys.stderr)  # noqa: T201
        return 1
    from supervisor.errors import InstallRefused
    from supervisor.install import systemd
    from supervisor.install.host import Host
    from supervisor.install.layout import usual_prefix

    parser = argparse.ArgumentParser(prog="python3 -m supervisor.install", description=main.__doc__)
    parser.add_argument("--uninstall", action="store_true", help="remove what an installation has written")
    parser.add_argument("--purge", action="store_true", help="with --uninstall: settings and state too")
    parser.add_argument("--dry-run", action="store_true", help="say the same, and do nothing")
    parser.add_argument("--no-docker", dest="docker", action="store_false", help="leave the group docker alone")
    parser.add_argument("--prefix", type=Path, default=usual_prefix(), help="where the environment is (%(default)s)")
    asked, host = parser.parse_args(argv), Host()
    try:
        if not asked.dry_run:
            host.check_root()
        if asked.uninstall:
            steps = systemd.uninstall(host, prefix=asked.prefix, purge=asked.purge)
        else:
            steps = systemd.install(host, prefix=asked.prefix, docker=asked.docker)
        if asked.dry_run:
            print(systemd.DRY)  # noqa: T201
        systemd.carry_out(steps, say=print, dry_run=asked.dry_run)
    except InstallRefused as refused:
        print(f"install: {refused}", file=sys.stderr)  # noqa: T201
        return 1
    if not asked.uninstall and not asked.dry_run:
        print(systemd.NEXT)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
