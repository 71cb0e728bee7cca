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
class Holder:
    """A process that holds memory of a GPU; `name` is the kernel's for it, empty where it is not for us to see."""

    pid: int
    name: str = ""
    used_bytes: int | None = None  # None: the driver does not tell
    is_gone: bool = False  # the driver holds memory for it, and the kernel knows no such process


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """A GPU's memory, and who holds it; `index` and `uuid` are the driver's, not those inside a container.

    What is used beyond what the holders hold, the driver keeps for itself or for somebody it does not name. Of a GPU
    that is lost (it fell off the bus) only the index may be known.
    """

    index: int
    uuid: str = ""
    name: str = ""
    used_bytes: int = 0
    total_bytes: int = 0
    holders: tuple[Holder, ...] = ()  # who holds most comes first
    holders_are_known: bool = True  # False: the driver never tells who they are
    is_lost: bool = False

    @property
    def free_bytes(self) -> int:
        """What is left for somebody else."""
        return max(0, self.total_bytes - self.used_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a canary ended; `first_token_s` is counted from its sending, None where no answer began."""

    reply: Reply
    first_token_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eased:
    """Whether one model was ended inside a server that goes on; `detail` says what was done, or why it was not."""

    done: bool
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

    async def send(self, *, limit_s: float, slot: int | None = None, model: str | None = None) -> Answer:
        """Send one canary and hold it open until it is answered, or `limit_s` is over.

        `slot` pins it to an idle slot where the server can do that; `model` is asked for in place of the usual one.
        """
        ...


class Easing(Protocol):
    """Ends one model inside a server that goes on, where the server can do that: gentler than a restart of it all."""

    async def ease(self, *, limit_s: float) -> Eased:
        """End the model that our canary asks for, and no other; at most `limit_s` seconds pass.

        It is done once the server says that the model has gone, and the next request finds it loading anew. A canary
        that is held open is let go first: there are servers that end no model while anybody waits for its answer.
        """
        ...


class HostProbe(Protocol):
    """Asks this host about a process: its GPU, its threads."""

    async def work(self, pid: int, *, may_have_gpu: bool = True) -> HostWork:
        """Return what `pid` and its children did since the last question; soon, whatever the driver does.

        `may_have_gpu` is False where it is known that they were given none, whatever is hidden from us.
        """
        ...
