"""Put what is believed about every target into the words of the liveness document and of the status table.

Pure: monotonic times become wall times by the `Clocks` the edge hands in; nothing here asks for the time.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from statistics import median
from typing import Any

from supervisor.core.baseline import Baseline
from supervisor.core.decide import serves_nobody
from supervisor.core.durations import brief
from supervisor.core.events import Verb
from supervisor.core.evidence import Evidence
from supervisor.core.policy import Policy
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import DRAINABLE, Phase, State
from supervisor.core.verdict import NOTHING_LEARNED, Verdict


class Word(StrEnum):
    """supervisord's words for a program's state, as operators and their scripts know them."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


DRAINED = "Drained"  # the reason of what a person has taken out of rotation
SERVING = DRAINABLE - {Phase.DRAINING}  # in which it may be serving somebody
STAND_IN_SHARE = 0.2  # the first choice is preferred from its first good answer on, even busy
SOON_S = 5.0  # where nobody knows how much longer it will take
PROBATION_WEIGHT = 0.5  # a recovery is believed at once, and leant upon a little later
WORDS = {
    Phase.UNKNOWN: Word.UNKNOWN,
    Phase.STARTING: Word.STARTING,
    Phase.UP: Word.RUNNING,
    Phase.BUSY: Word.RUNNING,
    Phase.DEGRADED: Word.RUNNING,
    Phase.ASLEEP: Word.RUNNING,
    Phase.SUSPECT: Word.RUNNING,
    Phase.DRAINING: Word.STOPPING,
    Phase.RESTARTING: Word.STARTING,
    Phase.BACKOFF: Word.BACKOFF,
    Phase.FAILED: Word.FATAL,
    Phase.STOPPING: Word.STOPPING,
    Phase.STOPPED: Word.STOPPED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """One moment on both clocks: `now` in monotonic seconds, `wall` in UTC.

    Kept as an anchor, so that the same monotonic time is always spelled the same.
    """

    now: float
    wall: datetime

    def iso(self, at: float | None) -> str | None:
        """Return the monotonic time `at` as ISO 8601 in UTC."""
        return None if at is None else iso(self.wall + timedelta(seconds=at - self.now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is believed about one target, as its owner last left it at `as_of` (monotonic seconds)."""

    name: str
    kind: str  # backend or router
    url: str
    models: tuple[str, ...]
    state: State
    evidence: Evidence
    policy: Policy
    as_of: float
    baseline: Baseline = NOTHING_LEARNED
    restraint: Restraint | None = None  # what people have said: it is shown whatever the target does
    drain: Restraint | None = None  # ... by which it is out of rotation
    incident: str | None = None  # the trouble it is in
    stands_in_for: str | None = None

    @property
    def is_routable(self) -> bool:
        """Whether routers may use it."""
        return self.state.phase.is_routable and self.drain is None

    @property
    def serves_nobody(self) -> bool:
        """Whether it is out of rotation by a person's will, and whoever it served has been served to the end."""
        return self.drain is not None and serves_nobody(self.evidence, since=self.drain.since, policy=self.policy)

    @property
    def is_left_alone(self) -> bool:
        """Whether a person has put off what is planned for it beyond when it is due, which is still to come."""
        held, retry_at = self.restraint, self.state.retry_at
        if held is None or not held.curb.is_by_a_person or self.state.restraint is not None or retry_at is None:
            return False
        return held.until is None or held.until > retry_at


def iso(wall: datetime) -> str:
    """Return a UTC time as the documents spell it."""
    return wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{wall.microsecond // 1000:03d}Z"


def word(state: State) -> Word:
    """Return supervisord's word for a state."""
    return WORDS[state.phase]


def weight(snapshot: Snapshot, *, now: float) -> float:
    """Return how much routers should prefer a backend: one that has only just recovered, less than others."""
    state = snapshot.state
    if snapshot.drain is not None:
        return 0.0
    is_on_probation = state.recovered_at is not None and now - state.recovered_at < snapshot.policy.probation_s
    own = min(state.phase.weight, PROBATION_WEIGHT) if is_on_probation else state.phase.weight
    return own if snapshot.stands_in_for is None else round(own * STAND_IN_SHARE, 3)


def backend_entry(snapshot: Snapshot, *, clocks: Clocks, now: float) -> dict[str, Any]:
    """Return one backend as routers read it; only `retry_after_s` changes merely because time goes by."""
    state, evidence = snapshot.state, snapshot.evidence
    first_token_s, drain = evidence.first_token_s, snapshot.drain
    return {
        "name": snapshot.name,
        "url": snapshot.url,
        "models": list(snapshot.models),
        "routable": snapshot.is_routable,
        "weight": weight(snapshot, now=now),
        "verdict": str(state.judgement.verdict),
        "state": str(word(state)),
        "reason": state.judgement.reason if drain is None else DRAINED,
        "message": state.judgement.message if drain is None else drain.message,
        "since": clocks.iso(state.since),
        "last_ok_at": clocks.iso(evidence.answered_at),
        "first_token_ms": None if first_token_s is None else round(first_token_s * 1000, 1),
        "retry_after_s": retry_after_s(snapshot, now=now),
        "instance": evidence.instance,
    }


def by_alias(snapshots: list[Snapshot]) -> dict[str, list[str]]:
    """Return the backends behind each alias, in the order of the settings."""
    models: dict[str, list[str]] = {}
    for snapshot in snapshots:
        for alias in snapshot.models:
            models.setdefault(alias, []).append(snapshot.name)
    return models


def retry_after_s(snapshot: Snapshot, *, now: float) -> float | None:
    """Return when asking again may help, in whole seconds, at least 1; None for what is routable or waits for a person.

    It is what is left of the backoff and of a usual start, as far as starts are known, and `SOON_S` where nothing is.
    One that is drained is back when that ends, and not before it is well.
    """
    left_s = _out_for_s(snapshot, now=now)
    if (drain := snapshot.drain) is not None:
        comes_back = drain.until is not None and (left_s is not None or snapshot.state.phase.is_routable)
        left_s = max((drain.until or now) - now, left_s or 0.0) if comes_back else None
    return None if left_s is None else float(max(1, math.ceil(round(left_s, 3))))


def _out_for_s(snapshot: Snapshot, *, now: float) -> float | None:
    state, starts_s = snapshot.state, snapshot.baseline.starts_s
    match state.phase:
        case Phase.BACKOFF | Phase.FAILED:
            at = _restart_at(snapshot)
            return None if at is None else max(0.0, at - now) + median(starts_s or (0.0,))
        case Phase.SUSPECT:
            # A suspicion may be wrong, and a client that is sent away for a whole start waits in vain: it is told when
            # more will be known.
            began_at = state.since if state.judgement.since is None else state.judgement.since
            decided_s = began_at + snapshot.policy.hung_after_s - now
            return decided_s if decided_s > 0 else SOON_S
        case Phase.STARTING:
            spent_s = now - snapshot.evidence.started_at
            # Of those that took longer than this one already has, what was left.
            left_s = [start_s - spent_s for start_s in starts_s if start_s > spent_s]
            return median(left_s or (SOON_S,))
        case Phase.RESTARTING:
            return median(starts_s or (SOON_S,))  # all of it lies ahead: the engine may still be stopping the old one
        case Phase.DRAINING if state.asked is Verb.RESTART:
            return median(starts_s or (SOON_S,))
        case _:
            return None


def _restart_at(snapshot: Snapshot) -> float | None:
    """Return when it will be restarted at the earliest; None: not before somebody wants it so."""
    state = snapshot.state
    held = [each for each in (state.restraint, snapshot.restraint) if each is not None]
    # Whoever goes first ends by itself; we only do not know when.
    for_ever = any(each.until is None and each.curb is not Curb.ONE_AT_A_TIME for each in held)
    if state.retry_at is None or for_ever:
        return None
    return max([state.retry_at, *(each.until for each in held if each.until is not None)])


def summary(snapshot: Snapshot, *, now: float) -> str:
    """Return the rest of the status line: what, why, for how long, and what comes next."""
    held, drain = snapshot.restraint, snapshot.drain
    said = [_summary(snapshot, now=now)]
    if drain is not None:
        said.append(restrained(drain, now=now))
        if snapshot.state.phase in SERVING:
            said.append("serves nobody any more" if snapshot.serves_nobody else "may still be serving somebody")
    # What holds a restart up is told already.
    if held is not None and held.curb is not Curb.DRAINED and snapshot.state.restraint is None:
        said.append(restrained(held, now=now))
    return "; ".join(said)


def restrained(restraint: Restraint, *, now: float) -> str:
    """Return what holds us back, and for how long."""
    until = restraint.until
    return restraint.message if until is None else f"{restraint.message} (for another {brief(until - now)})"


def _summary(snapshot: Snapshot, *, now: float) -> str:
    state, evidence = snapshot.state, snapshot.evidence
    judgement = state.judgement
    match state.phase:
        case Phase.UP | Phase.BUSY if judgement.verdict is Verdict.READY and evidence.answered_at is not None:
            first = "" if evidence.first_token_s is None else f", first token {evidence.first_token_s:.2f}s"
            return f"ready{first}, {brief(now - evidence.answered_at)} ago"
        case Phase.STOPPED | Phase.STOPPING:
            return judgement.message
        case Phase.DRAINING:
            return f"{judgement.message}; whoever is being served may finish"
        case Phase.RESTARTING:
            return f"restarting; {judgement.message if state.asked else _told(judgement.verdict, state, now)}"
        case Phase.BACKOFF | Phase.FAILED:
            why = f" ({state.diagnosis.says})" if state.diagnosis and state.diagnosis.is_news else ""
            return f"{_told(judgement.verdict, state, now)}{why}; {_next(snapshot, now=now)}"
        case _:
            return _told(judgement.verdict, state, now)


def _told(verdict: Verdict, state: State, now: float) -> str:
    since = state.judgement.since
    lasted = "" if since is None else f" for {brief(now - since)}"
    what, comma, cpu = state.judgement.message.partition(", ")
    return f"{verdict}: {what}{lasted}{comma}{cpu}"


def _next(snapshot: Snapshot, *, now: float) -> str:
    state = snapshot.state
    if not state.restartable:
        return 'watched only (engine = "none"): restart it by hand'
    if state.restraint is not None and state.restraint.curb not in (Curb.OBSERVING, Curb.DRAINED):
        return restrained(state.restraint, now=now)
    if state.restraint is not None and state.restraint.curb is Curb.DRAINED:
        return "left alone"
    if snapshot.is_left_alone:
        return "left alone"
    if state.retry_at is None:
        return "needs a person"
    is_slow = state.is_exhausted or (state.diagnosis is not None and not state.diagnosis.helps_restart)
    which = "slow retry" if is_slow else f"restart {len(state.restarts) + 1}/{snapshot.policy.budget_restarts}"
    return f"{which} in {brief(state.retry_at - now)}"
