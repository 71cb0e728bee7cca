"""`signal`: send targets a signal."""

from collections.abc import Sequence
from signal import Signals
from typing import TYPE_CHECKING

import click

from supervisor.cli import suggest
from supervisor.cli.http import Daemon, DaemonRefused
from supervisor.cli.options import Understood, some_names, with_daemon
from supervisor.cli.terminal import FAILED, OK, refusal, say

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

KNOWN = {each.name.removeprefix("SIG"): each for each in Signals if not each.name.startswith("SIGRT")}


def _signal(text: str) -> str:
    word = text.upper().removeprefix("SIG")
    by_number = {str(int(each)): name for name, each in KNOWN.items()}
    if word not in KNOWN and word not in by_number:
        raise ValueError(f"{text!r} is no signal; known are {', '.join(KNOWN)}")
    return by_number.get(word, word)


def _suggested(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    return suggest.words([(name, each.name) for name, each in KNOWN.items()], incomplete.upper())


@click.command()
@click.argument(
    "number",
    metavar="SIGNAL",
    type=Understood("signal", _signal),
    shell_complete=_suggested,
    help="Such as HUP, SIGUSR1 or 15.",
)
@some_names
@with_daemon
def signal(daemon: Daemon, number: str, names: Sequence[str]) -> int:
    """Send targets a signal: to the main process of each, while it runs.

    What ends by it has not been stopped: it is started again, unless it is held; to keep it down, say stop. One that is
    sent STOP answers nobody, and is restarted as hung, unless it is held or CONT comes first.
    """
    code = OK
    for name in daemon.named(names, to_act=True):
        try:
            outcome = daemon.signal(name, number)
        except DaemonRefused as refused:
            say(refusal(name, refused))
            code = FAILED
            continue
        message = str(outcome.get("message") or "")
        if outcome.get("outcome") != "done":
            say(f"{name}: ERROR ({message or 'failed'})")
            code = FAILED
            continue
        expected = message.partition("; ")[2]
        say(f"{name}: signalled{f' ({expected})' if expected else ''}")
    return code
