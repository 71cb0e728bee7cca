"""Judge a recording once more, by any policy: when would routers have been told, when would it have been restarted?

Pure. It does what a keeper does with each observation, and knows nothing of holds, of other targets or of chance. What
was asked is what was asked then: another policy might have asked more, or earlier.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from supervisor.core.baseline import fit, learn
from supervisor.core.decide import is_in_doubt, look_every_s, wants_canary
from supervisor.core.events import Judged
from supervisor.core.evidence import Evidence
from supervisor.core.fold import take
from supervisor.core.observations import (
    CanaryEnded,
    CanarySent,
    CpuSeen,
    EngineSeen,
    EngineSilent,
    Observation,
    ProgressSeen,
)
from supervisor.core.policy import Policy
from supervisor.core.recording import Belief, Entry, Recording
from supervisor.core.state import WELL, Phase, State, step
from supervisor.core.verdict import Verdict, judge

LEAST_PACE_S = 0.1  # whatever somebody would like to try, a replay must end
LATEST_S = 5.0  # a look that is older does not tell how it was at the end
IN_TROUBLE = frozenset({Phase.STARTING, Phase.SUSPECT, Phase.BACKOFF, Phase.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change of what would have been believed, or its beginning, `at_s` seconds from the end of the recording.

    Before the end that is below zero; beyond it, everything is taken to have stayed as it was last seen.
    """

    at_s: float
    before: Phase
    after: Phase
    verdict: Verdict
    reason: str
    message: str
    restarts: bool  # it would have been restarted; the world that was recorded did not follow from that


def replay(
    recording: Recording, *, policy: Policy, until: float | None = None, onward_s: float = 0.0
) -> tuple[Step, ...]:
    """Return what would have been believed by `policy`: how it began, and every change up to the first restart.

    The recording ends at `until`, or else with its last entry. Where it was in trouble then, it is taken to have stayed
    so for another `onward_s`.
    """
    entries = recording.entries
    if not entries:
        return ()
    first, last = entries[0], entries[-1]
    end = last.at if until is None else max(until, last.at)
    watch = _Watch(policy=policy, belief=first.before or _nothing(first.at), at=first.at, end=end)
    for at, seen in _moments(entries):
        watch.wait(at)
        watch.turn(at, seen)
    if end > last.at:
        watch.wait(end)
        watch.turn(end)
    watch.go_on(_Standstill.of(entries), end + onward_s)
    return tuple(watch.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standstill:
    """A world that stays as it was last seen."""

    looks: tuple[Observation, ...]
    canary: CanaryEnded | None  # how each would end; None: it would not

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "_Standstill":
        lately = [each.seen for each in entries if entries[-1].at - each.at <= LATEST_S]
        kinds = ((EngineSeen, EngineSilent), (CpuSeen,), (ProgressSeen,))
        looks = [[seen for seen in lately if isinstance(seen, kind)][-1:] for kind in kinds]
        canaries = [seen for seen in lately if isinstance(seen, CanarySent | CanaryEnded)][-1:]
        ended = [seen for seen in canaries if isinstance(seen, CanaryEnded)]
        return cls(looks=tuple(seen for each in looks for seen in each), canary=ended[0] if ended else None)


@dataclass(slots=True, kw_only=True)
class _Watch:
    """A keeper that only watches: it believes, and does nothing."""

    policy: Policy
    belief: Belief
    at: float
    end: float
    steps: list[Step] = field(default_factory=list)
    is_over: bool = False

    def turn(self, at: float, seen: Iterable[Observation] = ()) -> None:
        """Take what was seen at one moment, and judge it; after a restart there is nothing to be judged."""
        if self.is_over:
            return
        before = self.belief.state
        for each in seen:
            self.belief = _taken(self.belief, each, policy=self.policy, now=at)
        self.belief = _judged(self.belief, policy=self.policy, now=at)
        after = self.belief.state
        self.at = at
        self.is_over = after.phase is Phase.RESTARTING and before.phase is not Phase.RESTARTING
        if not self.steps or _call(before) != _call(after):
            self.steps.append(_step(before, after, at_s=at - self.end, restarts=self.is_over))

    def wait(self, until: float) -> None:
        """Let time pass: it is judged at every look that was due, whatever became of that."""
        while not self.is_over and self.at + self.pace_s < until:
            self.turn(self.at + self.pace_s)

    def go_on(self, world: _Standstill, until: float) -> None:
        """Look at a world that stays as it was, where that was not well."""
        while not self.is_over and self.at + self.pace_s <= until and self._is_in_trouble():
            now = self.at + self.pace_s
            self.turn(now, (*world.looks, *self._canary(world, now=now)))

    @property
    def pace_s(self) -> float:
        """How long until the next look."""
        return max(LEAST_PACE_S, look_every_s(self.belief.state.phase, policy=self.policy))

    def _is_in_trouble(self) -> bool:
        fitted = fit(self.policy, self.belief.baseline)
        is_in_trouble = self.belief.state.phase in IN_TROUBLE
        return is_in_trouble or is_in_doubt(self.belief.evidence, policy=fitted, now=self.at)

    def _canary(self, world: _Standstill, *, now: float) -> Iterator[Observation]:
        evidence, is_well = self.belief.evidence, self.belief.state.phase in WELL
        fitted = fit(self.policy, self.belief.baseline)
        if world.canary is not None and wants_canary(evidence, policy=fitted, now=now, is_well=is_well):
            attempt = evidence.canary_attempt + 1
            yield CanarySent(instance=evidence.instance, attempt=attempt)
            yield CanaryEnded(
                instance=evidence.instance, attempt=attempt, reply=world.canary.reply, detail=world.canary.detail
            )


def _nothing(at: float) -> Belief:
    return Belief(evidence=Evidence(seen_at=at, started_at=at), state=State(since=at))


def _moments(entries: Sequence[Entry]) -> Iterator[tuple[float, list[Observation]]]:
    """Yield what was seen at the same moment together: it was judged but once."""
    at, seen = entries[0].at, [entries[0].seen]
    for entry in entries[1:]:
        if entry.at != at:
            yield at, seen
            at, seen = entry.at, []
        seen.append(entry.seen)
    yield at, seen


def _taken(belief: Belief, seen: Observation, *, policy: Policy, now: float) -> Belief:
    fitted = fit(policy, belief.baseline)
    evidence = take(belief.evidence, seen, policy=fitted, now=now)
    learned = learn(belief.baseline, belief.evidence, evidence, policy=fitted, now=now)
    return Belief(evidence=evidence, state=belief.state, baseline=learned)


def _judged(belief: Belief, *, policy: Policy, now: float) -> Belief:
    fitted = fit(policy, belief.baseline)
    judgement = judge(belief.evidence, policy=fitted, baseline=belief.baseline, now=now)
    state = step(belief.state, Judged(judgement=judgement), policy=fitted, now=now)
    return Belief(evidence=belief.evidence, state=state, baseline=belief.baseline)


def _call(state: State) -> tuple[Phase, Verdict, str]:
    return state.phase, state.judgement.verdict, state.judgement.reason


def _step(before: State, after: State, *, at_s: float, restarts: bool) -> Step:
    judgement = after.judgement
    return Step(
        at_s=at_s,
        before=before.phase,
        after=after.phase,
        verdict=judgement.verdict,
        reason=judgement.reason,
        message=judgement.message,
        restarts=restarts,
    )
