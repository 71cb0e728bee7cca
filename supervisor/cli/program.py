"""Run one command line: find the command, let it work, and turn whatever ends it into an exit status."""

import os

import click

from supervisor import __version__, command_line
from supervisor.cli.commands import COMMANDS
from supervisor.cli.group import LazyGroup
from supervisor.cli.options import SERVER_VARIABLE, TOKEN_VARIABLE
from supervisor.cli.terminal import (
    COMPLETE_VARIABLE,
    FAILED,
    INTERRUPTED,
    PROG,
    READER_LEFT,
    complain,
    speak_any_encoding,
)
from supervisor.command_line import HELP, Notes
from supervisor.errors import SupervisorError

NOTES = Notes(
    {
        "Exit status": [
            ("0", "done, or nothing to do; of status: all that were asked for are ready"),
            ("1", "not done"),
            ("2", "the command line is wrong"),
            ("3", "of status: some are not ready"),
            ("4", "of status: nobody can tell (no daemon, an unknown name, or what it knows is out of date)"),
        ],
        "Environment": [
            (SERVER_VARIABLE, "where the daemon is, instead of --server"),
            (TOKEN_VARIABLE, "needed over http:// to change anything (never on the command line: ps shows it)"),
            ("NO_COLOR", "if it is not empty: no colours, not on a terminal either"),
        ],
        "Examples": [
            (f"{PROG} status", "what runs, and whether it really answers"),
            (f"{PROG} status -w", "the same, live, until q"),
            (f"{PROG} why general", "the story: what it rests on, what comes next, what led here"),
            (f"{PROG} restart general", "returns once a real answer has come back"),
            (f"{PROG} stop all", "stays stopped until someone starts it again"),
            (
                f'{PROG} hold general --for 30m -m "new driver"',
                "watched as ever, and left alone whatever happens",
            ),
            (f"{PROG} pause --wait 60", "hold all, and wait until nothing is being done to any of them"),
            (f"{PROG} incident show general", "its last trouble: the cause, the cure, what was done, the evidence"),
            (f"{PROG} simulate general --set hung_after_s=20", "what would have been done to it by more patience"),
        ],
    }
)


@click.command(cls=LazyGroup, commands=COMMANDS, epilog=NOTES.epilog(), context_settings=HELP)
@click.version_option(__version__, prog_name=PROG, message="%(prog)s %(version)s")
def supervisorctl() -> None:
    """See what the supervisor knows of the model servers; start, stop, restart or hold them."""


def run(argv: list[str] | None) -> int:
    """Do what the command line says; return the exit status."""
    speak_any_encoding()
    if asked_for := os.environ.get(COMPLETE_VARIABLE):
        return _complete(asked_for)
    try:
        return command_line.run(supervisorctl, PROG, argv)
    except SupervisorError as error:
        complain(str(error))
        return FAILED
    except BrokenPipeError:
        return READER_LEFT
    except KeyboardInterrupt:
        return INTERRUPTED


def _complete(asked_for: str) -> int:
    from click.shell_completion import shell_complete

    return shell_complete(supervisorctl, {}, PROG, COMPLETE_VARIABLE, asked_for)
