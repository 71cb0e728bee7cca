"""Tell the story of a target made by hand, or of one that has been through a timeline."""

from dataclasses import replace
from typing import Any

from supervisor.core.evidence import Evidence
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import EngineSeen, Life, Slot
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State
from supervisor.core.story import story
from supervisor.core.verdict import Judgement, Verdict
from tests.core.timeline import Moment, Played

NOW = 1000.0
POLICY = Policy()
ALIVE = EngineSeen(life=Life.RUNNING, instance="4f1e")
IDLE_SLOT = Slot(id=0, busy=False, task=None, decoded=0, prefilled=0)
BURNING = {"cpu_burned": True, "measured_s": 40.0, "burned_s": 36.0}
READY = Judgement(verdict=Verdict.READY, reason="CanaryAnswered", message="first token after 41 ms")
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersSilent", message="counters silent, cpu idle")


def at_work(*, slot: int = 0, decoded: int = 12, prefilled: int = 100) -> Slot:
    """Return a slot that has a request."""
    return Slot(id=slot, busy=True, task=7, decoded=decoded, prefilled=prefilled)


def snapshot(phase: Phase, judgement: Judgement, **changes: Any) -> Snapshot:
    """Return a backend that has been in `phase` for 10 s; `changes` are of its state or evidence."""
    state: dict[str, Any] = {"phase": phase, "since": NOW - 10, "judgement": judgement}
    evidence: dict[str, Any] = {"seen_at": 900.0, "started_at": 880.0, "instance": "4f1e", "engine": ALIVE}
    for key, value in changes.items():
        (state if key in State.__dataclass_fields__ else evidence)[key] = value
    return Snapshot(
        name="general",
        kind="backend",
        url="http://127.0.0.1:8091",
        models=("general",),
        state=State(**state),
        evidence=Evidence(**evidence),
        policy=POLICY,
        as_of=NOW,
    )


def told(phase: Phase, judgement: Judgement, **changes: Any) -> str:
    """Return the story of one made by hand."""
    return story(snapshot(phase, judgement, **changes), now=NOW)


def told_of(*moments: Moment) -> str:
    """Return the story one second after a timeline has been played."""
    played = Played().play(moments)
    seen = replace(snapshot(Phase.UP, READY), state=played.state, evidence=played.evidence, as_of=played.now)
    return story(seen, now=played.now + 1)


def judged(verdict: Verdict, reason: str = "Some", message: str = "some message") -> Judgement:
    """Return a judgement; what it says matters little."""
    return Judgement(verdict=verdict, reason=reason, message=message)
