"""The machine that is installed on: its files below a root, its commands. Does what it is told, and knows no plan."""

import contextlib
import grp
import json
import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path

from supervisor.errors import InstallRefused
from supervisor.install.layout import COMMANDS, NAME, PACKAGED, RECORD, Copy, digest

COMMAND_WITHIN_S = 600
SYSTEMD_RUNS = Path("/run/systemd/system")  # sd_booted(3)


class Host:
    """One machine. `root` is where its files begin; commands are run on this one, whatever that is."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def at(self, path: Path) -> Path:
        """Return where a path of the host is seen from here."""
        return self._root / path.relative_to("/")

    def check(self) -> None:
        """See that it can be installed on, by us.

        Raises:
            InstallRefused: it cannot; the message says what to do.
        """
        if not self.at(SYSTEMD_RUNS).is_dir():
            raise InstallRefused(
                f"systemd does not run here (no {SYSTEMD_RUNS}): run benchai-supervisord by what starts services here,"
                " or as a container"
            )
        if self.at(PACKAGED.unit).exists():
            raise InstallRefused(
                f"the Debian package is installed ({PACKAGED.unit}): upgrade that, or first apt-get remove {NAME}"
            )

    def check_root(self) -> None:
        """See that we may write to the host.

        Raises:
            InstallRefused: we may not.
        """
        if os.geteuid() != 0:
            raise InstallRefused("only root may write to /etc and /opt: try it with sudo, or see what by --dry-run")

    def read(self, path: Path) -> bytes | None:
        """Return a file's content; None where there is none.

        Raises:
            InstallRefused: it is there and cannot be read.
        """
        try:
            return self.at(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InstallRefused(f"cannot read {path} ({error.strerror}): try it with sudo") from error

    def write(self, path: Path, content: bytes, mode: int) -> None:
        """Put a file in place in one step."""
        target = self.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.aside")
        with open(aside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        if target.exists():  # what its owner and tmpfiles made of it holds
            was = target.stat()
            os.chown(aside, was.st_uid, was.st_gid)
        aside.replace(target)

    def link(self, path: Path, to: Path) -> None:
        """Make `path` lead to `to`, in one step."""
        target = self.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.aside")
        aside.unlink(missing_ok=True)
        aside.symlink_to(to)
        aside.replace(target)

    def leads_to(self, path: Path) -> Path | None:
        """Return where a link leads; None where it is none."""
        target = self.at(path)
        return target.readlink() if target.is_symlink() else None

    def record(self, prefix: Path) -> dict[str, str]:
        """Return what an earlier installation has written: what each path was given, by its digest."""
        try:
            known = json.loads(self.read(prefix / RECORD) or b"{}")
        except ValueError:
            return {}
        return dict(known.get("files", {})) if isinstance(known, dict) else {}

    def keep_record(self, prefix: Path, copies: list[Copy]) -> None:
        """Write down what was written, for the next installation and for the end."""
        files = {str(each.to): each.digest for each in copies}
        self.write(prefix / RECORD, json.dumps({"files": files}, indent=1).encode() + b"\n", 0o644)

    def claim(self, prefix: Path) -> None:
        """Make a new environment known as ours, also where what follows fails."""
        if self.read(prefix / RECORD) is None:
            self.keep_record(prefix, [])

    def has_ours(self, prefix: Path) -> bool:
        """Whether what is there is an environment of ours: made by us, or by hand with our commands in it."""
        return any(self.at(prefix / name).exists() for name in (RECORD, f"bin/{COMMANDS[0]}"))

    def has_other(self, prefix: Path) -> bool:
        """Whether something is there that is not ours to touch."""
        there = self.at(prefix)
        return there.exists() and not self.has_ours(prefix) and not (there.is_dir() and not any(there.iterdir()))

    def has_user(self, name: str) -> bool:
        """Whether there is a user of that name."""
        with contextlib.suppress(KeyError):
            return bool(pwd.getpwnam(name))
        return False

    def is_edited(self, copy: Copy, record: Mapping[str, str]) -> bool:
        """Whether somebody has made the file another one than we have written."""
        there = self.read(copy.to)
        return there is not None and digest(there) not in (copy.digest, record.get(str(copy.to)))

    def members_of(self, group: str) -> list[str] | None:
        """Return who is in a group; None where there is no such group."""
        try:
            return list(grp.getgrnam(group).gr_mem)
        except KeyError:
            return None

    def run(self, *command: str) -> str:
        """Run a command, and return what it printed.

        Raises:
            InstallRefused: it failed; its last words are in the message.
        """
        try:
            done = subprocess.run(  # noqa: S603 - our own words
                command, capture_output=True, text=True, check=False, timeout=COMMAND_WITHIN_S
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise InstallRefused(f"{' '.join(command[:4])}: {error}") from error
        if done.returncode != 0:
            last = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-8:])
            raise InstallRefused(f"{' '.join(command[:6])}: failed with {done.returncode}: {last}")
        return done.stdout
