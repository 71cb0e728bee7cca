"""`pause` and `resume`: hold every target, until nothing is being done to any where that is asked for."""

import time

import click

from supervisor.cli.holds import ALL, EVERY, because, for_how_long, tell_what_stands, until_when
from supervisor.cli.http import Answer, Daemon, DaemonRefused
from supervisor.cli.options import SECONDS, with_daemon
from supervisor.cli.terminal import FAILED, OK, PROG, refusal, say
from supervisor.cli.text import clean

POLL_S = 0.2  # the daemon answers from memory, and a person waits


@click.command()
@for_how_long
@because
@click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=SECONDS,
    help="Return once nothing is being done to any target, or this is over.",
)
@with_daemon
def pause(daemon: Daemon, *, for_s: int | None, why: str, wait_s: float | None) -> int:
    """Hold every target, those that are held already too."""
    try:
        answer = daemon.pause(for_s=for_s, why=why)
    except DaemonRefused as refused:
        say(refusal(ALL, refused))
        return FAILED
    say(f"{ALL}: paused {until_when(answer.content, why=why, now_s=answer.now_s, lifted='resumed')}")
    if wait_s is not None:
        return _wait(daemon, _under_way(answer), wait_s)
    for name in _under_way(answer):
        say(f"{name}: still under way, and let end; --wait SECONDS waits for that")
    return OK


@click.command()
@with_daemon
def resume(daemon: Daemon) -> int:
    """End the pause; holds on single targets stand, and are told."""
    try:
        resumed = daemon.resume()
    except DaemonRefused as refused:
        say(refusal(ALL, refused))
        return FAILED
    say(f"{ALL}: resumed" if resumed else f"{ALL}: ERROR (not paused)")
    tell_what_stands(daemon, lambda target: target != EVERY)
    return OK


def _wait(daemon: Daemon, under_way: list[str], wait_s: float) -> int:
    """Wait until nothing is under way, and say what is waited for whenever that changes."""
    ends_at, told = time.monotonic() + wait_s, list[str]()
    while under_way:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            say(f"{ALL}: ERROR (still under way after {wait_s:g} s: {', '.join(under_way)}; see {PROG} status)")
            return FAILED
        if under_way != told:
            say(f"{ALL}: waiting for what is under way: {', '.join(under_way)}")
        told = under_way
        time.sleep(min(POLL_S, left_s))
        under_way = _under_way(daemon.holds())
    say(f"{ALL}: nothing is under way")
    return OK


def _under_way(answer: Answer) -> list[str]:
    return [clean(name) for name in answer.content.get("under_way") or []]
