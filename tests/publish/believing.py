"""What is believed about targets, made by hand, and a time that passes when told."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from supervisor.core.evidence import Evidence
from supervisor.core.liveness import Snapshot
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State
from supervisor.core.verdict import Judgement, Verdict
from supervisor.publish.board import Board

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
VALID_FOR_S = 15.0
READY = Judgement(verdict=Verdict.READY, reason="CanaryAnswered", message="first token after 41 ms")
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersStanding", message="no progress, cpu idle", since=90.0)


@dataclass
class Time:
    """Both clocks; `now` is the monotonic one."""

    now: float = 100.0
    wall: datetime = NOON

    def pass_s(self, seconds: float) -> None:
        """Let time pass on both."""
        self.now += seconds
        self.wall += timedelta(seconds=seconds)

    def board(self, *snapshots: Snapshot, mode: str = "enforce") -> Board:
        """Return a board that lives in this time."""
        return Board(snapshots, valid_for_s=VALID_FOR_S, mode=mode, clock=lambda: self.now, wall=lambda: self.wall)


def snapshot(name: str = "planner", *, as_of: float = 100.0, **changes: Any) -> Snapshot:
    """Return a ready backend; `changes` are of the snapshot, or of its state or evidence."""
    state = State(phase=Phase.UP, since=98.0, judgement=READY)
    evidence = Evidence(seen_at=90.0, instance="4f1e@12", started_at=40.0, answered_at=99.0, first_token_s=0.0412)
    own = {key: value for key, value in changes.items() if key in Snapshot.__dataclass_fields__}
    of_state = {key: value for key, value in changes.items() if key in State.__dataclass_fields__}
    of_evidence = {key: value for key, value in changes.items() if key in Evidence.__dataclass_fields__}
    assert set(changes) <= set(own) | set(of_state) | set(of_evidence)
    made: dict[str, Any] = {
        "name": name,
        "kind": "backend",
        "url": "http://127.0.0.1:8092",
        "models": (name,),
        "state": replace(state, **of_state),
        "evidence": replace(evidence, **of_evidence),
        "policy": Policy(),
        "as_of": as_of,
    }
    return Snapshot(**{**made, **own})
