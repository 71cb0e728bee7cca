"""Play a timeline through the pure core: one moment after another, no clock, no tasks, no I/O.

It does what a keeper and its errands do (the same questions in the same order), with the world's answers written
down beforehand.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from supervisor.core.actions import Act, Action
from supervisor.core.baseline import Baseline, fit, learn
from supervisor.core.decide import can_be_asked, decide, wants_canary, wants_cpu
from supervisor.core.events import Asked, Ended, Event, Judged, Verb
from supervisor.core.evidence import Evidence
from supervisor.core.fold import end_life, take
from supervisor.core.observations import (
    CanaryEnded,
    CanarySent,
    CpuSeen,
    EngineSeen,
    EngineSilent,
    Life,
    Observation,
    ProgressSeen,
    Reply,
    Slot,
)
from supervisor.core.policy import Policy
from supervisor.core.restraint import Restraint
from supervisor.core.state import WELL, Phase, State, step
from supervisor.core.verdict import NOTHING_LEARNED, judge

TICK_S = 1.0
NOW = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What the world shows during one tick.

    `decoded` is how many tokens the one slot gained (None: the slot is idle), `counters` how the look ends, `canary`
    how a pending canary ends (None: it stays unanswered), `cpu_s` what was burned (None: nobody can tell).
    """

    counters: Reply = Reply.ANSWERED
    decoded: int | None = None
    canary: Reply | None = Reply.ANSWERED
    cpu_s: float | None = 0.0
    life: Life = Life.RUNNING
    by_operator: bool = False
    engine_answers: bool = True
    asked: Verb | None = None


IDLE = Moment()
WORKING = Moment(decoded=5, canary=None, cpu_s=0.9)
PREFILLING = Moment(decoded=0, canary=None, cpu_s=0.9)
FROZEN_IDLE = Moment(counters=Reply.SILENT, canary=None)
FROZEN_AT_WORK = Moment(decoded=0, canary=None)
LIVELOCKED = Moment(counters=Reply.SILENT, canary=None, cpu_s=0.9)
KILLED = Moment(life=Life.EXITED, counters=Reply.REFUSED, canary=Reply.REFUSED, cpu_s=None)
STOPPED = replace(KILLED, by_operator=True)
BLIND = Moment(counters=Reply.NOT_RUN, canary=Reply.NOT_RUN, engine_answers=False)


@dataclass
class Played:
    """A timeline as far as it has been played."""

    policy: Policy = field(default_factory=Policy)
    now: float = NOW
    state: State = field(default_factory=lambda: State(since=NOW))
    evidence: Evidence = field(default_factory=lambda: Evidence(seen_at=NOW))
    baseline: Baseline = NOTHING_LEARNED
    restraint: Restraint | None = None  # what holds us back, for as long as it stands here
    life: int = 1
    task: int = 0
    decoded: int = 0
    is_busy: bool = False
    is_restarting: bool = False
    acts: list[tuple[float, Act]] = field(default_factory=list)
    decisions: list[tuple[State, tuple[Action, ...]]] = field(default_factory=list)
    phases: list[tuple[float, Phase]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fitted = fit(self.policy, self.baseline)

    def play(self, moments: Iterable[Moment]) -> "Played":
        """Let one moment after another happen."""
        for moment in moments:
            self.now += TICK_S
            self._happen(moment)
            self.phases.append((self.now, self.state.phase))
        return self

    def _happen(self, moment: Moment) -> None:
        if self.is_restarting:
            self.is_restarting = False
            self.life += 1
            if self.evidence.instance is None:
                self.evidence = replace(self.evidence, engine=None)
            self._advance(Ended())
        if moment.asked is not None:
            self._advance(Asked(verb=moment.asked))
        self._see(self._engine(moment))
        if not self.state.phase.is_ours and can_be_asked(self.evidence):
            self._probe(moment)
        self._judge()

    def _probe(self, moment: Moment) -> None:
        instance = self.evidence.instance
        slots: tuple[Slot, ...] = ()
        if moment.counters is Reply.ANSWERED:
            is_busy = moment.decoded is not None
            if is_busy and not self.is_busy:
                self.task, self.decoded = self.task + 1, 0
            self.is_busy = is_busy
            self.decoded += moment.decoded or 0
            slots = (Slot(id=0, busy=is_busy, task=self.task, decoded=self.decoded, prefilled=0),)
        overdue = wants_cpu(self.evidence, policy=self.fitted, now=self.now)
        may_stand_still = moment.counters is Reply.SILENT or moment.decoded is not None
        if moment.cpu_s is not None and (overdue or may_stand_still):
            self._see(CpuSeen(instance=instance, burned_s=moment.cpu_s, over_s=TICK_S))
        self._see(ProgressSeen(instance=instance, reply=moment.counters, slots=slots))
        if wants_canary(self.evidence, policy=self.fitted, now=self.now, is_well=self.state.phase in WELL):
            self._see(CanarySent(instance=instance, attempt=self.evidence.canary_attempt + 1))
        if self.evidence.canary_since is not None and moment.canary is not None:
            attempt = self.evidence.canary_attempt
            self._see(CanaryEnded(instance=instance, attempt=attempt, reply=moment.canary, first_token_s=0.1))

    def _engine(self, moment: Moment) -> Observation:
        if not moment.engine_answers:
            return EngineSilent(detail="no answer")
        return EngineSeen(
            life=moment.life,
            instance=f"life-{self.life}",
            age_s=0.0,
            exit_code=None if moment.life is Life.RUNNING else 137,
            stopped_by_operator=moment.by_operator,
        )

    def _see(self, seen: Observation) -> None:
        before = self.evidence
        self.evidence = take(before, seen, policy=self.fitted, now=self.now)
        learned = learn(self.baseline, before, self.evidence, policy=self.fitted, now=self.now)
        if learned is not self.baseline:
            self.baseline, self.fitted = learned, fit(self.policy, learned)

    def _judge(self) -> None:
        judgement = judge(self.evidence, policy=self.fitted, baseline=self.baseline, now=self.now)
        self._advance(Judged(judgement=judgement))

    def _advance(self, event: Event) -> None:
        before = self.state
        self.state = step(before, event, policy=self.policy, now=self.now, restraint=self.restraint)
        actions = decide(before, self.state, policy=self.policy)
        self.decisions.append((self.state, actions))
        for action in actions:
            if isinstance(action, Act):
                self.acts.append((self.now, action))
                self.is_restarting = True
                if action.verb is Verb.RESTART:
                    self.evidence = end_life(self.evidence, now=self.now)
