"""What may be said on the command line, and the help that says so."""

import argparse
import os
from typing import TYPE_CHECKING

from supervisor import __version__
from supervisor.cli_terminal import PROG

if TYPE_CHECKING:
    from collections.abc import Callable

    Add = Callable[..., argparse.ArgumentParser]  # `add_parser` of what `add_subparsers` returns

DEFAULT_SERVER = "unix:///run/benchai-supervisor/control.sock"
LONGEST_WAIT_S = 3600.0
MOST_OF_WHY = 200  # characters that the daemon takes
USUAL_LIMIT, MOST_INCIDENTS = 20, 500
VERBS = {
    "start": "start targets, and wait until they answer",
    "stop": "stop targets; they stay stopped until someone starts them",
    "restart": "stop and start targets, and wait until they answer",
}
NAMES = "a target's name as in status; all: every one"
NOW = "do not let whoever is being served finish first (half a minute at the most)"
INCIDENT = "an incident's id as in list, or a target's name for its newest"
FORMATS = "table or json (table)"

EPILOG = """\
exit status:
  status      0 all asked for are ready, 3 some are not, 4 cannot tell (no daemon, or what it knows is out of date)
  all others  0 done, or nothing to do; 1 not done; 2 the command line is wrong

environment:
  BENCHAI_SUPERVISOR_SERVER  where the daemon is, instead of --server
  BENCHAI_SUPERVISOR_TOKEN   needed over http:// to change anything (never on the command line: ps shows it)

examples:
  %(prog)s status                what runs, and whether it really answers
  %(prog)s why general           the story: what it rests on, what comes next, what led here
  %(prog)s restart general       returns once a real answer has come back
  %(prog)s stop all              stays stopped until someone starts it again
  %(prog)s hold general --for 30m -m "new driver"
                                 watched as ever, and left alone whatever happens to it
  %(prog)s pause --wait 60       hold all, and wait until nothing is being done to any of them
  %(prog)s incident show general
                                 its last trouble: the cause, the cure, what was done, the evidence
  %(prog)s simulate general --set hung_after_s=20
                                 what would have been done to it by more patience
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="See what the supervisor knows of the model servers; start, stop, restart or hold them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-s",
        "--server",
        metavar="ADDRESS",
        default=os.environ.get("BENCHAI_SUPERVISOR_SERVER") or DEFAULT_SERVER,
        help="the daemon: unix:///path/of/a.sock or http://host:port (now: %(default)s)",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    status = commands.add_parser(
        "status", help="one line per target: state, pid, uptime, and whether it really answers"
    )
    status.add_argument("names", metavar="NAME", nargs="*", help="these targets only")
    why = commands.add_parser("why", help="the story of one target: what is believed, why, and what comes next")
    why.add_argument("name", metavar="NAME", help="a target's name as in status")
    for verb, words in VERBS.items():
        command = commands.add_parser(verb, help=words)
        command.add_argument("names", metavar="NAME", nargs="+", help=NAMES)
        command.add_argument(
            "--wait", metavar="SECONDS", type=_seconds, default=60.0, help="how long to wait for the outcome (60)"
        )
        command.add_argument("--now", action="store_true", help=NOW)
    _add_holds(commands.add_parser)
    _add_incidents(commands.add_parser)
    _add_simulate(commands.add_parser)
    commands.add_parser("version", help="of this program and of the daemon")
    return parser


def _add_holds(add: "Add") -> None:
    hold = add("hold", help="keep the supervisor from restarting targets; it goes on watching them")
    hold.add_argument("names", metavar="NAME", nargs="+", help=NAMES)
    release = add("release", help="end a hold")
    release.add_argument("names", metavar="NAME", nargs="+", help=NAMES)
    pause = add("pause", help="hold every target, those that are held already too")
    for command in (hold, pause):
        command.add_argument(
            "--for", metavar="TIME", dest="for_s", type=_duration, help="such as 90s, 30m, 2h, 1d or 1h30m (no end)"
        )
        command.add_argument("-m", "--why", metavar="WHY", type=_why, default="", help="the reason, for whoever asks")
    pause.add_argument(
        "--wait", metavar="SECONDS", type=_seconds, help="return once nothing is being done to any target"
    )
    add("resume", help="end the pause; holds on single targets stand")


def _add_incidents(add: "Add") -> None:
    incident = add("incident", help="what went wrong, why, and what became of it: list, show, export")
    whats = incident.add_subparsers(dest="what", metavar="WHAT", required=True)
    several = whats.add_parser("list", help="one line per incident, the newest last")
    several.add_argument("name", metavar="NAME", nargs="?", help="those of this target only")
    several.add_argument(
        "--limit", metavar="N", type=_limit, default=USUAL_LIMIT, help=f"the newest N only ({USUAL_LIMIT})"
    )
    show = whats.add_parser("show", help="the story of one, and the evidence that was kept before anything was done")
    show.add_argument("id", metavar="ID", help=INCIDENT)
    export = whats.add_parser("export", help="all that is known of one, as JSON")
    export.add_argument("id", metavar="ID", help=INCIDENT)
    export.add_argument("file", metavar="FILE", nargs="?", default="-", help="a new file (standard output)")


def _add_simulate(add: "Add") -> None:
    simulate = add(
        "simulate",
        help="judge once more what was recorded of an incident, with other values of its policy",
        description="Judge once more what was recorded before something was done. What was asked is what was asked "
        "then; holds, other targets and chance are left out.",
    )
    simulate.add_argument("incident", metavar="ID", help=f"{INCIDENT}, or a file that export wrote (-: standard input)")
    simulate.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="changes",
        type=_change,
        action="append",
        default=[],
        help="a key of [policy] in settings.toml, such as hung_after_s=20; may be given again",
    )
    simulate.add_argument("-f", metavar="FORMAT", dest="form", choices=("table", "json"), default="table", help=FORMATS)


def _change(text: str) -> tuple[str, float]:
    from supervisor.cli_simulate import change

    try:
        return change(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LONGEST_WAIT_S:g}")
    return seconds


def _duration(text: str) -> int:
    from supervisor.cli_time import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _why(text: str) -> str:
    if len(text) > MOST_OF_WHY:
        raise argparse.ArgumentTypeError(f"the reason is longer than {MOST_OF_WHY} characters")
    return text


def _limit(text: str) -> int:
    limit = int(text)
    if not 1 <= limit <= MOST_INCIDENTS:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {MOST_INCIDENTS}")
    return limit
