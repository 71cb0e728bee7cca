"""Whoever holds us back, and whoever remembers incidents, in memory: they write down what reaches them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from supervisor.core.restraint import Hold

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass
class Rereads:
    """Whoever reads the settings anew: says what it is told to say."""

    says: dict[str, Any] = field(default_factory=lambda: {"file": "settings.toml", "targets": [], "common": []})
    complaint: Exception | None = None
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    async def compare(self, names: Sequence[str]) -> dict[str, Any]:
        """Say what would change."""
        return self._say("compare", names)

    async def update(self, names: Sequence[str]) -> dict[str, Any]:
        """Say what has changed."""
        return self._say("update", names)

    def _say(self, what: str, names: Sequence[str]) -> dict[str, Any]:
        self.asked.append((what, tuple(names)))
        if self.complaint is not None:
            raise self.complaint
        return {**self.says, "applied": what == "update"}


@dataclass
class Brakes:
    """Holds in memory, begun at noon."""

    asked: list[tuple[str, float | None, str]] = field(default_factory=list)
    held: dict[str, Hold] = field(default_factory=dict)
    acting_on: tuple[str, ...] = ()

    async def hold(self, target: str, *, for_s: float | None, why: str) -> Hold:
        """Hold it."""
        self.asked.append((target, for_s, why))
        until = None if for_s is None else NOON + timedelta(seconds=for_s)
        self.held[target] = Hold(target=target, since=NOON, until=until, why=why)
        return self.held[target]

    async def release(self, target: str) -> bool:
        """Let go of it."""
        return self.held.pop(target, None) is not None

    def all(self) -> tuple[Hold, ...]:
        """Return what is held."""
        return tuple(self.held.values())

    def under_way(self) -> tuple[str, ...]:
        """Return what it was told."""
        return self.acting_on


@dataclass
class Remembered:
    """Incidents with their evidence, whoever is asked about; None: they cannot be read."""

    incidents: list[dict[str, Any]] | None = field(default_factory=list)
    asked: list[tuple[str | None, int]] = field(default_factory=list)

    async def several(self, *, target: str | None, limit: int) -> list[dict[str, Any]] | None:
        """Return all, without their evidence."""
        self.asked.append((target, limit))
        if self.incidents is None:
            return None
        return [{key: value for key, value in each.items() if key != "evidence"} for each in self.incidents]

    async def one(self, incident_id: str, /) -> dict[str, Any] | None:
        """Return one, with its evidence."""
        if self.incidents is None:
            raise LookupError
        return next((each for each in self.incidents if each["id"] == incident_id), None)
