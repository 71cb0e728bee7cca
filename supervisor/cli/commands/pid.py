"""`pid`: the daemon's process id, or those of targets, as supervisorctl prints them."""

import click

from supervisor.cli import suggest
from supervisor.cli.http import Daemon
from supervisor.cli.options import with_daemon
from supervisor.cli.terminal import FAILED, OK, say
from supervisor.cli.text import nearest


@click.command()
@click.argument(
    "names",
    metavar="[NAME...]",
    nargs=-1,
    shell_complete=suggest.targets_or_all,
    help="Targets' names as in status; all: every one. The daemon's own where none is given.",
)
@with_daemon
def pid(daemon: Daemon, names: tuple[str, ...]) -> int:
    """The daemon's process id, or those of targets, a line each.

    0, and exit status 1, for a target that does not run or whose engine does not tell.
    """
    content = daemon.status().content
    if not names:
        say(str(content["daemon"].get("pid")))
        return OK
    known = {each["name"]: each.get("pid") or 0 for each in content["targets"]}
    if "all" in names:
        for number in known.values():
            say(str(number))
        return OK
    for name in names:
        say(str(known[name]) if name in known else f"No such process {name} ({nearest(name, list(known))})")
    return OK if all(known.get(name) for name in names) else FAILED
