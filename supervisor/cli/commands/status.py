"""`status`: what runs, and whether it really answers."""

from datetime import datetime

import click

from supervisor.cli.http import Answer, Daemon
from supervisor.cli.options import with_daemon
from supervisor.cli.status_table import is_ready, rows
from supervisor.cli.terminal import CANNOT_TELL, NOT_READY, OK, complain, say
from supervisor.errors import SupervisorError


@click.command()
@click.argument("names", metavar="[NAME...]", nargs=-1, help="These targets only.")
@with_daemon
def status(daemon: Daemon, names: tuple[str, ...]) -> int:
    """One line per target: state, pid, uptime, and whether it really answers."""
    try:
        answer = daemon.status()
    except SupervisorError as error:
        complain(str(error))
        return CANNOT_TELL
    return _show(answer, names)


def _show(answer: Answer, names: tuple[str, ...]) -> int:
    known = {target["name"]: target for target in answer.content["targets"]}
    asked = list(known) if not names or "all" in names else list(dict.fromkeys(names))
    outdated = _outdated(answer)
    for problem in [*outdated, *answer.content["daemon"].get("problems", [])]:
        complain(problem)
    for name in asked:
        if name not in known:
            say(f"{name}: ERROR (no such process)")
    shown = [known[name] for name in asked if name in known]
    for row in rows(shown):
        say(row)
    if outdated or len(shown) < len(asked):
        return CANNOT_TELL
    return OK if all(is_ready(target) for target in shown) else NOT_READY


def _outdated(answer: Answer) -> list[str]:
    expires_at = datetime.fromisoformat(answer.content["expires_at"])
    late_s = answer.now_s - expires_at.timestamp()
    if late_s < 0:
        return []
    return [
        f"this is out of date by {late_s:.0f} s: the daemon answers but no longer decides; "
        "look into its log, then restart it"
    ]
