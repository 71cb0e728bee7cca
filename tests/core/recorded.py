"""Play a timeline and record it up to the first restart, as a keeper does with what it sees."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from supervisor.core.observations import Observation
from supervisor.core.recording import Belief, Recording, noted
from tests.core.timeline import NOW, Moment, Played


@dataclass
class Recorded(Played):
    """A timeline, and what is recorded of it."""

    recording: Recording = field(default_factory=Recording)
    until: float = NOW

    @property
    def restarted_at(self) -> list[float]:
        """When it was restarted first, if it was."""
        return [at for at, _ in self.acts[:1]]

    def _see(self, seen: Observation) -> None:
        if not self.acts:
            before = Belief(evidence=self.evidence, state=self.state, baseline=self.baseline)
            self.recording = noted(self.recording, seen, now=self.now, before=before)
            self.until = self.now
        super()._see(seen)


def record(moments: Iterable[Moment]) -> Recorded:
    """Play moments and record them."""
    recorded = Recorded()
    recorded.play(moments)
    return recorded
