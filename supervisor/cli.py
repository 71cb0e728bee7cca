"""`benchai-supervisorctl`: what an operator asks for, the words that answer, the exit status.

Standard library only, and each command imports no more than it needs: people and scripts call this in a hurry.
"""

import os
import sys
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from supervisor import __version__
from supervisor.cli_parser import make_parser
from supervisor.cli_table import is_ready, rows
from supervisor.cli_terminal import CANNOT_TELL, FAILED, NOT_READY, OK, PROG, complain, refusal, say, width

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable
    from concurrent.futures import Future

    from supervisor.cli_http import Answer, Daemon

READER_LEFT, INTERRUPTED = 141, 130  # what a shell says of a program that SIGPIPE or SIGINT ended

Words = tuple[list[str], bool]  # the lines to print, and whether all is as it was asked to be


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        return _run(parser, args)
    except BrokenPipeError:
        return READER_LEFT
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(parser: "ArgumentParser", args: "Namespace") -> int:
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
            case "hold" | "release" | "pause" | "resume":
                return _hold(daemon, args)
            case "incident":
                return _incident(daemon, args)
            case "simulate":
                return _simulate(daemon, args)
            case verb:
                return _act(daemon, verb, args.names, args.wait, drains=not args.now)
    except (DaemonUnreachable, DaemonRefused) as error:
        complain(str(error))
        return CANNOT_TELL if args.command == "status" else FAILED


def _status(daemon: "Daemon", names: list[str]) -> int:
    answer = daemon.status()
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


def _outdated(answer: "Answer") -> list[str]:
    expires_at = datetime.fromisoformat(answer.content["expires_at"])
    late_s = answer.now_s - expires_at.timestamp()
    if late_s < 0:
        return []
    return [
        f"this is out of date by {late_s:.0f} s: the daemon answers but no longer decides; "
        "look into its log, then restart it"
    ]


def _act(daemon: "Daemon", verb: str, names: list[str], wait_s: float, *, drains: bool) -> int:
    code = OK
    # At once, not one after the other: the daemon knows which of them may go together.
    for errand in [
        _beside(partial(_act_on, daemon, verb, name, wait_s, drains=drains)) for name in daemon.named(names)
    ]:
        lines, done = errand.result()
        for line in lines:
            say(line)
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


def _act_on(daemon: "Daemon", verb: str, name: str, wait_s: float, *, drains: bool) -> Words:
    """Return supervisorctl's words for what came of it, and whether it is as it was asked to be."""
    from supervisor.cli_http import DaemonRefused

    try:
        outcome = daemon.act(verb, name, wait_s=wait_s, drains=drains)
    except DaemonRefused as refused:
        return [refusal(name, refused)], False
    match outcome.get("outcome"):
        case "done":
            words = {"start": ["started"], "stop": ["stopped"], "restart": ["stopped", "started"]}[verb]
            made_way = [f"{other}: stopped" for other in outcome.get("stopped") or []]
            return [*made_way, *(f"{name}: {word}" for word in words)], True
        case "already":
            return [f"{name}: ERROR ({'not running' if verb == 'stop' else 'already started'})"], True
        case "pending":
            return [f"{name}: ERROR (still under way after {wait_s:g} s: see {PROG} status {name})"], False
        case _:
            return [f"{name}: ERROR ({outcome.get('message') or 'failed'})"], False


def _hold(daemon: "Daemon", args: "Namespace") -> int:
    from supervisor import cli_hold

    match args.command:
        case "hold":
            return cli_hold.hold(daemon, args.names, for_s=args.for_s, why=args.why)
        case "release":
            return cli_hold.release(daemon, args.names)
        case "pause":
            return cli_hold.pause(daemon, for_s=args.for_s, why=args.why, wait_s=args.wait)
        case _:
            return cli_hold.resume(daemon)


def _incident(daemon: "Daemon", args: "Namespace") -> int:
    from supervisor import cli_incident

    match args.what:
        case "list":
            return cli_incident.show_all(daemon, args.name, limit=args.limit)
        case "show":
            return cli_incident.show(daemon, args.id, width=width())
        case _:
            return cli_incident.export(daemon, args.id, args.file)


def _simulate(daemon: "Daemon", args: "Namespace") -> int:
    from supervisor.cli_simulate import simulate

    return simulate(daemon, args.incident, changes=dict(args.changes), form=args.form, width=width())


def _why(daemon: "Daemon", name: str) -> int:
    from supervisor.cli_http import DaemonRefused
    from supervisor.cli_why import lines, nearest

    try:
        answer = daemon.why(name)
    except DaemonRefused as refused:
        if refused.code != "NoSuchTarget":
            raise
        say(f"{name}: ERROR (no such process; {nearest(name, daemon.named(['all']))})")
        return FAILED
    for line in lines(answer, width=width()):
        say(line)
    return OK


def _version(daemon: "Daemon") -> int:
    say(f"{PROG} {__version__}")
    facts = daemon.status().content["daemon"]
    say(f"benchai-supervisord {facts.get('version')} (pid {facts.get('pid')}, since {facts.get('started_at')})")
    return OK


if __name__ == "__main__":
    sys.exit(main())
