"""`benchai-supervisorctl`: what an operator asks for, the words that answer, the exit status.

Standard library only, and each command imports no more than it needs: people and scripts call this in a hurry.
"""

import argparse
import os
import sys
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from supervisor import __version__
from supervisor.cli_table import clean, is_ready, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from supervisor.cli_http import Answer, Daemon

PROG = "benchai-supervisorctl"
DEFAULT_SERVER = "unix:///run/benchai-supervisor/control.sock"
OK, FAILED, NOT_READY, CANNOT_TELL = 0, 1, 3, 4  # 2 is argparse's: the command line is wrong
READER_LEFT, INTERRUPTED = 141, 130  # what a shell says of a program that SIGPIPE or SIGINT ended
LONGEST_WAIT_S = 3600.0
USUAL_WIDTH = 80  # of a terminal that does not say
VERBS = {
    "start": "start targets, and wait until they answer",
    "stop": "stop targets; they stay stopped until someone starts them",
    "restart": "stop and start targets, and wait until they answer",
}

Words = tuple[list[str], bool]  # the lines to print, and whether all is as it was asked to be

EPILOG = """\
exit status:
  status      0 all asked for are ready, 3 some are not, 4 cannot tell (no daemon, or what it knows is out of date)
  all others  0 done, or nothing to do; 1 not done; 2 the command line is wrong

environment:
  BENCHAI_SUPERVISOR_SERVER  where the daemon is, instead of --server
  BENCHAI_SUPERVISOR_TOKEN   needed over http:// to start, stop or restart (never on the command line: ps shows it)

examples:
  %(prog)s status                what runs, and whether it really answers
  %(prog)s why general           the story: what it rests on, what comes next, what led here
  %(prog)s restart general       returns once a real answer has come back
  %(prog)s stop all              stays stopped until someone starts it again
"""


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        return _run(parser, args)
    except BrokenPipeError:
        return READER_LEFT
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    from supervisor.cli_http import Daemon, DaemonRefused, DaemonUnreachable

    try:
        daemon = Daemon(args.server, token=os.environ.get("BENCHAI_SUPERVISOR_TOKEN", "").strip())
    except ValueError as error:
        parser.error(str(error))
    try:
        match args.command:
            case "status":
                return _status(daemon, args.names)
            case "why":
                return _why(daemon, args.name)
            case "version":
                return _version(daemon)
            case verb:
                return _act(daemon, verb, args.names, args.wait)
    except (DaemonUnreachable, DaemonRefused) as error:
        _complain(str(error))
        return CANNOT_TELL if args.command == "status" else FAILED


def _status(daemon: "Daemon", names: list[str]) -> int:
    answer = daemon.status()
    known = {target["name"]: target for target in answer.content["targets"]}
    asked = list(known) if not names or "all" in names else list(dict.fromkeys(names))
    outdated = _outdated(answer)
    for problem in [*outdated, *answer.content["daemon"].get("problems", [])]:
        _complain(problem)
    for name in asked:
        if name not in known:
            _say(f"{name}: ERROR (no such process)")
    shown = [known[name] for name in asked if name in known]
    for row in rows(shown):
        _say(row)
    if outdated or len(shown) < len(asked):
        return CANNOT_TELL
    return OK if all(is_ready(target) for target in shown) else NOT_READY


def _outdated(answer: "Answer") -> list[str]:
    expires_at = datetime.fromisoformat(answer.content["expires_at"])
    late_s = answer.now_s - expires_at.timestamp()
    if late_s < 0:
        return []
    return [
        f"this is out of date by {late_s:.0f} s: the daemon answers but no longer decides; "
        "look into its log, then restart it"
    ]


def _act(daemon: "Daemon", verb: str, names: list[str], wait_s: float) -> int:
    if "all" in names:
        names = [target["name"] for target in daemon.status().content["targets"]]
    code = OK
    # At once, not one after the other: the daemon knows which of them may go together.
    for errand in [_beside(partial(_act_on, daemon, verb, name, wait_s)) for name in dict.fromkeys(names)]:
        lines, done = errand.result()
        for line in lines:
            _say(line)
        code = code if done else FAILED
    return code


def _beside(work: "Callable[[], Words]") -> "Future[Words]":
    """Do `work` in a thread that Ctrl-C need not wait for."""
    from concurrent.futures import Future
    from threading import Thread

    future: Future[Words] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _act_on(daemon: "Daemon", verb: str, name: str, wait_s: float) -> Words:
    """Return supervisorctl's words for what came of it, and whether it is as it was asked to be."""
    from supervisor.cli_http import DaemonRefused

    try:
        outcome = daemon.act(verb, name, wait_s=wait_s)
    except DaemonRefused as refused:
        why = "no such process" if refused.code == "NoSuchTarget" else str(refused)
        return [f"{name}: ERROR ({why})"], False
    match outcome.get("outcome"):
        case "done":
            words = {"start": ["started"], "stop": ["stopped"], "restart": ["stopped", "started"]}[verb]
            return [f"{name}: {word}" for word in words], True
        case "already":
            return [f"{name}: ERROR ({'not running' if verb == 'stop' else 'already started'})"], True
        case "pending":
            return [f"{name}: ERROR (still under way after {wait_s:g} s: see {PROG} status {name})"], False
        case _:
            return [f"{name}: ERROR ({outcome.get('message') or 'failed'})"], False


def _why(daemon: "Daemon", name: str) -> int:
    from supervisor.cli_http import DaemonRefused
    from supervisor.cli_why import lines, nearest

    try:
        answer = daemon.why(name)
    except DaemonRefused as refused:
        if refused.code != "NoSuchTarget":
            raise
        known = [target["name"] for target in daemon.status().content["targets"]]
        _say(f"{name}: ERROR (no such process; {nearest(name, known)})")
        return FAILED
    for line in lines(answer, width=_width()):
        _say(line)
    return OK


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL_WIDTH
    except (OSError, ValueError):  # not a terminal, or not even a file
        return USUAL_WIDTH


def _version(daemon: "Daemon") -> int:
    _say(f"{PROG} {__version__}")
    facts = daemon.status().content["daemon"]
    _say(f"benchai-supervisord {facts.get('version')} (pid {facts.get('pid')}, since {facts.get('started_at')})")
    return OK


def _say(line: str) -> None:
    sys.stdout.write(f"{clean(line)}\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"{PROG}: {clean(text)}\n")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LONGEST_WAIT_S:g}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="See what the supervisor knows of the model servers, and start, stop or restart them.",
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
        command.add_argument("names", metavar="NAME", nargs="+", help="a target's name as in status; all: every one")
        command.add_argument(
            "--wait", metavar="SECONDS", type=_seconds, default=60.0, help="how long to wait for the outcome (60)"
        )
    commands.add_parser("version", help="of this program and of the daemon")
    return parser


if __name__ == "__main__":
    sys.exit(main())
