"""What probes offer. A probe never raises for what it saw: a refusal is an answer."""

from dataclasses import dataclass
from typing import Protocol

from supervisor.core.observations import Reply, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One look at a server's own progress counters."""

    reply: Reply
    slots: tuple[Slot, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a canary ended; `first_token_s` is counted from its sending, None where no answer began."""

    reply: Reply
    first_token_s: float | None = None
    detail: str = ""


class ProgressProbe(Protocol):
    """Reads the server's own counters, without asking it to infer."""

    async def look(self, *, timeout_s: float) -> Counters:
        """Return what the counters say; at most `timeout_s` seconds pass."""
        ...


class CanaryProbe(Protocol):
    """Asks the server for a real, tiny piece of inference."""

    async def send(self, *, limit_s: float, slot: int | None = None) -> Answer:
        """Send one canary and hold it open until it is answered, or `limit_s` is over.

        `slot` pins it to an idle slot where the server can do that.
        """
        ...
