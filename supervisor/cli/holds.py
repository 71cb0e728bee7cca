"""What `hold`, `release`, `pause` and `resume` share: how long, why, and the words for what is held."""

from collections.abc import Callable
from typing import Any

import click

from supervisor.cli.http import Daemon
from supervisor.cli.options import Understood
from supervisor.cli.terminal import say
from supervisor.cli.text import clean
from supervisor.cli.times import seconds, until

EVERY = "*"  # the daemon's word for a hold on all targets
ALL = "all"  # ... and ours
MOST_OF_WHY = 200  # characters that the daemon takes


def _why(text: str) -> str:
    if len(text) > MOST_OF_WHY:
        raise ValueError(f"the reason is longer than {MOST_OF_WHY} characters")
    return clean(text).strip()


for_how_long = click.option(
    "--for",
    "for_s",
    metavar="TIME",
    type=Understood("time", seconds),
    help="Such as 90s, 30m, 2h, 1d or 1h30m (no end).",
)
because = click.option(
    "-m", "--why", metavar="WHY", type=Understood("why", _why), default="", help="The reason, for whoever asks."
)


def tell_what_stands(daemon: Daemon, is_meant: Callable[[str], bool]) -> None:
    """Say which holds there are of those that are meant."""
    answer = daemon.holds()
    for each in answer.content["holds"]:
        name = str(each.get("target"))
        if is_meant(name):
            held = "drained" if each.get("drains") else "held"
            who, held, lifted = (ALL, "paused", "resumed") if name == EVERY else (name, held, "released")
            why = clean(each.get("why")).strip()
            say(f"{who}: still {held} {until_when(each, why=why, now_s=answer.now_s, lifted=lifted)}")


def until_when(held: dict[str, Any], *, why: str, now_s: float, lifted: str = "released") -> str:
    """Return until when and why something is held, in a phrase."""
    at = held.get("until")
    words = f"until {lifted}" if at is None else f"until {until(at, now_s=now_s)}"
    return f"{words} ({why})" if why else words
