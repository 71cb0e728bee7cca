"""What every engine offers. An engine translates and does nothing else: no thresholds, no retries, no opinions."""

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from supervisor.core.observations import EngineSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Something happened to target `name`; None: we were cut off, so anything may have happened to any target."""

    name: str | None
    what: str = ""  # the engine's word for it, for the log


@dataclass(frozen=True, slots=True)
class NewLife:
    """A target was started anew: what follows in its log, a new life of it has printed."""


Log = AsyncGenerator[bytes | NewLife, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What an engine can tell of a target for the record: plain JSON values, and neither secrets nor users' words.

    `facts` are how it was made and how it is (image, command, limits, ports, mounts, networks, state), `processes` what
    runs in it (pid, name, state, CPU seconds, memory, the kernel function it waits in). `is_detached`: it is on no
    network although it was made to be on one.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    processes: tuple[Mapping[str, Any], ...] = ()
    is_detached: bool = False


class Engine(Protocol):
    """Start, stop, restart and inspect targets by their name in the engine.

    Every call is bounded in time by the engine's own settings and raises nothing but:

    Raises:
        EngineUnreachable: the engine did not answer; trying again may help.
        EngineRefused: the engine answered and would not do it; the message holds its own words.
        TargetMissing: the engine has nothing of that name (`inspect` says `Life.MISSING` instead).
    """

    async def inspect(self, name: str) -> EngineSeen:
        """Return what the engine knows about `name`; a missing target is an answer, not an error."""
        ...

    async def start(self, name: str) -> None:
        """Start `name`; a running one is left as it is."""
        ...

    async def stop(self, name: str, *, grace_s: float) -> None:
        """Stop `name`, giving it `grace_s` seconds to go by itself; a stopped one is left as it is."""
        ...

    async def restart(self, name: str, *, grace_s: float) -> None:
        """Stop `name` as `stop` does and start it; start it if it was not running.

        Not cancel-safe: once begun, it runs on even if the caller is cancelled.
        """
        ...

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the main process of `name`, which must be running.

        An end that follows is no stop by an operator: an inspection names the signal (`signalled`).
        """
        ...

    async def cpu_s(self, name: str) -> float | None:
        """Return the CPU seconds `name` has burned since its instance started; None where nobody can tell."""
        ...

    async def log_tail(self, name: str, *, max_bytes: int) -> str:
        """Return at most the last `max_bytes` of what `name` printed."""
        ...

    def follow_log(self, name: str, *, max_bytes: int) -> Log:
        """Yield at most the last `max_bytes` of what `name` printed, and then what it prints, in later lives too.

        It does not end, and what it holds is bounded, however slowly it is read. Raises before the first, or not.
        """
        ...

    async def describe(self, name: str) -> Description:
        """Return what can be told of `name` for the record; little of a missing one."""
        ...

    async def circumstances(self, name: str) -> Mapping[str, str]:
        """Return what a person might change to cure `name`, each thing in a word: when one differs, it may start now.

        Such as {"container": "4f1e…", "image": "sha256:…", "port 8091": "taken", "/models/phi-3.gguf": "missing"}.
        Two calls give the same while nothing has changed.
        """
        ...

    def watch(self) -> AsyncIterator[Changed]:
        """Yield changes for ever, reconnecting by itself; `Changed(name=None)` after every (re)connection."""
        ...

    def mark_ours(self, name: str, *, over_at: float | None = None) -> None:
        """Take note that the stop `name` is found in was begun by an earlier daemon of ours, not by an operator.

        That daemon's act was over at the wall time `over_at`, and what was stopped long after is an operator's all the
        same; None: it was cut short, or nobody knows when. What runs is not taken for stopped by us when it ends later.
        """
        ...

    def forget(self, name: str) -> None:
        """Keep nothing more about `name`: it is watched no more, and nothing is done to it."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads; targets run on."""
        ...
