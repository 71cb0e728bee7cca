"""`start`, `stop` and `restart`: have it done, and answer in supervisorctl's words once the outcome is known."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Thread

import click

from supervisor.cli.http import Daemon, DaemonRefused
from supervisor.cli.options import SECONDS, some_names, with_daemon
from supervisor.cli.terminal import FAILED, OK, PROG, refusal, say

DONE = {"start": ["started"], "stop": ["stopped"], "restart": ["stopped", "started"]}

Words = tuple[list[str], bool]  # the lines to print, and whether all is as it was asked to be

wait = click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=SECONDS,
    default=60.0,
    help="How long to wait for the outcome (60).",
)
now = click.option(
    "--now",
    "in_a_hurry",
    is_flag=True,
    help="Do not let whoever is being served finish first (half a minute at the most).",
)


@click.command()
@some_names
@wait
@now
@with_daemon
def start(daemon: Daemon, names: Sequence[str], *, wait_s: float, in_a_hurry: bool) -> int:
    """Start targets, and wait until they answer."""
    return _act(daemon, "start", names, wait_s, drains=not in_a_hurry)


@click.command()
@some_names
@wait
@now
@with_daemon
def stop(daemon: Daemon, names: Sequence[str], *, wait_s: float, in_a_hurry: bool) -> int:
    """Stop targets; they stay stopped until someone starts them."""
    return _act(daemon, "stop", names, wait_s, drains=not in_a_hurry)


@click.command()
@some_names
@wait
@now
@with_daemon
def restart(daemon: Daemon, names: Sequence[str], *, wait_s: float, in_a_hurry: bool) -> int:
    """Stop and start targets, and wait until they answer."""
    return _act(daemon, "restart", names, wait_s, drains=not in_a_hurry)


def _act(daemon: Daemon, verb: str, names: Sequence[str], wait_s: float, *, drains: bool) -> int:
    code = OK
    # At once, not one after the other: the daemon knows which of them may go together.
    for errand in [
        _beside(partial(_act_on, daemon, verb, name, wait_s, drains=drains))
        for name in daemon.named(names, to_act=True)
    ]:
        lines, done = errand.result()
        for line in lines:
            say(line)
        code = code if done else FAILED
    return code


def _beside(work: Callable[[], Words]) -> Future[Words]:
    """Do `work` in a thread that Ctrl-C need not wait for."""
    future: Future[Words] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _act_on(daemon: Daemon, verb: str, name: str, wait_s: float, *, drains: bool) -> Words:
    """Return supervisorctl's words for what came of it, and whether it is as it was asked to be."""
    try:
        outcome = daemon.act(verb, name, wait_s=wait_s, drains=drains)
    except DaemonRefused as refused:
        return [refusal(name, refused)], False
    match outcome.get("outcome"):
        case "done":
            made_way = [f"{other}: stopped" for other in outcome.get("stopped") or []]
            return [*made_way, *(f"{name}: {word}" for word in DONE[verb])], True
        case "already":
            return [f"{name}: ERROR ({'not running' if verb == 'stop' else 'already started'})"], True
        case "pending":
            return [f"{name}: ERROR (still under way after {wait_s:g} s: see {PROG} status {name})"], False
        case _:
            return [f"{name}: ERROR ({outcome.get('message') or 'failed'})"], False
