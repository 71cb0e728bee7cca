"""`status`: what runs, and whether it really answers."""

import click

from supervisor.cli import suggest
from supervisor.cli.formats import JSON, TABLE, TSV, as_json, as_tsv, format_option
from supervisor.cli.http import Answer, Daemon
from supervisor.cli.options import with_daemon
from supervisor.cli.status_table import Target, chosen, is_ready, outdated, rows
from supervisor.cli.terminal import CANNOT_TELL, NOT_READY, OK, complain, is_coloured, is_terminal, put, say, width
from supervisor.errors import SupervisorError

COLUMNS = ("name", "kind", "state", "verdict", "routable", "pid", "uptime_s", "restarts", "since", "summary")


@click.command()
@click.argument("names", metavar="[NAME...]", nargs=-1, shell_complete=suggest.targets, help="These targets only.")
@format_option(TABLE, JSON, TSV)
@click.option("-w", "--watch", "is_watched", is_flag=True, help="A live view on a terminal, until q or Ctrl-C.")
@with_daemon
def status(daemon: Daemon, names: tuple[str, ...], *, form: str, is_watched: bool) -> int:
    """One line per target: state, pid, uptime, and whether it really answers.

    Exits with 0 where all that were asked for are ready, 3 where some are not, 4 where nobody can tell.
    """
    if is_watched:
        return _watch(daemon, names, form=form)
    try:
        answer = daemon.status()
    except SupervisorError as error:
        complain(str(error))
        return CANNOT_TELL
    shown, unknown = chosen(answer.content["targets"], names)
    problems = outdated(answer.content, now_s=answer.now_s)
    for problem in [*problems, *answer.content["daemon"].get("problems", [])]:
        complain(problem)
    for name in unknown:
        (say if form == TABLE else complain)(f"{name}: ERROR (no such process)")
    _show(answer, shown, form=form)
    if problems or unknown:
        return CANNOT_TELL
    return OK if all(is_ready(target) for target in shown) else NOT_READY


def _show(answer: Answer, shown: list[Target], *, form: str) -> None:
    for line in _lines(answer, shown, form=form):
        put(line)


def _lines(answer: Answer, shown: list[Target], *, form: str) -> list[str]:
    if form == JSON:
        return [as_json({**answer.content, "targets": shown})]
    if form == TSV:
        return as_tsv(COLUMNS, shown)
    if not is_terminal():
        return rows(shown)
    from supervisor.cli.status_screen import lines

    return lines(shown, width=width(), is_coloured=is_coloured())


def _watch(daemon: Daemon, names: tuple[str, ...], *, form: str) -> int:
    from supervisor.cli.watch import watch

    if form != TABLE:
        raise click.UsageError(f"-w draws a table for people: leave out -f {form}, or -w")
    if not is_terminal():
        raise click.UsageError(
            "-w draws on a terminal, and there is none here: ask for status now and then, or follow GET /v1/events"
        )
    return watch(daemon, names)
