"""What is known about a target's present life: facts and times, as `fold.py` left them.

Pure. Every time is monotonic seconds.
"""

from dataclasses import dataclass

from supervisor.core.observations import EngineSeen, Kind, Reply, Slot

JUST_BEGUN_S = 5.0
STILLBORN = 3  # lives in a row that never answered: whoever restarts it, that does not help
LATELY = 3  # first tokens that are compared with what is usual
SLEEPS_AFTER_S = 300.0  # where nobody told after how long


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about one instance of a target, since we first saw it at `seen_at`."""

    seen_at: float
    relays: bool = False  # it waits for other servers, so that its idle CPU is no sign
    engine: EngineSeen | None = None  # None: the engine has not told us yet
    engine_at: float | None = None  # when it told us last
    engine_detail: str = ""  # why it could not be asked, if the last question failed
    instance: str | None = None
    old_instance: str | None = None  # the life we ended ourselves; what it still says counts no more
    started_at: float = 0.0  # when the instance began, as far as anyone can say
    stillborn: int = 0  # lives in a row before this one that never proved themselves
    is_looping: bool = False  # its engine restarts it again and again, and no life of it has proven itself since

    loading_since: float | None = None  # every reply since then was "Loading model"
    slots: tuple[Slot, ...] = ()  # the last readable counters
    leaked: frozenset[Slot] = frozenset()  # stood at work while another slot answered: they say nothing of the rest
    readable_ever: bool = False  # this instance has shown us its counters
    changed_at: float | None = None  # the last look at which nothing stood still
    worked_at: float | None = None  # the last look at which work was under way and moved
    silent_since: float | None = None  # counters that should be readable are not
    standing_since: float | None = None  # work is under way and counters do not move

    kind: Kind | None = None  # which server software it is; None: it has not told us yet
    queued: int | None = None  # requests that wait for a slot, where the server counts them
    has_slept: bool = False  # it, or an earlier life of it, has put its model away
    closely_at: float | None = None  # the last look that may have kept it from falling asleep
    idle_since: float | None = None  # every readable look since then showed no slot at work
    looked_at: float | None = None  # when the last readable look was begun
    served_at: float | None = None  # the last sign of a user's request, that left something worth keeping in a cache
    still: tuple[tuple[Slot, float], ...] = ()  # slots at work that have not moved, each since when
    leaked_since: float | None = None  # a slot has stood at work since then while others answered

    cpu_idle_since: float | None = None  # every sample since then showed nothing: no CPU, no GPU, no disk
    cpu_burned: bool | None = None  # what the last sample showed; None: not asked since the last progress
    burning_since: float | None = None  # every sample since then showed work, whatever else was seen
    burned_s: float = 0.0  # CPU (or GPU) seconds in the present spell without progress ...
    measured_s: float = 0.0  # ... over so many seconds of it
    burst_at: float | None = None  # the last sample that showed work
    work_share: float = 0.0  # of one core or GPU, in the last sample alone
    cpu_seen_at: float | None = None  # the last sample; of the time since then nobody knows
    gpu_share: float | None = None  # of the last sample; None: on no GPU that we can see
    gpu_is_unknown: bool = False  # ... it is on one, and nobody can tell what it does there
    waits_for_disk: bool = False  # at the last sample

    traffic_ok_at: float | None = None  # a router reports a real answer that ended then
    traffic_first_token_s: float | None = None  # of that answer
    traffic_failed_at: float | None = None  # ... or a failure
    traffic_failures: int = 0  # reported since the last proof of life
    traffic_detail: str = ""

    canary_since: float | None = None  # one is on its way
    canary_attempt: int = 0
    unanswered_since: float | None = None  # an earlier one was sent then and let go, and none was answered since
    canary_ended_at: float | None = None
    answered_at: float | None = None  # the last good answer of this instance
    first_token_s: float | None = None
    last_reply: Reply | None = None  # of the last canary
    last_detail: str = ""
    refusals: int = 0  # in a row, by any probe
    refused_since: float | None = None  # the first of them
    failures: int = 0  # bad answers in a row
    answers: int = 0  # good answers in a row
    is_alone: bool = True  # the canary on its way was sent while no slot was at work
    lately_s: tuple[float, ...] = ()  # first tokens of the last few canaries that were sent so

    is_asleep: bool = False  # it said so at the last look
    blind_detail: str = ""  # we ourselves could not look; empty: we can

    @property
    def is_working(self) -> bool:
        """Whether any slot had a request at the last readable look."""
        return any(slot.busy for slot in self.slots)

    @property
    def is_saturated(self) -> bool:
        """Whether a request more would have had to wait at the last readable look."""
        if self.queued is not None:
            return self.queued > 0
        return bool(self.slots) and all(slot.busy for slot in self.slots)

    @property
    def quiet_since(self) -> float | None:
        """When the counters stood still or fell silent, whichever came first; None while they are as they should be."""
        return min((at for at in (self.silent_since, self.standing_since) if at is not None), default=None)

    @property
    def was_seen_starting(self) -> bool:
        """Whether this instance had only just begun when we first saw it."""
        return self.seen_at - self.started_at < JUST_BEGUN_S

    @property
    def may_be_reading(self) -> bool:
        """Whether it may be in the midst of a long prompt: a slot shows it, or nothing shows what slots do."""
        return self.silent_since is not None or not self.slots or any(slot.is_reading for slot in self.slots)

    @property
    def sleeps_after_s(self) -> float | None:
        """Idle for so long, it is meant to put its model away; None: it is not."""
        told = None if self.engine is None else self.engine.sleep_idle_s
        return SLEEPS_AFTER_S if told is None and self.has_slept else told

    @property
    def waiting_since(self) -> float | None:
        """When the first canary was sent that has not been answered; one that was let go counts on."""
        return self.canary_since if self.unanswered_since is None else self.unanswered_since

    @property
    def is_moving(self) -> bool:
        """Whether the last look saw work under way and moving."""
        return self.is_working and self.silent_since is None and self.standing_since is None

    @property
    def has_proven_itself(self) -> bool:
        """Whether this instance has ever answered anybody or been seen at work: its startup is over."""
        return self.last_proof_at is not None

    @property
    def last_proof_at(self) -> float | None:
        """When inference was last proven, by an answer or by slots that moved; idle slots prove nothing."""
        proofs = [at for at in (self.answered_at, self.worked_at, self.traffic_ok_at) if at is not None]
        return max(proofs, default=None)

    @property
    def has_failed_users(self) -> bool:
        """Whether a router has reported a failure since inference was last proven."""
        return self.traffic_failures > 0
