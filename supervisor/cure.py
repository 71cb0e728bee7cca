"""Watch whether anything has changed about what stands in the way of every restart: then it is tried again at once.

It need not know which change is the cure; the next attempt tells. A change counts once it has stood for one look more:
a model that is being copied grows for minutes.
"""

import time
from collections.abc import Callable, Mapping

from supervisor.core.cause import GIB, Cause
from supervisor.engines.base import Engine
from supervisor.errors import SupervisorError
from supervisor.examine import Memories

EVERY_S = 4.0
ON_A_GPU = frozenset({Cause.OUT_OF_VRAM, Cause.GPU_LOST})
LOST, HAS = "lost", "has"


class Cure:
    """Watches one target's circumstances while it waits for a person."""

    def __init__(
        self,
        *,
        engine_name: str,
        engine: Engine,
        host: Memories,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine_name = engine_name
        self._engine = engine
        self._host = host
        self._clock = clock
        self._known: Mapping[str, str] | None = None  # as they were when it failed
        self._last: Mapping[str, str] | None = None
        self._looked_at = -EVERY_S

    def begin(self) -> None:
        """Forget how things were: it has failed anew."""
        self._known = self._last = None
        self._looked_at = -EVERY_S

    async def look(self, cause: Cause) -> str:
        """Return what has changed for good since the first look, in a phrase; empty: nothing, or it is too soon."""
        if self._clock() - self._looked_at < EVERY_S:
            return ""
        self._looked_at = self._clock()
        try:
            present = dict(await self._engine.circumstances(self._engine_name))
        except SupervisorError:
            return ""
        if cause in ON_A_GPU:
            present |= await self._gpus()
        known, last, self._last = self._known, self._last, present
        if known is None:
            self._known = present
            return ""
        changed = [key for key in sorted(known.keys() | present.keys()) if known.get(key) != present.get(key)]
        if not changed or present != last:
            return ""
        self._known = present
        return f"{changed[0]} has changed" if _is_for_the_better(changed, known, present) else ""

    async def _gpus(self) -> dict[str, str]:
        told = {}
        for gpu in await self._host.memory() or ():
            free = (gpu.total_bytes - gpu.used_bytes) // GIB
            told[f"GPU {gpu.index}"] = LOST if gpu.is_lost else f"{HAS} {free} GiB free"
        return told


def _is_for_the_better(changed: list[str], known: Mapping[str, str], present: Mapping[str, str]) -> bool:
    """Whether anything but a GPU that has less room now has changed."""

    def free(told: str | None) -> int:
        return int(told.split()[1]) if told and told.startswith(HAS) else -1

    return any(not key.startswith("GPU ") or free(present.get(key)) > free(known.get(key)) for key in changed)
