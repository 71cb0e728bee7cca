"""What earlier lives of ours knew: of one target, and what people have said.

A history that cannot be read is told of and lived without.
"""

import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from loguru import logger

from supervisor.build import Target
from supervisor.core.baseline import Baseline
from supervisor.core.incident import Incident
from supervisor.core.restraint import Hold
from supervisor.core.verdict import NOTHING_LEARNED
from supervisor.history import UNUSABLE
from supervisor.history.store import Memory, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was known of one target when it was last watched."""

    memory: Memory
    baseline: Baseline
    incident: Incident | None


class Recall:
    """Reads the history for whoever begins anew."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def past(self, target: Target) -> Past:
        """Return what was known of a target, and have its engine know which stop was ours."""
        name, store = target.identity.name, self._store
        remembering = store.remember(name, window_s=target.policy.budget_window_s)
        memory = await self._read(remembering, Memory(), "what was stopped by hand may be started again")
        if memory.is_cut_short:
            logger.warning("{}: an earlier daemon died in the midst of an act on it; looking what became of it", name)
        if memory.is_cut_short or memory.is_ours:
            target.engine.mark_ours(target.engine_name, over_at=memory.over_at)
        learned = await self._read(store.baseline(name), None, f"what is normal for {name} is learned anew")
        reading = store.open_incident(name, now=time.monotonic())
        incident = await self._read(reading, None, f"the trouble that {name} may be in is taken for a new one")
        return Past(memory=memory, baseline=learned or NOTHING_LEARNED, incident=incident)

    async def holds(self) -> Iterable[Hold]:
        """Return what people have said that is not over."""
        return await self._read(self._store.holds(), [], "what was held may be restarted")

    async def close_strangers(self, watched: Iterable[str]) -> None:
        """Close the troubles of whoever is watched no more: nobody would ever write down their end."""
        await self._read(self._store.close_strangers(tuple(watched)), None, "old troubles stay open")

    async def _read(self, reading: Awaitable[T], or_else: T, so: str) -> T:
        try:
            return await reading
        except UNUSABLE as error:
            logger.error("history: cannot be read, so {}: {}", so, error)
            return or_else
