"""`version`: of this program and of the daemon."""

import click

from supervisor import __version__
from supervisor.cli.http import Daemon
from supervisor.cli.options import with_daemon
from supervisor.cli.terminal import OK, PROG, say


@click.command()
@with_daemon
def version(daemon: Daemon) -> int:
    """Tell the version of this program and of the daemon."""
    say(f"{PROG} {__version__}")
    facts = daemon.status().content["daemon"]
    say(f"benchai-supervisord {facts.get('version')} (pid {facts.get('pid')}, since {facts.get('started_at')})")
    return OK
