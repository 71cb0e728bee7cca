"""No engine at all: the target is watched, and starting and stopping it is somebody else's business."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from typing import NoReturn

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.base import Changed, Description, Log
from supervisor.errors import EngineRefused


class NoEngine:
    """Knows nothing and does nothing. A target counts as running, so that its probes alone judge it."""

    async def inspect(self, name: str) -> EngineSeen:  # noqa: ARG002 - the Protocol's
        """Return that it runs, for all we know."""
        return EngineSeen(life=Life.RUNNING)

    async def start(self, name: str) -> None:
        """Refuse."""
        _refuse(name, "start")

    async def stop(self, name: str, *, grace_s: float) -> None:  # noqa: ARG002 - the Protocol's
        """Refuse."""
        _refuse(name, "stop")

    async def restart(self, name: str, *, grace_s: float) -> None:  # noqa: ARG002 - the Protocol's
        """Refuse."""
        _refuse(name, "restart")

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Refuse."""
        _refuse(name, f"send {number.name} to")

    async def cpu_s(self, name: str) -> float | None:  # noqa: ARG002 - the Protocol's
        """Return None: nobody can tell."""
        return None

    async def log_tail(self, name: str, *, max_bytes: int) -> str:  # noqa: ARG002 - the Protocol's
        """Return nothing."""
        return ""

    def follow_log(self, name: str, *, max_bytes: int) -> Log:  # noqa: ARG002 - the Protocol's
        """Refuse."""
        _refuse(name, "read the log of")

    async def describe(self, name: str) -> Description:  # noqa: ARG002 - the Protocol's
        """Return an empty description."""
        return Description()

    async def circumstances(self, name: str) -> Mapping[str, str]:  # noqa: ARG002 - the Protocol's
        """Return nothing."""
        return {}

    async def watch(self) -> AsyncIterator[Changed]:
        """Yield nothing, for ever."""
        await asyncio.Event().wait()
        yield Changed(name=None)

    def mark_ours(self, name: str, *, over_at: float | None = None) -> None:
        """Take no note: we never stop anything."""

    def forget(self, name: str) -> None:
        """Take no note: nothing is known of anything."""

    async def close(self) -> None:
        """Do nothing."""


def _refuse(name: str, verb: str) -> NoReturn:
    raise EngineRefused(
        f'cannot {verb} {name}: it has engine = "none" and is watched only; set engine = "docker" (with the name of its'
        ' container), "process" (with its command) or "systemd" (with its unit) in settings.toml'
    )
