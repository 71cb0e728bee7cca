"""`hold`, `release`, `pause` and `resume`: keep the supervisor's hands off targets, and say until when."""

import time
from collections.abc import Callable
from typing import Any

from supervisor.cli_http import Answer, Daemon, DaemonRefused
from supervisor.cli_table import clean
from supervisor.cli_terminal import FAILED, OK, PROG, refusal, say
from supervisor.cli_time import until

EVERY = "*"  # the daemon's word for a hold on all targets
ALL = "all"  # ... and ours
POLL_S = 0.2  # the daemon answers from memory, and a person waits


def hold(daemon: Daemon, names: list[str], *, for_s: int | None, why: str) -> int:
    """Hold targets, in place of what was said of them before."""

    def held(name: str) -> str:
        answer = daemon.hold(name, for_s=for_s, why=_cleaned(why))
        return f"held {_until(answer.content, why=why, now_s=answer.now_s)}"

    return _each(daemon, names, held)


def release(daemon: Daemon, names: list[str]) -> int:
    """End the holds on targets; say so where they are left alone all the same."""

    def released(name: str) -> str:
        return "released" if daemon.release(name) else "ERROR (not held)"

    code = _each(daemon, names, released)
    _tell_what_stands(daemon, lambda target: target == EVERY)
    return code


def pause(daemon: Daemon, *, for_s: int | None, why: str, wait_s: float | None) -> int:
    """Hold every target; with `wait_s`, return once nothing is being done to any of them."""
    try:
        answer = daemon.pause(for_s=for_s, why=_cleaned(why))
    except DaemonRefused as refused:
        say(refusal(ALL, refused))
        return FAILED
    say(f"{ALL}: paused {_until(answer.content, why=why, now_s=answer.now_s, lifted='resumed')}")
    if wait_s is not None:
        return _wait(daemon, _under_way(answer), wait_s)
    for name in _under_way(answer):
        say(f"{name}: still under way, and let end; --wait SECONDS waits for that")
    return OK


def resume(daemon: Daemon) -> int:
    """End the pause; say which targets are held all the same."""
    try:
        resumed = daemon.resume()
    except DaemonRefused as refused:
        say(refusal(ALL, refused))
        return FAILED
    say(f"{ALL}: resumed" if resumed else f"{ALL}: ERROR (not paused)")
    _tell_what_stands(daemon, lambda target: target != EVERY)
    return OK


def _each(daemon: Daemon, names: list[str], do: Callable[[str], str]) -> int:
    code = OK
    for name in daemon.named(names):
        try:
            say(f"{name}: {do(name)}")
        except DaemonRefused as refused:
            say(refusal(name, refused))
            code = FAILED
    return code


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


def _tell_what_stands(daemon: Daemon, is_meant: Callable[[str], bool]) -> None:
    answer = daemon.holds()
    for each in answer.content["holds"]:
        name = str(each.get("target"))
        if is_meant(name):
            who, held, lifted = (ALL, "paused", "resumed") if name == EVERY else (name, "held", "released")
            until_when = _until(each, why=str(each.get("why") or ""), now_s=answer.now_s, lifted=lifted)
            say(f"{who}: still {held} {until_when}")


def _until(held: dict[str, Any], *, why: str, now_s: float, lifted: str = "released") -> str:
    at, because = held.get("until"), _cleaned(why)
    words = f"until {lifted}" if at is None else f"until {until(at, now_s=now_s)}"
    return f"{words} ({because})" if because else words


def _cleaned(why: str) -> str:
    return clean(why).strip()
