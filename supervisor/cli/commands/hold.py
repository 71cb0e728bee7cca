"""`hold` and `release`: keep the supervisor's hands off targets, and say until when."""

from collections.abc import Callable, Sequence

import click

from supervisor.cli.holds import EVERY, because, for_how_long, tell_what_stands, until_when
from supervisor.cli.http import Daemon, DaemonRefused
from supervisor.cli.options import some_names, with_daemon
from supervisor.cli.terminal import FAILED, OK, refusal, say


@click.command()
@some_names
@for_how_long
@because
@with_daemon
def hold(daemon: Daemon, names: Sequence[str], *, for_s: int | None, why: str) -> int:
    """Keep the supervisor from restarting targets; it goes on watching them.

    A hold takes the place of what was said of the same target before.
    """

    def held(name: str) -> str:
        answer = daemon.hold(name, for_s=for_s, why=why)
        return f"held {until_when(answer.content, why=why, now_s=answer.now_s)}"

    return _each(daemon, names, held)


@click.command()
@some_names
@with_daemon
def release(daemon: Daemon, names: Sequence[str]) -> int:
    """End the holds on targets, and put back into rotation those that are drained.

    Where they are left alone all the same, it says so.
    """

    def released(name: str) -> str:
        return "released" if daemon.release(name) else "ERROR (neither held nor drained)"

    code = _each(daemon, names, released)
    tell_what_stands(daemon, lambda target: target == EVERY)
    return code


def _each(daemon: Daemon, names: Sequence[str], do: Callable[[str], str]) -> int:
    code = OK
    for name in daemon.named(names):
        try:
            say(f"{name}: {do(name)}")
        except DaemonRefused as refused:
            say(refusal(name, refused))
            code = FAILED
    return code
