"""Run one command line: find the command, let it work, and turn whatever ends it into an exit status."""

import os
import sys

import click

from supervisor import __version__
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
from supervisor.errors import SupervisorError

# \b keeps a paragraph's lines as they are.
EPILOG = f"""\
\b
Exit status:
  status      0 all asked for are ready, 3 some are not, 4 cannot tell (no daemon, or what it knows is out of date)
  all others  0 done, or nothing to do; 1 not done; 2 the command line is wrong

\b
Environment:
  {SERVER_VARIABLE}  where the daemon is, instead of --server
  {TOKEN_VARIABLE}   needed over http:// to change anything (never on the command line: ps shows it)

\b
Examples:
  {PROG} status                what runs, and whether it really answers
  {PROG} why general           the story: what it rests on, what comes next, what led here
  {PROG} restart general       returns once a real answer has come back
  {PROG} stop all              stays stopped until someone starts it again
  {PROG} hold general --for 30m -m "new driver"
                                 watched as ever, and left alone whatever happens to it
  {PROG} pause --wait 60       hold all, and wait until nothing is being done to any of them
  {PROG} incident show general
                                 its last trouble: the cause, the cure, what was done, the evidence
  {PROG} simulate general --set hung_after_s=20
                                 what would have been done to it by more patience
"""


@click.command(
    cls=LazyGroup,
    commands=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name=PROG, message="%(prog)s %(version)s")
def supervisorctl() -> None:
    """See what the supervisor knows of the model servers; start, stop, restart or hold them."""


def run(argv: list[str] | None) -> int:
    """Do what the command line says; return the exit status."""
    speak_any_encoding()
    if asked_for := os.environ.get(COMPLETE_VARIABLE):
        return _complete(asked_for)
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except click.exceptions.Exit as end:  # help, or the version
        return end.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
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


def _run(words: list[str]) -> int:
    # Not click's own main: it would answer a reader that left, and Ctrl-C, in its own way.
    with supervisorctl.make_context(PROG, list(words)) as context:
        return int(supervisorctl.invoke(context))
