"""What every command shares: the words go out here, cleaned, and the shell gets its exit status."""

import os
import sys
from typing import TYPE_CHECKING

from supervisor.cli.text import clean

if TYPE_CHECKING:
    from supervisor.cli.http import DaemonRefused

PROG = "benchai-supervisorctl"
OK, FAILED, NOT_READY, CANNOT_TELL = 0, 1, 3, 4  # 2 is click's: the command line is wrong
READER_LEFT, INTERRUPTED = 141, 130  # what a shell says of a program that SIGPIPE or SIGINT ended
USUAL_WIDTH = 80  # of a terminal that does not say


def say(line: str) -> None:
    """Print one line."""
    sys.stdout.write(f"{clean(line)}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print one line beside the outcome, for people and not for what reads it."""
    sys.stderr.write(f"{PROG}: {clean(text)}\n")


def refusal(name: str, refused: "DaemonRefused") -> str:
    """Return the line for a target that the daemon would not do it to, as supervisorctl words it."""
    why = "no such process" if refused.code == "NoSuchTarget" else str(refused)
    return f"{name}: ERROR ({why})"


def width() -> int:
    """Return how many columns there are."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL_WIDTH
    except (OSError, ValueError):  # not a terminal, or not even a file
        return USUAL_WIDTH
