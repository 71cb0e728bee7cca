"""`why`: the story of one target."""

import click

from supervisor.cli.formats import JSON, TABLE, as_json, format_option
from supervisor.cli.http import Daemon, DaemonRefused
from supervisor.cli.options import one_name, with_daemon
from supervisor.cli.terminal import FAILED, OK, put, say, width
from supervisor.cli.text import nearest
from supervisor.cli.why_story import lines


@click.command()
@one_name
@format_option(TABLE, JSON)
@with_daemon
def why(daemon: Daemon, name: str, *, form: str) -> int:
    """The story of one target: what is believed, why, and what comes next."""
    try:
        answer = daemon.why(name)
    except DaemonRefused as refused:
        if refused.code != "NoSuchTarget":
            raise
        say(f"{name}: ERROR (no such process; {nearest(name, daemon.named(['all']))})")
        return FAILED
    if form == JSON:
        put(as_json(answer))
        return OK
    for line in lines(answer, width=width()):
        say(line)
    return OK
