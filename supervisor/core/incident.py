"""Follow one trouble of one target from the first sign that it needs help to the moment it is well again.

Pure. Every time is monotonic seconds; whoever keeps incidents turns them into wall times.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from supervisor.core.cause import Diagnosis
from supervisor.core.state import NOT_NEEDED, STANDS_BY, WELL, Phase, State
from supervisor.core.verdict import Judgement


class Ending(StrEnum):
    """What ended a trouble, as far as we can tell."""

    OUR_RESTART = "our restart"
    ITSELF = "by itself"  # the same life is well again
    SOMEBODY = "somebody else's restart"
    OPERATOR = "the operator"  # who has stopped it, or has asked for what was done
    NOT_NEEDED = "not needed any more"  # a stand-in whose first choice is back


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One trouble: who, since when, why, what was done, and how it ended.

    `would_act_at` is when we would have acted for the first time, where something held us back; `instance` is the life
    that was ill at first.
    """

    id: str
    target: str
    instance: str | None
    opened_at: float
    judgement: Judgement
    diagnosis: Diagnosis | None = None
    acted_at: tuple[float, ...] = ()
    would_act_at: float | None = None
    asked: bool = False  # an operator has acted meanwhile
    closed_at: float | None = None
    ending: Ending | None = None

    @property
    def was_right_to_wait(self) -> bool | None:
        """Whether it got well without what we would have done; None: nobody can tell, or nothing held us back."""
        if self.would_act_at is None or self.ending is None or self.acted_at:
            return None
        return self.ending is Ending.ITSELF


OPENS = frozenset({Phase.BACKOFF, Phase.FAILED, Phase.RESTARTING})


def follow(
    incident: Incident | None,
    before: State,
    after: State,
    *,
    target: str,
    instance: str | None,
    new_id: str,
    now: float,
) -> Incident | None:
    """Return the incident as it is after a step, None where there is no trouble.

    One opens where a target comes to need help, unless an operator asked for what is done to it. A closed one is
    returned once, and stands for no trouble from then on.
    """
    if incident is not None and incident.closed_at is not None:
        incident = None
    if incident is None:
        if after.phase not in OPENS or after.phase is before.phase or after.asked is not None:
            return None
        incident = Incident(id=new_id, target=target, instance=instance, opened_at=now, judgement=after.judgement)
    return _closed(_told(incident, before, after, now=now), after, instance=instance, now=now)


def _told(incident: Incident, before: State, after: State, *, now: float) -> Incident:
    if after.diagnosis is not None and after.diagnosis != incident.diagnosis:
        incident = replace(incident, diagnosis=after.diagnosis)
    if after.asked is not None and after.judgement.reason != NOT_NEEDED and not incident.asked:
        incident = replace(incident, asked=True)
    if before.phase is Phase.RESTARTING and after.phase is Phase.STARTING and before.asked is None:
        incident = replace(incident, acted_at=(*incident.acted_at, now))  # done, and not merely intended
    if incident.would_act_at is None and after.restraint is not None:
        incident = replace(incident, would_act_at=now)
    return incident


def _closed(incident: Incident, after: State, *, instance: str | None, now: float) -> Incident:
    if after.phase is Phase.STOPPED:
        by_us = after.judgement.reason in (NOT_NEEDED, STANDS_BY)
        return replace(incident, closed_at=now, ending=Ending.NOT_NEEDED if by_us else Ending.OPERATOR)
    if after.phase not in WELL:
        return incident
    if incident.asked:
        ending = Ending.OPERATOR
    elif incident.acted_at:
        ending = Ending.OUR_RESTART  # also where its server went on, and one model was ended alone
    else:
        ending = Ending.ITSELF if instance == incident.instance else Ending.SOMEBODY
    return replace(incident, closed_at=now, ending=ending)
