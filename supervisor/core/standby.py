"""Say when a stand-in is needed: a backend that is not running as a rule, and runs where another cannot be had.

Pure. Such as the same model on the CPU, for the day on which the GPU is lost or full.
"""

from dataclasses import replace
from enum import StrEnum

from supervisor.core.observations import EngineSeen, Life
from supervisor.core.state import STANDS_BY, WELL, Phase, State
from supervisor.core.verdict import Judgement, Verdict

STOP_AGAIN_S = 60.0  # after a stop that the engine did not do


class Need(StrEnum):
    """Whether a stand-in should run."""

    NEEDED = "needed"
    OVER = "over"  # the first choice has been well for long enough, or somebody has stopped that on purpose
    UNDECIDED = "undecided"  # it runs on if it runs: the first choice may be on its way back, or not


def need(first: State, *, return_after_s: float, now: float) -> Need:
    """Return whether whatever stands in for a target in state `first` should run.

    It is needed once restarts do not help, and not before: a restart is faster than the start of another server.
    """
    if first.phase is Phase.FAILED:
        return Need.NEEDED
    if first.phase is Phase.STOPPED:
        return Need.OVER
    is_back = first.phase in WELL and first.well_since is not None and now - first.well_since >= return_after_s
    return Need.OVER if is_back else Need.UNDECIDED


def standing_by(
    judgement: Judgement, state: State, engine: EngineSeen | None, needed: Need, *, first: str
) -> Judgement:
    """Return the judgement of a stand-in: that it does not run is as it should be, where nobody has called for it."""
    is_gone = engine is not None and engine.life in (Life.EXITED, Life.CREATED)
    is_called = needed is Need.NEEDED and state.phase not in (Phase.STOPPED, Phase.UNKNOWN)
    # One that we have started for need and that has died since is needed all the same, until that is over.
    if not is_gone or is_called or (state.for_need and needed is not Need.OVER):
        return judgement
    return replace(judgement, verdict=Verdict.STOPPED, reason=STANDS_BY, message=f"stands by for {first}", since=None)


def wants_start(state: State, engine: EngineSeen | None, needed: Need) -> bool:
    """Whether it should be started now."""
    is_gone = engine is not None and engine.life in (Life.EXITED, Life.CREATED)
    # Stopped although we had started it for need, it was stopped by somebody: it is left so until it is needed anew.
    return needed is Need.NEEDED and is_gone and state.phase is Phase.STOPPED and not state.for_need


def wants_stop(state: State, engine: EngineSeen | None, needed: Need, *, now: float) -> bool:
    """Whether it should be stopped now: what a person started, only a person stops."""
    runs = engine is not None and engine.life is Life.RUNNING
    if state.stop_failed_at is not None and now - state.stop_failed_at < STOP_AGAIN_S:
        return False
    is_settled = not state.phase.is_ours and state.phase not in (Phase.DRAINING, Phase.STOPPED)
    return needed is Need.OVER and runs and is_settled and state.for_need
