"""Say in one line how everything is: "4/4 ready", "4/5 ready; code: restarting, 2/5". Pure: no clock, no I/O.

The line is told again only when it changes, so nothing is in it that changes merely because time goes by.
"""

from collections.abc import Sequence

from supervisor.core.liveness import Snapshot
from supervisor.core.restraint import Curb
from supervisor.core.state import WELL, Phase
from supervisor.core.verdict import Verdict

MOST_NAMED = 4  # of those that are not ready: a line is read at a glance


def headline(snapshots: Sequence[Snapshot], *, observes: bool = False, problems: Sequence[str] = ()) -> str:
    """Return the line: how many are ready of those that should be, what the others are, and what ails ourselves."""
    wanted = [each for each in snapshots if not _waits_to_be_needed(each)]
    others = [each for each in wanted if not _is_ready(each)]
    parts = [f"{len(wanted) - len(others)}/{len(wanted)} ready"]
    parts += [f"{each.name}: {_word(each)}" for each in others[:MOST_NAMED]]
    if len(others) > MOST_NAMED:
        parts.append(f"{len(others) - MOST_NAMED} more")
    if unasked := [each.name for each in snapshots if each.evidence.engine_detail]:
        more = f" and {len(unasked) - MOST_NAMED} more" if len(unasked) > MOST_NAMED else ""
        parts.append(f"no answer from the engine of {', '.join(unasked[:MOST_NAMED])}{more}")
    if observes:
        parts.append("only observing")
    return "; ".join([*parts, *problems])


def _waits_to_be_needed(snapshot: Snapshot) -> bool:
    return snapshot.stands_in_for is not None and snapshot.state.phase is Phase.STOPPED


def _is_ready(snapshot: Snapshot) -> bool:
    """Whether it does its work, for all that is known now: what nobody can see was only well when it was last seen."""
    return snapshot.state.phase in WELL and snapshot.state.judgement.verdict is not Verdict.UNKNOWN


def _word(snapshot: Snapshot) -> str:
    state = snapshot.state
    budget = snapshot.policy.budget_restarts
    match state.phase:
        case Phase.RESTARTING if state.asked is None:
            return f"restarting, {len(state.restarts)}/{budget}"
        case Phase.BACKOFF if state.restraint is None or state.restraint.curb is Curb.OBSERVING:
            return f"{state.judgement.verdict}, restart {len(state.restarts) + 1}/{budget} waits"
        case Phase.BACKOFF:
            return f"{state.judgement.verdict}, held back"
        case Phase.FAILED:
            why = state.judgement.verdict if state.diagnosis is None else state.diagnosis.cause
            return f"FATAL, {why}"
        case Phase.UP | Phase.BUSY | Phase.DEGRADED | Phase.ASLEEP:
            return str(Verdict.UNKNOWN)
        case _:
            return str(state.phase)
