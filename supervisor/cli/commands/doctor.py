"""`doctor`: what stands in the way on this machine, each with its cure."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.commands.check_config import FILE
from supervisor.cli.doctor_table import as_document, lines
from supervisor.cli.formats import JSON, TABLE, as_json, format_option
from supervisor.cli.options import named_server
from supervisor.cli.terminal import FAILED, OK, is_coloured, is_terminal, put, width
from supervisor.cli.text import nearest

if TYPE_CHECKING:
    from supervisor.doctor.around import Around
    from supervisor.doctor.examination import Report
    from supervisor.settings import Settings


@click.command()
@click.argument("names", metavar="[NAME...]", nargs=-1, help="What concerns these targets only.")
@click.option(
    "--settings",
    "file",
    metavar="FILE",
    type=FILE,
    help="The daemon's settings (the first there is of $BENCHAI_SUPERVISOR_SETTINGS, ./settings.toml, /etc).",
)
@format_option(TABLE, JSON)
@click.pass_context
def doctor(context: click.Context, names: tuple[str, ...], *, file: Path | None, form: str) -> int:
    """Say what stands in the way, each with its cure: engine, ports, servers, routers, rights, disk, GPU, versions.

    It looks at the machine it runs on, with or without a running daemon, and changes nothing: no model is asked for
    anything and no sleeper is woken. Root sees most. Exits with 0 where nothing is in the way, 1 where something is.
    """
    from supervisor.settings_check import check

    server = named_server(context)
    if server is not None and not server.startswith("unix:"):
        raise click.UsageError("doctor looks at the machine it runs on: call it there, without --host", context)
    checked = check(file)
    if checked.settings is None:
        from supervisor.doctor.examination import of_problems

        return _told(of_problems(checked.problems), None, form=form)
    around = _around(checked.settings, checked.path, frozenset(names) - {"all"}, server)
    known = [each.name for each in around.settings.targets]
    for name in names:
        if name not in (*known, "all"):
            raise click.UsageError(f"there is no target {name}; {nearest(name, known)}", context)
    return _told(_examined(around), around, form=form)


def _examined(around: "Around") -> "Report":
    from supervisor.doctor.checks import CHECKS
    from supervisor.doctor.examination import examine

    return examine(around, CHECKS)


def _around(settings: "Settings", path: Path, names: frozenset[str], server: str | None) -> "Around":
    """Return what is to be looked at, with the daemon's own word where it answers."""
    from supervisor.cli.http import Daemon
    from supervisor.doctor.around import Around
    from supervisor.doctor.labels import with_labelled
    from supervisor.errors import SupervisorError

    status, silence = None, ""
    try:
        status = Daemon(server or f"unix://{settings.http.socket.absolute()}").status().content
    except SupervisorError as error:
        silence = str(error)
    whole, problems = with_labelled(settings)
    return Around(settings=whole, path=path, names=names, status=status, silence=silence, label_problems=problems)


def _told(report: "Report", around: "Around | None", *, form: str) -> int:
    if form == JSON:
        put(as_json(as_document(report, around)))
    else:
        columns = width() if is_terminal() else None
        for line in lines(report, width=columns, is_coloured=is_coloured()):
            put(line)
    return FAILED if report.is_in_the_way else OK
