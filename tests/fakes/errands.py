"""Errands that are never run: they are written down in the order they were asked for, with what was told by then."""

import asyncio
from dataclasses import dataclass, field

from supervisor.core.actions import Act
from supervisor.core.baseline import Baseline
from supervisor.core.cause import Cause
from supervisor.core.incident import Incident
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import EngineSeen
from supervisor.core.state import Transition
from supervisor.messages import Case


@dataclass
class Ledger:
    """What a keeper asked for and told, in order; stands in for its errands and for the board."""

    lines: list[str] = field(default_factory=list)
    acts: list[tuple[Act, str | None]] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    incidents_of: list[str | None] = field(default_factory=list)  # of each transition
    renamed: list[str] = field(default_factory=list)
    told: list[Snapshot] = field(default_factory=list)
    paces: list[float] = field(default_factory=list)
    canaries: list[tuple[str | None, int, int | None]] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    remembered: list[Baseline] = field(default_factory=list)

    def inspect(self) -> None:
        self.lines.append("inspect")

    def look(self, instance: str | None, *, engine: EngineSeen | None, with_cpu: bool, gently: bool) -> None:  # noqa: ARG002
        self.lines.append(f"look {'gently ' if gently else ''}at {instance}{' and its cpu' if with_cpu else ''}")

    def send_canary(
        self, instance: str | None, attempt: int, slot: int | None, *, model: str | None = None, limit_s: float
    ) -> None:
        self.lines.append(f"canary to {instance}{f' for {model} within {limit_s:g}s' if model else ''}")
        self.canaries.append((instance, attempt, slot))

    def act(self, act: Act, case: Case) -> None:
        self.lines.append(f"{act.verb} {case.instance}")
        self.acts.append((act, case.instance))
        self.cases.append(case)

    def note(self, act: Act, case: Case) -> None:
        self.lines.append(f"note {act.verb} {case.instance}")

    def watch_cure(self, cause: Cause) -> None:
        self.lines.append(f"watch for a cure of {cause}")

    def keep_incident(self, incident: Incident, *, instead_of: str | None = None) -> None:
        self.incidents.append(incident)
        self.renamed += [instead_of] if instead_of else []

    def record(
        self,
        transition: Transition,
        instance: str | None,  # noqa: ARG002 - the Protocol's
        *,
        incident: str | None,
    ) -> None:
        self.lines.append(f"record {transition.after}")
        self.incidents_of.append(incident)
        self.transitions.append(transition)

    def remember(self, baseline: Baseline) -> None:
        self.lines.append("remember")
        self.remembered.append(baseline)

    @property
    def is_acting(self) -> bool:
        return bool(self.acts)

    def forget(self) -> None:
        self.lines.append("forget")

    def publish(self, snapshot: Snapshot) -> None:
        told = f"tell {snapshot.state.phase}"
        if self.lines[-1:] != [told]:
            self.lines.append(told)
        self.told.append(snapshot)

    async def has(self, line: str, *, within_s: float = 5.0) -> None:
        """Wait until `line` has been written down."""
        async with asyncio.timeout(within_s):
            while line not in self.lines:  # noqa: ASYNC110 - whoever writes here knows nothing of events
                await asyncio.sleep(0.001)

    def pace(self, every_s: float) -> None:
        self.paces.append(every_s)
