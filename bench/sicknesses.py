"""What is done to a server so that it no longer works; each is in place when its block is entered.

Restarting is the only cure, so whatever still holds at the end of the block is let go there.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import httpx

from bench.askers import CLIENT
from bench.spells import Occasion
from testbed.clients import wait_until
from testbed.old_llama.faults import Fault

LONG_S: Final = 600.0  # nobody waits for these users: what they ask for must outlive the fault
AT_WORK_WITHIN_S: Final = 60.0
SILENT_S: Final = 1.0

Sickness = Callable[[Occasion], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def frozen_idle(occasion: Occasion) -> Iterator[None]:
    """Stop the inference thread while there is nothing to do."""
    with occasion.stand.servers.freeze(occasion.stand.container):
        yield


@contextlib.contextmanager
def frozen_in_an_answer(occasion: Occasion) -> Iterator[None]:
    """Stop it in the middle of a user's answer."""
    occasion.asker(prompt=0, answer=LONG_S)
    with occasion.stand.servers.freeze(occasion.stand.container, when_busy=True):
        yield


@contextlib.contextmanager
def frozen_in_prefill(occasion: Occasion) -> Iterator[None]:
    """Stop it while it reads a user's long prompt."""
    occasion.asker(prompt=LONG_S / 10, answer=LONG_S)
    with occasion.stand.servers.freeze(occasion.stand.container, when_busy=True):
        yield


@contextlib.contextmanager
def halted(occasion: Occasion) -> Iterator[None]:
    """Stop the whole process with SIGSTOP."""
    occasion.stand.servers.halt(occasion.stand.container)
    yield


def told(fault: Fault) -> Sickness:
    """Return the sickness that is one of the fake's faults, set in while it is idle."""

    @contextlib.contextmanager
    def suffers(occasion: Occasion) -> Iterator[None]:
        occasion.stand.suffer(fault)
        yield

    return suffers


def told_at_work(fault: Fault, *, prefill_s: float) -> Sickness:
    """Return the same, set in while a user's request is under way."""

    @contextlib.contextmanager
    def suffers(occasion: Occasion) -> Iterator[None]:
        occasion.asker(prompt=prefill_s, answer=LONG_S)
        wait_until(lambda: _works(occasion), "at work", within_s=AT_WORK_WITHIN_S)
        occasion.stand.suffer(fault)
        yield

    return suffers


def _works(occasion: Occasion) -> bool:
    """Whether a slot is at work, or the loop is silent because it is in the middle of a batch."""
    try:
        reply = CLIENT.get(f"{occasion.stand.url}/slots", timeout=SILENT_S)
    except httpx.TimeoutException:
        return True
    return any(slot["is_processing"] for slot in reply.raise_for_status().json())
