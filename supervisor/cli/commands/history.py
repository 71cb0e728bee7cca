"""`history`: what became of targets, and what was done to them."""

import click

from supervisor.cli import suggest
from supervisor.cli.formats import JSON, TABLE, TSV, as_json, as_tsv, format_option
from supervisor.cli.history_table import COLUMNS, entries, rows
from supervisor.cli.http import Daemon, DaemonRefused
from supervisor.cli.options import Understood, with_daemon
from supervisor.cli.terminal import FAILED, OK, is_terminal, put, say, width
from supervisor.cli.text import nearest
from supervisor.cli.times import seconds

USUAL_LIMIT, MOST = 20, 500


@click.command()
@click.argument("name", metavar="[NAME]", required=False, shell_complete=suggest.targets, help="Of this target only.")
@click.option(
    "--since", "since_s", metavar="TIME", type=Understood("time", seconds), help="Not older than 90s, 30m, 2h or 1d."
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, MOST),
    help=f"The newest N only ({USUAL_LIMIT}, or all there are with --since).",
)
@format_option(TABLE, JSON, TSV)
@with_daemon
def history(daemon: Daemon, name: str | None, *, since_s: int | None, limit: int | None, form: str) -> int:
    """What became of targets, and what was done to them, the newest last.

    Three kinds of lines: a target's state that changed, an incident, and something that was done, by whom.
    """
    target = None if name == "all" else name
    most = limit or (MOST if since_s is not None else USUAL_LIMIT)
    try:
        past, incidents = daemon.history(target=target, limit=most), daemon.incidents(target=target, limit=most)
    except DaemonRefused as refused:
        if refused.code != "NoSuchTarget":
            raise
        say(f"{name}: ERROR (no such process; {nearest(str(name), daemon.named(['all']))})")
        return FAILED
    since = None if since_s is None else past.now_s - since_s
    told = entries(past.content, incidents.content, since=since)[-most:]
    if form == JSON:
        put(as_json({"history": told}))
    elif form == TSV:
        for line in as_tsv(COLUMNS, told):
            put(line)
    else:
        columns = width() if is_terminal() else None
        for row in rows(told, width=columns) or [f"{target or 'all'}: nothing"]:
            say(row)
    return OK
