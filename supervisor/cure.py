"""Watch whether anything has changed about what stands in the way of every restart: then it is tried again at once.

It need not know which change is the cure; the next attempt tells. Each thing is watched by itself, whatever flickers
beside it. A change counts once it has stood for one look more: a model that is being copied grows for minutes. What an
attempt was made for in vain brings no second one, and whoever does not answer has changed nothing.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from supervisor.core.cause import GIB, Cause
from supervisor.engines.base import Engine
from supervisor.engines.host_looks import NO_ANSWER
from supervisor.errors import SupervisorError
from supervisor.examine import Memories
from supervisor.probes.base import GpuMemory

EVERY_S = 4.0
# Not looked at for so long, it did run meanwhile: the longest backoff, and a load, take less.
ANOTHER_TROUBLE_S = 600.0
MOST_TRIED = 256
NOWHERE = ""  # the word for what is not told of at all
ON_A_GPU = frozenset({Cause.OUT_OF_VRAM, Cause.GPU_LOST})
GROWTH_BYTES = GIB  # free memory goes up and down by less while nobody does anything
LOST_BYTES = -GROWTH_BYTES  # so that a GPU which is found again is a change, however full it is


class Things:
    """What an engine tells of what surrounds a target, each thing in a word."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}  # when it failed, or since a change has counted
        self._last: dict[str, str] = {}  # whoever does not answer, as it was last told
        self._tried: deque[tuple[Cause, str, str]] = deque(maxlen=MOST_TRIED)
        self._failed_anew = True

    def begin(self) -> None:
        """Measure from how things are at the next look."""
        self._failed_anew = True

    def changed(self, told: Mapping[str, str], cause: Cause) -> list[str]:
        """Return which things have changed for good to what they were not yet tried with, against this cause."""
        last = self._last
        present = {key: last.get(key, word) if word == NO_ANSWER else word for key, word in told.items()}
        self._last = present
        if self._failed_anew:
            self._failed_anew = False
            self._known = dict(present)
            return []
        news = []
        for key in sorted(self._known.keys() | present.keys()):
            word = present.get(key, NOWHERE)
            has_lasted = told.get(key) != NO_ANSWER and word == last.get(key, NOWHERE)
            if not has_lasted or word == self._known.get(key, NOWHERE):
                continue
            self._known[key] = word
            if (cause, key, word) not in self._tried:
                self._tried.append((cause, key, word))
                news.append(key)
        return news


class FreeMemory:
    """How much memory of each GPU is free."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}  # bytes, by the GPU's index
        self._in_vain: dict[int, int] = {}  # the most that was free when it failed, or that it was tried with
        self._failed_anew = True

    def begin(self) -> None:
        """Measure from what is free at the next look, too."""
        self._failed_anew = True

    def grown(self, gpus: Iterable[GpuMemory]) -> list[int]:
        """Return the GPUs on which more is free for good than was ever of any use."""
        last = self._last
        told = {gpu.index: LOST_BYTES if gpu.is_lost else gpu.free_bytes for gpu in gpus}
        self._last = present = last | told
        if self._failed_anew:
            self._failed_anew = False
            self._in_vain |= {index: max(free, self._in_vain.get(index, free)) for index, free in present.items()}
            return []
        lasting = {index: min(free, last.get(index, LOST_BYTES)) for index, free in sorted(told.items())}
        news = {
            index: free
            for index, free in lasting.items()
            if free >= self._in_vain.get(index, LOST_BYTES) + GROWTH_BYTES
        }
        self._in_vain |= news
        return list(news)


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
        self._things, self._memory = Things(), FreeMemory()
        self._looked_at = self._due_at = -math.inf

    def begin(self) -> None:
        """Measure from how things are next, for it is tried anew; what was tried for the same trouble is kept."""
        self._things.begin()
        self._memory.begin()
        self._due_at = -math.inf

    def forget(self) -> None:
        """Forget all of this trouble: it is over."""
        self._things, self._memory = Things(), FreeMemory()
        self._due_at = -math.inf

    async def look(self, cause: Cause) -> str:
        """Return what has changed for good since the first look, in a phrase; empty: nothing, or it is too soon."""
        now = self._clock()
        if now < self._due_at:
            return ""
        if now - self._looked_at >= ANOTHER_TROUBLE_S:
            self.forget()
        self._looked_at, self._due_at = now, now + EVERY_S
        try:
            told = await self._engine.circumstances(self._engine_name)
        except SupervisorError:
            return ""
        news = self._things.changed(told, cause)
        if cause in ON_A_GPU:
            news += [f"GPU {index}" for index in self._memory.grown(await self._host.memory() or ())]
        return f"{news[0]} has changed" if news else ""
