"""`install` and `uninstall`: put the supervisor on this host as a service, and take it off again."""

from pathlib import Path

import click

from supervisor.cli.terminal import FAILED, OK, complain, say
from supervisor.errors import InstallRefused
from supervisor.install import systemd
from supervisor.install.host import Host
from supervisor.install.layout import PREFIX, usual_prefix
from supervisor.install.step import Step

prefix_option = click.option(
    "--prefix",
    type=click.Path(path_type=Path),
    default=usual_prefix,
    metavar="DIR",
    help=f"Where the service's Python environment is (the one that runs this, if it is one; else {PREFIX}).",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say the same, and do nothing.")


@click.command()
@click.option("--systemd", "by_systemd", is_flag=True, help="As a service of systemd: the only kind so far.")
@click.option("--from", "source", metavar="WHAT", help="What pip installs: a wheel, a folder, or a name and version.")
@click.option("--no-docker", is_flag=True, help="Leave its user out of the group docker, which is as good as root.")
@prefix_option
@dry_run_option
def install(*, by_systemd: bool, source: str | None, no_docker: bool, prefix: Path, dry_run: bool) -> int:
    """Install it on this host, or upgrade what is there; needs root.

    Settings and rules that were edited stay as they are. Nothing is started before you have named your servers.
    """
    if not by_systemd:
        raise click.UsageError("say what shall run it: --systemd")
    try:
        host = _host(dry_run=dry_run)
        _do(systemd.install(host, prefix=prefix, source=source, docker=not no_docker), dry_run=dry_run)
    except InstallRefused as refused:
        complain(str(refused))
        return FAILED
    for line in () if dry_run else systemd.NEXT.splitlines():
        say(line)
    return OK


@click.command()
@click.option("--purge", is_flag=True, help="Remove settings, history and its user too.")
@prefix_option
@dry_run_option
def uninstall(*, purge: bool, prefix: Path, dry_run: bool) -> int:
    """Remove from this host what `install` has written; settings and state stay. No model is touched."""
    try:
        host = _host(dry_run=dry_run)
        _do(systemd.uninstall(host, prefix=prefix, purge=purge), dry_run=dry_run)
    except InstallRefused as refused:
        complain(str(refused))
        return FAILED
    return OK


def _host(*, dry_run: bool) -> Host:
    host = Host()
    if not dry_run:
        host.check_root()
    return host


def _do(steps: list[Step], *, dry_run: bool) -> None:
    if dry_run:
        say(systemd.DRY)
    systemd.carry_out(steps, say=say, dry_run=dry_run)
