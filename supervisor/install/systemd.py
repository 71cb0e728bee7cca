"""Install on a host that runs systemd, and uninstall: the plans, out of what is there. Done by `carry_out`."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from supervisor.errors import InstallRefused
from supervisor.install import environment
from supervisor.install.host import Host
from supervisor.install.layout import (
    COMMANDS,
    CONFIG_DIR,
    LOCAL,
    LOGS_DIR,
    NAME,
    PREFIX,
    RECORD,
    SETTINGS,
    STATE_DIR,
    USER,
    Copy,
    copies,
    digest,
)
from supervisor.install.step import Step

DOCKER = "docker"
DRY = "a dry run: nothing of this is done"
NEXT = f"""\
Next:
  1. name your servers in {SETTINGS}
  2. benchai-supervisorctl check-config {SETTINGS}
  3. systemctl enable --now {NAME}
  4. benchai-supervisorctl doctor"""


def install(host: Host, *, prefix: Path = PREFIX, source: str | None = None, docker: bool = True) -> list[Step]:
    """Return what is to be done; on a host that has it already, that is an upgrade.

    Raises:
        InstallRefused: it cannot be done here.
    """
    host.check()
    _check_prefix(prefix)
    if host.has_other(prefix):
        raise InstallRefused(f"--prefix {prefix}: something else is there; give a directory of its own")
    wanted, record = copies(prefix), host.record(prefix)
    return [
        *environment.steps(host, prefix, source),
        *(step for each in wanted for step in _placed(host, each, record)),
        *(_completes(host, prefix, shell, path) for shell, path in LOCAL.completions.items()),
        *(step for name in COMMANDS for step in _linked(host, LOCAL.bin / name, prefix / "bin" / name)),
        Step(f"write  {prefix / RECORD}", partial(host.keep_record, prefix, wanted)),
        _ran(host, "systemd-sysusers", str(LOCAL.sysusers)),
        _ran(host, "systemd-tmpfiles", "--create", str(LOCAL.tmpfiles)),
        *(_given_docker(host) if docker else ()),
        _ran(host, "systemctl", "daemon-reload"),
        _ran(host, "systemctl", "try-restart", LOCAL.unit.name),  # the models go on meanwhile
    ]


def uninstall(host: Host, *, prefix: Path = PREFIX, purge: bool = False) -> list[Step]:
    """Return what is to be done to remove what was written; settings and state only where they are to be purged.

    Raises:
        InstallRefused: it cannot be done here.
    """
    host.check()
    _check_prefix(prefix)
    ours = [*map(Path, host.record(prefix)), *(each.to for each in copies(prefix))]
    ours += LOCAL.completions.values()
    files = [each for each in dict.fromkeys(ours) if each != SETTINGS]
    files += [path.with_name(f"{path.name}.new") for path in (*files, SETTINGS)]
    links = [LOCAL.bin / name for name in COMMANDS if host.leads_to(LOCAL.bin / name) == prefix / "bin" / name]
    there = [each for each in files if host.at(each).exists()]
    removed = [Step(f"remove {path}", partial(_removed, host, path)) for path in (*there, *links)]
    stops = [_ran(host, "systemctl", "disable", "--now", LOCAL.unit.name)] if host.at(LOCAL.unit).exists() else []
    reloads = [_ran(host, "systemctl", "daemon-reload")] if stops else []
    tree = [_felled(host, prefix)] if host.has_ours(prefix) else []
    kept = [each for each in (CONFIG_DIR, STATE_DIR, LOGS_DIR) if host.at(each).exists()]
    rest = (
        [_felled(host, each) for each in kept]
        if purge
        else [Step(f"keep   {each} (--purge removes it)") for each in kept]
    )
    user = [_without_user(host)] if purge and host.has_user(USER) else []
    return [*stops, *removed, *reloads, *rest, *user, *tree]  # the last: it may be what runs this


def carry_out(steps: Iterable[Step], *, say: Callable[[str], None], dry_run: bool) -> None:
    """Say each step and do it; a dry run only says.

    Raises:
        InstallRefused: one failed; those before it are done, and all of them may be done again.
    """
    if not dry_run:
        os.umask(0o022)  # what is written here is for every user to read, but for the settings
    for step in steps:
        say(step.says)
        if dry_run:
            continue
        try:
            step.do()
        except OSError as error:
            raise InstallRefused(f"{' '.join(step.says.split())}: {error}") from error


def _placed(host: Host, copy: Copy, record: Mapping[str, str]) -> Iterator[Step]:
    there = host.read(copy.to)
    if there == copy.content:
        yield Step(f"keep   {copy.to} (as it is)")
        return
    if copy.keeps_edits and host.is_edited(copy, record):
        yield Step(f"keep   {copy.to} (edited by hand)")
        beside = copy.to.with_name(f"{copy.to.name}.new")
        if record.get(str(copy.to)) != copy.digest and host.read(beside) != copy.content:
            yield Step(f"write  {beside} (what it would be now)", partial(host.write, beside, copy.content, copy.mode))
        return
    if there is not None and record.get(str(copy.to)) != digest(there):
        yield _set_aside(host, copy.to)
    again = "" if there is None else " (a newer one)"
    yield Step(f"write  {copy.to}{again}", partial(host.write, copy.to, copy.content, copy.mode))


def _completes(host: Host, prefix: Path, shell: str, path: Path) -> Step:
    def write() -> None:
        host.write(path, host.run(str(prefix / "bin" / COMMANDS[1]), "completion", shell).encode(), 0o644)

    return Step(f"write  {path} (what {COMMANDS[1]} completion {shell} prints)", write)


def _linked(host: Host, path: Path, to: Path) -> Iterator[Step]:
    if (leads_to := host.leads_to(path)) == to:
        yield Step(f"keep   {path} (as it is)")
        return
    if leads_to is None and host.at(path).exists():
        yield _set_aside(host, path)
    yield Step(f"link   {path} -> {to}", partial(host.link, path, to))


def _set_aside(host: Host, path: Path) -> Step:
    """Keep what somebody else has put where one of ours belongs."""
    aside = path.with_name(f"{path.name}.old")

    def move() -> None:
        host.at(path).replace(host.at(aside))

    return Step(f"move   {path} to {aside} (it is not ours, or was edited)", move)


def _ran(host: Host, *command: str) -> Step:
    def run() -> None:
        host.run(*command)

    return Step(f"run    {' '.join(command)}", run)


def _given_docker(host: Host) -> list[Step]:
    """Let the daemon use Docker where there is one: it is what model servers mostly run in."""
    members = host.members_of(DOCKER)
    if members is None or USER in members:
        return []
    step = _ran(host, "usermod", "--append", "--groups", DOCKER, USER)
    return [step._replace(says=f"{step.says} (as good as root: --no-docker leaves it out)")]


def _removed(host: Host, path: Path) -> None:
    host.at(path).unlink(missing_ok=True)


def _felled(host: Host, path: Path) -> Step:
    return Step(f"remove {path} and all in it", lambda: shutil.rmtree(host.at(path)))


def _check_prefix(prefix: Path) -> None:
    """Refuse a directory that is not one's own to give: it stands in the unit, and one day all in it is removed."""
    is_plain = re.fullmatch(r"/[\w.+/-]+", str(prefix), re.ASCII)
    if not is_plain or ".." in prefix.parts or len(prefix.parts) < len(PREFIX.parts):
        raise InstallRefused(f"--prefix {prefix}: give a directory of its own, without spaces, such as {PREFIX}")


def _without_user(host: Host) -> Step:
    def remove() -> None:
        with contextlib.suppress(InstallRefused):
            host.run("userdel", USER)

    return Step(f"run    userdel {USER} (it stays where models of its own run on)", remove)
