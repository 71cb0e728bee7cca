"""`incident list`, `show` and `export`: what went wrong, from the daemon to the terminal or into a file."""

import json
import sys
from pathlib import Path

from supervisor.cli_http import Answer, Daemon, DaemonRefused
from supervisor.cli_terminal import FAILED, OK, PROG, say
from supervisor.cli_why import nearest

STANDARD_OUTPUT = "-"


def show_all(daemon: Daemon, name: str | None, *, limit: int) -> int:
    """Print a line per incident, the newest last; of target `name` only, where one is given."""
    from supervisor.cli_incident_table import rows

    target = None if name == "all" else name
    try:
        answer = daemon.incidents(target=target, limit=limit)
    except DaemonRefused as refused:
        if refused.code != "NoSuchTarget":
            raise
        say(f"{name}: ERROR (no such process; {nearest(str(name), daemon.named(['all']))})")
        return FAILED
    for row in rows(answer.content["incidents"], now_s=answer.now_s) or [f"{target or 'all'}: no incidents"]:
        say(row)
    return OK


def show(daemon: Daemon, word: str, *, width: int) -> int:
    """Print the story of an incident and a summary of its evidence."""
    from supervisor.cli_incident_story import lines

    answer = found(daemon, word)
    if answer is None:
        return FAILED
    for line in lines(answer.content, now_s=answer.now_s, width=width):
        say(line)
    return OK


def export(daemon: Daemon, word: str, file: str) -> int:
    """Write all that is known of an incident as JSON, into a new file or to standard output."""
    answer = found(daemon, word)
    if answer is None:
        return FAILED
    # ASCII alone: a server's words in it can then do no harm to a terminal.
    text = f"{json.dumps(answer.content, indent=2)}\n"
    if file == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return OK
    try:
        _write_anew(Path(file), text)
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
