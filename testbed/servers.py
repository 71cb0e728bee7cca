"""Real model servers for tests, demo and benchmarks, in containers or as child processes, and the faults we give them.

Both kinds offer the same: run, freeze, kill, pause, resume, remove. Whoever makes one uses it with `with`: nothing
is left behind, and what an interrupted earlier run left is removed at the start.
"""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from testbed.container_servers import ContainerServers
from testbed.process_servers import ProcessServers

__all__ = ["ContainerServers", "Frozen", "ProcessServers", "Servers"]


class Frozen(Protocol):
    """A hold on one inference thread."""

    def release(self) -> None:
        """Let the thread go on; fine where the server has gone meanwhile."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Servers(Protocol):
    """Model servers by name; the name is the container's too."""

    def run(self, name: str, model: Path, *flags: str, port: int | None = None, ready: bool = True) -> str:
        """Start a server on the loopback and return its URL, once it is ready unless told not to wait."""
        ...

    def pid(self, name: str) -> int | None:
        """Return the server's process id on the host, None where it does not run."""
        ...

    def freeze(self, name: str, *, mid_answer: bool = False, when_busy: bool = False) -> Frozen:
        """Stop the inference thread and nothing else.

        `mid_answer` asks for an answer and stops in its middle; `when_busy` waits for somebody else's.
        """
        ...

    def kill(self, name: str) -> None:
        """Kill the server the way a crash does, unseen by the engine, and return once it is dead."""
        ...

    def pause(self, name: str) -> None:
        """Stop the whole server in its tracks."""
        ...

    def resume(self, name: str) -> None:
        """Undo `pause`."""
        ...

    def log(self, name: str) -> str:
        """Return what the server printed."""
        ...

    def remove(self, name: str) -> None:
        """Remove the server; fine where it has gone."""
        ...

    def remove_all(self) -> None:
        """Remove every server and every hold."""
        ...
