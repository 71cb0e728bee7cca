"""What probes offer. A probe never raises for what it saw: a refusal is an answer."""

from dataclasses import dataclass
from typing import Protocol

from supervisor.core.observations import Kind, Reply, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One look at a server's own progress counters."""

    reply: Reply
    slots: tuple[Slot, ...] = ()
    kind: Kind | None = None  # None: it has not told us
    queued: int | None = None  # requests that wait for a slot, where the server counts them
    sleeps: bool = False  # it puts its model away when idle
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostWork:
    """What the host's kernel and GPU driver say about a process and its children."""

    gpu_share: float | None = None  # of one GPU's time since the last question, 0 to 1; None: on no GPU that we can see
    gpu_is_unknown: bool = False  # it is on a GPU, and nobody can tell what it does there
    waits_for_disk: bool = False  # a thread sleeps in the kernel where no signal reaches


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a canary ended; `first_token_s` is counted from its sending, None where no answer began."""

    reply: Reply
    first_token_s: float | None = None
    detail: str = ""


class ProgressProbe(Protocol):
    """Reads the server's own counters, without asking it to infer."""

    async def look(self, *, timeout_s: float, gently: bool = False) -> Counters:
        """Return what the counters say; at most `timeout_s` seconds pass.

        A question that is not answered by then is held open, and the next look goes on waiting for it: one that was
        dropped would stay in the server's queue all the same. `gently` asks only what lets the server fall asleep.
        """
        ...

    def let_go(self) -> None:
        """Drop the question that is held open, and whatever is known of a life that has ended."""
        ...


class CanaryProbe(Protocol):
    """Asks the server for a real, tiny piece of inference."""

    async def send(self, *, limit_s: float, slot: int | None = None) -> Answer:
        """Send one canary and hold it open until it is answered, or `limit_s` is over.

        `slot` pins it to an idle slot where the server can do that.
        """
        ...


class HostProbe(Protocol):
    """Asks this host about a process: its GPU, its threads."""

    async def work(self, pid: int) -> HostWork:
        """Return what `pid` and its children did since the last question; soon, whatever the driver does."""
        ...
