"""Which incident is meant: the id of one, or a target's name for its newest."""

import click

from supervisor.cli import suggest
from supervisor.cli.http import Answer, Daemon, DaemonRefused
from supervisor.cli.terminal import PROG, say

WHICH = "An incident's id as in list, or a target's name for its newest."

one_incident = click.argument("word", metavar="ID", shell_complete=suggest.incidents, help=WHICH)


def found(daemon: Daemon, word: str) -> Answer | None:
    """Return the incident of that id, or the newest of the target of that name; say so where there is neither."""
    try:
        return daemon.incident(word)
    except DaemonRefused as refused:
        if refused.code != "NoSuchIncident":
            raise
    try:
        newest = daemon.incidents(target=word, limit=1).content["incidents"]
    except DaemonRefused as refused:
        if refused.code != "NoSuchTarget":
            raise
        say(f"{word}: ERROR (no such incident, and no such process: see {PROG} incident list)")
        return None
    if not newest:
        say(f"{word}: ERROR (no incident of it is remembered)")
        return None
    return daemon.incident(str(newest[0].get("id")))
