"""`doctor`: what stands in the way on this machine, each with its cure."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.commands.check_config import FILE
from supervisor.cli.doctor_table import as_document, lines
from supervisor.cli.formats import JSON, TABLE, as_json, format_option
from supervisor.cli.options import DEFAULT_SERVER, named_server
from supervisor.cli.terminal import FAILED, OK, is_coloured, is_terminal, put, width
from supervisor.cli.text import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.doctor.around import Around
    from supervisor.doctor.examination import Report
    from supervisor.settings import Settings


ANSWER_S = 3.0  # the daemon answers from memory


@click.command()
@click.argument("names", metavar="[NAME...]", nargs=-1, help="What concerns these targets only.")
@click.option(
    "--settings",
    "file",
    metavar="FILE",
    type=FILE,
    help="The daemon's settings (those that it runs by, or its unit names; else where it would look for them).",
)
@format_option(TABLE, JSON)
@click.pass_context
def doctor(context: click.Context, names: tuple[str, ...], *, file: Path | None, form: str) -> int:
    """Say what stands in the way, each with its cure: engine, ports, servers, routers, rights, disk, GPU, versions.

    It looks at the machine it runs on, with or without a running daemon, and changes nothing: no model is asked for
    anything and no sleeper is woken. Root sees most. Exits with 0 where nothing is in the way, 1 where something is.
    """
    server = named_server(context)
    if server is not None and not server.startswith("unix:"):
        raise click.UsageError("doctor looks at the machine it runs on: call it there, without --host", context)
    patient = _patient(file, server, frozenset(names) - {"all"})
    if not isinstance(patient, tuple):
        known = [each.name for each in patient.settings.targets]
        for name in patient.names - set(known):
            raise click.UsageError(f"there is no target {name}; {nearest(name, known)}", context)
        return _told(_examined(patient), patient, form=form)
    from supervisor.doctor.examination import of_problems

    return _told(of_problems(patient), None, form=form)


def _patient(file: Path | None, server: str | None, names: frozenset[str]) -> "Around | tuple[str, ...]":
    """Return what is to be looked at, or what is wrong with the settings that say what that is."""
    from supervisor.doctor.around import Around
    from supervisor.doctor.labels import with_labelled
    from supervisor.doctor.whose_settings import settings_of
    from supervisor.settings_check import check

    status, silence = _asked(server or DEFAULT_SERVER)
    checked = check(file or settings_of(status))
    if checked.settings is None:
        return checked.problems
    if server is None:
        status, silence = _asked_by(checked.settings)
    whole, problems = with_labelled(checked.settings)
    return Around(
        settings=whole,
        path=checked.path,
        names=names,
        status=status,
        silence=silence,
        label_problems=problems,
    )


def _asked_by(settings: "Settings") -> "tuple[Mapping[str, Any] | None, str]":
    """Ask the daemon of these settings, by its socket, or by its port, which lets everybody read."""
    http = settings.http
    status, silence = _asked(f"unix://{http.socket.absolute()}")
    if status is None and "permission denied" in silence and http.port:
        address = f"[{http.host}]" if ":" in http.host else http.host
        status, _ = _asked(f"http://{address}:{http.port}")
    return status, silence


def _asked(server: str) -> "tuple[Mapping[str, Any] | None, str]":
    """Return what the daemon says of itself, or why it says nothing."""
    from supervisor.cli.http import Daemon
    from supervisor.errors import SupervisorError

    try:
        return Daemon(server, answer_s=ANSWER_S).status().content, ""
    except SupervisorError as error:
        return None, str(error)


def _examined(around: "Around") -> "Report":
    from supervisor.doctor.checks import CHECKS
    from supervisor.doctor.examination import examine

    return examine(around, CHECKS)


def _told(report: "Report", around: "Around | None", *, form: str) -> int:
    if form == JSON:
        put(as_json(as_document(report, around)))
    else:
        columns = width() if is_terminal() else None
        path = None if around is None else around.path
        for line in lines(report, settings=path, width=columns, is_coloured=is_coloured()):
            put(line)
    return FAILED if report.is_in_the_way else OK
