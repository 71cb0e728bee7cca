"""Two clocks that move when told, and a client that reads by them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.client import Liveness


@dataclass
class Clocks:
    """A wall clock, which anybody may set, and a steady one, which stands still while the machine sleeps."""

    wall_s: float
    steady_s: float = 100.0

    def wall(self) -> float:
        """Return what the wall clock shows."""
        return self.wall_s

    def steady(self) -> float:
        """Return what the steady clock shows."""
        return self.steady_s

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_s += seconds
        self.steady_s += seconds

    def client(self, source: str | Path, **options: Any) -> Liveness:
        """Make a client that lives in this time."""
        return Liveness(source, wall_clock=self.wall, steady_clock=self.steady, **options)
