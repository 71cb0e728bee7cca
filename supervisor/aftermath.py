"""What an engine call of ours leaves of the evidence, once it has come back. Pure, and decides nothing."""

from dataclasses import replace

from supervisor.core.events import Ended, Failed, Verb
from supervisor.core.evidence import Evidence
from supervisor.core.fold import ease, forgive
from supervisor.core.observations import EngineSeen, Life
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State


def evidence_after(
    event: Ended | Failed, evidence: Evidence, *, left: Evidence | None, state: State, policy: Policy, now: float
) -> Evidence:
    """Return what is known now; `left` is what was known of the life that we set out to end."""
    if isinstance(event, Failed) and not event.counts and left is not None:
        # Nothing was done, so what is known of the old instance holds, but for the time in which nobody looked.
        attempt = evidence.canary_attempt
        known = replace(left, engine=None, canary_since=None, unanswered_since=None, canary_attempt=attempt)
        return forgive(known, now=now)
    if isinstance(event, Failed):
        # The old instance may well be there still, and then it counts again.
        return replace(evidence, engine=None, old_instance=None)
    if event.eased and left is not None:
        known = replace(left, canary_attempt=evidence.canary_attempt, old_instance=None)
        return ease(known, policy=policy, now=now)
    if state.asked is Verb.START:
        # It may be the old instance that goes on: a paused one has only been let go on.
        return forgive(replace(evidence, engine=None), now=now)
    if state.phase is Phase.STOPPING:
        gone = EngineSeen(life=Life.EXITED, instance=evidence.instance, stopped_by_operator=True)
        return replace(evidence, engine=gone)
    return replace(evidence, engine=None) if evidence.instance is None else evidence
