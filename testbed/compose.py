"""Find a Docker Compose of version 2 or later, or fetch Debian's into `.cache/`; nothing is installed on the machine.

Debian bookworm's own `docker-compose` is 1.29, which rejects `name:` and more; trixie's is a single static binary
that runs anywhere. It is fetched by apt with private lists and sources: the machine's mirror, the suite renamed.
"""

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed import debian
from testbed.cache import REPOSITORY, cache_dir
from testbed.debian import NotToBeHad

SUITE: Final = "trixie"
PACKAGE: Final = "docker-compose"
BINARY_IN_PACKAGE: Final = "usr/libexec/docker/cli-plugins/docker-compose"
OLDEST: Final = 2
VERSION_TIMEOUT_S: Final = 20
RUN_TIMEOUT_S: Final = 300
FILE: Final = REPOSITORY / "compose" / "docker-compose.yml"
PROXY_FILE: Final = REPOSITORY / "compose" / "docker-proxy.yml"


class ComposeFailed(Exception):
    """Compose left with an error; the message holds what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """Compose on this project's own file or another, with nothing set but `variables`: no `.env` at hand counts."""

    command: Sequence[str]
    project: str
    variables: Mapping[str, str]
    file: Path = FILE
    more: Sequence[Path] = ()  # files that change it

    def run(self, *arguments: str) -> str:
        """Run compose and return what it printed.

        Raises:
            ComposeFailed: it left with an error.
        """
        outside = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        done = subprocess.run(
            [*self.command, *self._flags(), *arguments],
            env={**outside, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_TIMEOUT_S,
        )
        if done.returncode:
            raise ComposeFailed(f"compose {' '.join(arguments)} left with {done.returncode}:\n{done.stderr[-4000:]}")
        return done.stdout

    def _flags(self) -> list[str]:
        files = [word for file in (self.file, *self.more) for word in ("--file", str(file))]
        return ["--project-name", self.project, "--env-file", os.devnull, *files]

    def services(self, *profile: str) -> dict[str, dict[str, Any]]:
        """Return the services as compose understands them, by name."""
        services: dict[str, dict[str, Any]] = json.loads(self.run(*profile, "config", "--format", "json"))["services"]
        return services


def compose_command() -> list[str]:
    """Return the words to put before `up`, `config`, ….

    Raises:
        NotToBeHad: there is none here and none can be fetched; the message says why and what to do.
    """
    fetched = cache_dir("compose") / "docker-compose"
    for command in (["docker", "compose"], ["docker-compose"], [str(fetched)]):
        if version_of(command) is not None:
            return command
    with (fetched.parent / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # of two that need it, the second finds the first's
        if version_of([str(fetched)]) is None:
            _fetch(fetched)
    return [str(fetched)]


def version_of(command: Sequence[str]) -> str | None:
    """Return the version of a compose that will do, None for anything else."""
    try:
        said = subprocess.run(
            [*command, "version", "--short"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=VERSION_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.fullmatch(r"v?((\d+)\.\d+\S*)", said.stdout.strip())
    return version[1] if version and int(version[2]) >= OLDEST else None


def _fetch(target: Path) -> None:
    mirror = debian.mirror()
    if mirror is None:
        raise NotToBeHad(
            "no `docker compose` of version 2 here, and this is no Debian to fetch one from: install it (Ubuntu:"
            " apt-get install docker-compose-v2)"
        )
    print(f"compose: none of version {OLDEST} here; fetching Debian {SUITE}'s {PACKAGE}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        (package,) = debian.fetch(SUITE, PACKAGE, scratch=Path(scratch), mirror=mirror)
        unpacked = Path(scratch, "unpacked")
        debian.run_logged(["dpkg-deb", "-x", str(package), str(unpacked)], log="dpkg-deb.log", timeout_s=60)
        Path(unpacked, BINARY_IN_PACKAGE).rename(target)
    if version_of([str(target)]) is None:
        raise NotToBeHad(f"{target} came from Debian {SUITE} and does not run here; install docker compose v2 yourself")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the command to run compose with, fetching it first where need be."""
    argparse.ArgumentParser(prog="testbed.compose", description=main.__doc__).parse_args(arguments)
    started = time.monotonic()
    try:
        command = compose_command()
    except NotToBeHad as problem:
        print(f"compose: {problem}", file=sys.stderr)
        return 1
    print(f"compose: version {version_of(command)}, found in {time.monotonic() - started:.1f} s", file=sys.stderr)
    print(" ".join(command))
    return 0


if __name__ == "__main__":
    sys.exit(main())
