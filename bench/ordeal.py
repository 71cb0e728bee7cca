"""One fault and what comes of it: when routers are told, when a client's own request is answered again."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import httpx

from bench.watch import Watch
from testbed.clients import chat
from testbed.servers import ContainerServers

GIVE_UP_S: Final = 180.0
LIFE_POLL_S: Final = 0.1  # each asks the engine, which has better things to do
ASK_POLL_S: Final = 0.02
ASK_TIMEOUT_S: Final = 2.0


class Fault(StrEnum):
    """What is done to a server."""

    HANG_IDLE = "hang while idle"
    HANG_MID_ANSWER = "hang mid-answer"
    KILL = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The server that it is done to: its container, its address, and what it is called where routers look."""

    container: str
    url: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordeal:
    """One fault and what came of it, in seconds from the fault; None: it did not happen."""

    fault: Fault
    subject: str
    waited_s: float  # at random before the fault, so that it falls anywhere between two looks
    told_s: float | None
    again_s: float | None
    routable_s: float | None


def suffer(servers: ContainerServers, subject: Subject, watch: Watch, fault: Fault, *, waited_s: float) -> Ordeal:
    """Do it, and wait until all is well again or `GIVE_UP_S` is over."""
    before = life(servers, subject.container)
    with inflicted(servers, subject.container, fault) as began:
        again = _answering(servers, subject, before, deadline=began + GIVE_UP_S)
        told = watch.first(subject.name, routable=False, after=began)
        left_s = max(0.0, began + GIVE_UP_S - time.monotonic())
        routable = told and again and watch.first(subject.name, routable=True, after=told, within_s=left_s)
    return Ordeal(
        fault=fault,
        subject=subject.name,
        waited_s=round(waited_s, 3),
        told_s=_since(began, told),
        again_s=_since(began, again),
        routable_s=_since(began, routable),
    )


@contextlib.contextmanager
def inflicted(servers: ContainerServers, container: str, fault: Fault) -> Iterator[float]:
    """Put the fault in place, yield the instant it was (monotonic seconds), and lift at the end what is left of it."""
    if fault is Fault.KILL:
        began = time.monotonic()
        servers.kill(container)
        yield began
    else:
        with servers.freeze(container, mid_answer=fault is Fault.HANG_MID_ANSWER):
            yield time.monotonic()


def life(servers: ContainerServers, container: str) -> str | None:
    """Return what tells one life of a container from the next; None while it does not run."""
    state = servers.container(container).attrs["State"]
    return str(state["StartedAt"]) if state["Running"] else None


def _answering(servers: ContainerServers, subject: Subject, before: str | None, *, deadline: float) -> float | None:
    """Return when a real request was answered; nothing is asked of the old life, where it would only pile up."""
    while life(servers, subject.container) in (None, before):
        if time.monotonic() > deadline:
            return None
        time.sleep(LIFE_POLL_S)
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            chat(subject.url, timeout_s=ASK_TIMEOUT_S)
            return time.monotonic()
        time.sleep(ASK_POLL_S)
    return None


def _since(began: float, at: float | None) -> float | None:
    return None if at is None else round(at - began, 3)
