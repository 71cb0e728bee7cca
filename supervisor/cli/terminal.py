"""What every command shares: the words go out here, cleaned, and the shell gets its exit status."""

import io
import os
import sys
from typing import TYPE_CHECKING

from supervisor.cli.text import clean
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from supervisor.cli.http import DaemonRefused

PROG = "benchai-supervisorctl"
COMPLETE_VARIABLE = "_BENCHAI_SUPERVISORCTL_COMPLETE"  # by which a shell asks, as click has it
OK, FAILED, NOT_READY, CANNOT_TELL = 0, 1, 3, 4  # 2 is click's: the command line is wrong
READER_LEFT, INTERRUPTED = 141, 130  # what a shell says of a program that SIGPIPE or SIGINT ended
USUAL_WIDTH = 80  # of a terminal that does not say


class CannotPrint(SupervisorError):
    """Standard output takes no more."""


def say(line: str) -> None:
    """Print one line."""
    put(clean(line))


def put(text: str) -> None:
    """Print lines of our own making, which are clean and may be coloured."""
    if sys.stdout is None:  # we were started without any
        return
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left of it would fail once more at our end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CannotPrint(f"cannot print: {error.strerror or error}") from error


def complain(text: str) -> None:
    """Print one line beside the outcome, for people and not for what reads it."""
    if sys.stderr is not None:
        sys.stderr.write(f"{PROG}: {clean(text)}\n")


def refusal(name: str, refused: "DaemonRefused") -> str:
    """Return the line for a target that the daemon would not do it to, as supervisorctl words it."""
    why = "no such process" if refused.code == "NoSuchTarget" else str(refused)
    return f"{name}: ERROR ({why})"


def is_terminal() -> bool:
    """Say whether a person reads along, at a terminal that can move its cursor and show colours."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def is_coloured() -> bool:
    """Say whether words may be coloured: on a terminal, unless `NO_COLOR` says otherwise (no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def width() -> int:
    """Return how many columns there are."""
    if sys.stdout is None:
        return USUAL_WIDTH
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL_WIDTH
    except (OSError, ValueError):  # not a terminal, or not even a file
        return USUAL_WIDTH


def speak_any_encoding() -> None:
    """Have letters that the terminal's encoding lacks spelled out: no word of a server's may end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
