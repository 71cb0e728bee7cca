"""What the HTTP face passes on to the rest of the daemon about one target: who answers for it, and in which shape.

Only words; whoever builds the daemon puts in those that do it.
"""

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from supervisor.core.observations import Reply
from supervisor.core.restraint import Hold

History = Callable[[str, int], Awaitable[list[dict[str, Any]] | None]]  # newest first; None: it cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an operator's request ended: `done`, `already`, `failed` or `pending`; `stopped` had to make way for it."""

    outcome: str
    message: str
    stopped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What came of a probe: `asked` False where no canary was sent, and `detail` says why; `ok` whether it is well."""

    asked: bool
    ok: bool
    reply: Reply | None
    first_token_s: float | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How far a target is out of rotation; `is_drained` False where it was released meanwhile."""

    hold: Hold
    is_drained: bool
    serves_nobody: bool


class Probe(Protocol):
    """Sends one canary."""

    async def __call__(self, name: str, *, wait_s: float, patient: bool, wakes: bool) -> Probed:
        """Return what came of it within `wait_s`; `patient` waits for a free slot, `wakes` may wake it."""
        ...


class Drain(Protocol):
    """Takes a target out of rotation."""

    async def __call__(self, name: str, *, for_s: float | None, why: str, wait_s: float) -> Drained:
        """Return once routers were told, and nobody is served any more or `wait_s` is over."""
        ...


class Signal(Protocol):
    """Sends a target a signal."""

    async def __call__(self, name: str, number: signal.Signals) -> Outcome:
        """Return whether it was sent, and what to expect of it."""
        ...


class Log(Protocol):
    """Tells what a target printed."""

    def __call__(self, name: str, *, max_bytes: int, lines: int | None) -> AsyncGenerator[str, None]:
        """Yield the end of it, the last `lines` at most, and then what is printed, for ever.

        Raises SupervisorError before the first.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Who answers."""

    probe: Probe
    drain: Drain
    signal: Signal
    log: Log
    acts: History
