"""`tail`: what a target printed last, and with `-f` what it prints."""

import click

from supervisor.cli import suggest
from supervisor.cli.http import Daemon, DaemonRefused
from supervisor.cli.logs import printed
from supervisor.cli.options import with_daemon
from supervisor.cli.terminal import FAILED, OK, put, refusal, say
from supervisor.errors import SupervisorError

CHANNELS = ("stdout", "stderr")
MOST_LINES, MOST_BYTES = 10_000, 1 << 20


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument(
    "words",
    metavar="NAME [stdout|stderr]",
    nargs=-1,
    required=True,
    shell_complete=suggest.targets,
    help="A target's name as in status.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed, over restarts, until Ctrl-C.")
@click.option("-n", "--lines", metavar="LINES", type=click.IntRange(0, MOST_LINES), help="The last so many lines.")
@click.option(
    "--bytes",
    "most_bytes",
    metavar="N",
    type=click.IntRange(0, MOST_BYTES),
    help="The last so many bytes (1600); -N is understood too.",
)
@with_daemon
def tail(daemon: Daemon, words: tuple[str, ...], *, follow: bool, lines: int | None, most_bytes: int | None) -> int:
    """What a target printed last, and with -f what it prints.

    Both its outputs are shown as one, which is how its engine keeps them; stdout or stderr after the name is taken, and
    chooses nothing. A model server's log may hold its users' words.
    """
    name, said_bytes = _understood(words)
    is_let_in = False
    try:
        for line in printed(daemon, name, most_bytes=said_bytes or most_bytes, lines=lines, follow=follow):
            is_let_in = True
            put(line)
    except DaemonRefused as refused:
        say(refusal(name, refused))
        return FAILED
    except SupervisorError:
        if not (follow and is_let_in):
            raise
        say(f"{name}: ERROR (the daemon has let us go; see whether it runs, and ask anew)")
        return FAILED
    return OK


def _understood(words: tuple[str, ...]) -> tuple[str, int | None]:
    """Return the name and supervisorctl's `-100`, wherever it stands; a channel says nothing new."""
    numbers = [word for word in words if word.startswith("-") and word[1:].isdigit()]
    rest = [word for word in words if word not in numbers]
    if len(rest) == len(CHANNELS) and rest[1] in CHANNELS:
        rest = rest[:1]
    if strange := [word for word in rest if word.startswith("-")]:
        raise click.UsageError(f"no such option: {strange[0]}")
    if len(rest) != 1 or len(numbers) > 1:
        raise click.UsageError("give one target's name, such as: tail -f general")
    return rest[0], int(numbers[0][1:]) if numbers else None
