"""`drain`: take targets out of rotation and leave them running, until they are released."""

import time
from collections.abc import Sequence

import click

from supervisor.cli.holds import because, for_how_long, until_when
from supervisor.cli.http import Daemon, DaemonRefused
from supervisor.cli.options import SECONDS, some_names, with_daemon
from supervisor.cli.terminal import FAILED, OK, refusal, say


@click.command()
@some_names
@for_how_long
@because
@click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=SECONDS,
    help="Return once nobody is being served any more, or this is over.",
)
@with_daemon
def drain(daemon: Daemon, names: Sequence[str], *, for_s: int | None, why: str, wait_s: float | None) -> int:
    """Take targets out of rotation and leave them running.

    Routers are told before this returns, and send nothing new; whoever is being served may finish. A target is watched
    as ever and left alone whatever happens to it, until release, start or restart puts it back.
    """
    code, drained = OK, []
    for name in daemon.named(names):
        try:
            answer = daemon.drain(name, for_s=for_s, why=why, wait_s=0.0)
        except DaemonRefused as refused:
            say(refusal(name, refused))
            code = FAILED
            continue
        done = answer.content.get("serves_nobody") is True
        end = "serves nobody any more" if done else "may still be serving somebody"
        told = wait_s is not None and not done
        until = until_when(answer.content, why=why, now_s=answer.now_s)
        say(f"{name}: drained {until}{'' if told else f'; {end}'}")
        drained += [name] if told else []
    ends_at = time.monotonic() + (wait_s or 0.0)
    results = [_waited(daemon, name, ends_at, wait_s or 0.0) for name in drained]
    return code if all(results) else FAILED


def _waited(daemon: Daemon, name: str, ends_at: float, wait_s: float) -> bool:
    """Wait until nobody is served any more; say how it ended, and whether it did."""
    while True:
        known = {each["name"]: each.get("drained") for each in daemon.status().content["targets"]}
        state = known.get(name)
        if not isinstance(state, dict):
            say(f"{name}: ERROR (put back meanwhile)")
            return False
        if state.get("serves_nobody"):
            say(f"{name}: serves nobody any more")
            return True
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            say(f"{name}: ERROR (may still be serving somebody after {wait_s:g} s; it stays drained)")
            return False
        time.sleep(min(0.2, left_s))
