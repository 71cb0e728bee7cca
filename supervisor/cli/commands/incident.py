"""`incident list`, `show` and `export`: what went wrong, from the daemon to the terminal or into a file."""

from pathlib import Path

import click

from supervisor.cli import suggest
from supervisor.cli.formats import JSON, TABLE, TSV, as_json, as_tsv, format_option
from supervisor.cli.http import Answer, Daemon, DaemonRefused
from supervisor.cli.incidents import found, one_incident
from supervisor.cli.options import with_daemon
from supervisor.cli.terminal import FAILED, OK, is_terminal, put, say, width
from supervisor.cli.text import nearest

STANDARD_OUTPUT = "-"
COLUMNS = ("id", "opened_at", "closed_at", "targets", "cause", "ended")
USUAL_LIMIT, MOST_INCIDENTS = 20, 500


@click.group()
def incident() -> None:
    """What went wrong, why, and what became of it."""


@incident.command("list")
@click.argument(
    "name", metavar="[NAME]", required=False, shell_complete=suggest.targets, help="Those of this target only."
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, MOST_INCIDENTS),
    default=USUAL_LIMIT,
    help=f"The newest N only ({USUAL_LIMIT}).",
)
@format_option(TABLE, JSON, TSV)
@with_daemon
def list_(daemon: Daemon, *, name: str | None, limit: int, form: str) -> int:
    """One line per incident, the newest last, next to where the eye is."""
    target = None if name == "all" else name
    try:
        answer = daemon.incidents(target=target, limit=limit)
    except DaemonRefused as refused:
        if refused.code != "NoSuchTarget":
            raise
        say(f"{name}: ERROR (no such process; {nearest(str(name), daemon.named(['all']))})")
        return FAILED
    _print(answer, form=form, of_whom=target or "all")
    return OK


def _print(answer: Answer, *, form: str, of_whom: str) -> None:
    from supervisor.cli.incident_table import ended, rows

    incidents = answer.content["incidents"]
    match form:
        case "json":
            put(as_json(answer.content))
        case "tsv":
            for line in as_tsv(COLUMNS, [{**each, "ended": ended(each)} for each in reversed(incidents)]):
                put(line)
        case _:
            columns = width() if is_terminal() else None
            for row in rows(incidents, now_s=answer.now_s, width=columns) or [f"{of_whom}: no incidents"]:
                say(row)


@incident.command(short_help="The story of one, with its evidence.")
@one_incident
@with_daemon
def show(daemon: Daemon, word: str) -> int:
    """The story of one, and the evidence that was kept before anything was done."""
    from supervisor.cli.incident_story import lines

    answer = found(daemon, word)
    if answer is None:
        return FAILED
    for line in lines(answer.content, now_s=answer.now_s, width=width()):
        say(line)
    return OK


@incident.command(short_help="All that is known of one, as JSON.")
@one_incident
@click.argument(
    "file",
    metavar="[FILE]",
    default=STANDARD_OUTPUT,
    shell_complete=suggest.files,
    help="A new file (standard output).",
)
@with_daemon
def export(daemon: Daemon, word: str, file: str) -> int:
    """All that is known of one, as JSON, into a new file or to standard output."""
    answer = found(daemon, word)
    if answer is None:
        return FAILED
    text = as_json(answer.content)
    if file == STANDARD_OUTPUT:
        put(text)
        return OK
    try:
        _write_anew(Path(file), f"{text}\n")
    except FileExistsError:
        say(f"{word}: ERROR ({file} is there already, and is not overwritten: name another)")
        return FAILED
    except OSError as error:
        say(f"{word}: ERROR (cannot write {file}: {error.strerror or error})")
        return FAILED
    say(f"{answer.content['id']}: written to {file}")
    return OK


def _write_anew(path: Path, text: str) -> None:
    with path.open("x") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            path.unlink()  # half of it would only mislead, and be in the way of the next try
            raise
