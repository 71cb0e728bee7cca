"""What one target has shown to be normal for it: how soon it answers, how long a batch takes, how long it loads.

Pure. It outlives restarts of the target and our own; the thresholds are fitted to it, within bounds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from supervisor.core.evidence import Evidence
from supervisor.core.policy import Policy

KEPT_FIRST_TOKENS = 200  # 50 minutes of canaries at rest
KEPT_GAPS = 50
KEPT_STARTS = 20
FEW = 20  # with fewer answers nobody knows what is usual
WORTH_KEEPING_S = 5.0  # shorter gaps change no threshold
ONE_SLOW_OF = 10  # of answers that are far too late so many are learned one: what stays slow becomes usual, in hours
DEADLINE_TIMES = 4.0  # the 99th percentile
GAP_TIMES = 2.0  # the longest: a batch may be the first one of a much longer prompt
START_TIMES = 3.0  # the longest: a disk may be busy with other models
LONGEST_START_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Measurements in seconds, oldest first, each kind bounded in number."""

    first_tokens_s: tuple[float, ...] = ()  # of canaries sent while nobody else was at work
    gaps_s: tuple[float, ...] = ()  # counters stood still or silent so long while CPU burned, and then moved on
    starts_s: tuple[float, ...] = ()  # from the start of a life to its first proof

    @property
    def usual_first_token_s(self) -> float | None:
        """The median; None before enough answers are known."""
        return median(self.first_tokens_s) if len(self.first_tokens_s) >= FEW else None


def learn(baseline: Baseline, before: Evidence, after: Evidence, *, policy: Policy, now: float) -> Baseline:
    """Return the baseline after one observation turned `before` into `after`, two views of the same life."""
    if before.instance != after.instance:
        return baseline
    learned = _learn_first_token(baseline, before, after, policy=policy)
    return _learn_start(_learn_gap(learned, before, after, now=now), before, after, policy=policy, now=now)


def slow_after_s(baseline: Baseline, *, policy: Policy) -> float | None:
    """Return how late a first token must be to count as far slower than usual; None where nobody knows."""
    usual_s = baseline.usual_first_token_s
    return None if usual_s is None else max(policy.degraded_floor_s, policy.degraded_factor * usual_s)


def fit(policy: Policy, baseline: Baseline) -> Policy:
    """Return the policy with its patience fitted to what this target has shown, never below what was set."""
    gap_s = GAP_TIMES * max(baseline.gaps_s, default=0.0)
    start_s = min(START_TIMES * max(baseline.starts_s, default=0.0), LONGEST_START_S)
    late_s = DEADLINE_TIMES * _percentile(baseline.first_tokens_s, 0.99)
    return replace(
        policy,
        canary_deadline_s=max(policy.canary_deadline_s, min(late_s, policy.canary_deadline_max_s)),
        stall_after_s=max(policy.stall_after_s, min(gap_s, policy.stall_limit_s)),
        prefill_limit_s=max(policy.prefill_limit_s, min(gap_s, policy.stall_limit_s)),
        startup_limit_s=max(policy.startup_limit_s, start_s),
    )


def _learn_first_token(baseline: Baseline, before: Evidence, after: Evidence, *, policy: Policy) -> Baseline:
    first_token_s = after.first_token_s
    is_new = after.answered_at is not None and after.answered_at != before.answered_at
    if not is_new or first_token_s is None or not before.is_alone:
        return baseline
    limit_s = slow_after_s(baseline, policy=policy)
    if limit_s is not None and first_token_s > limit_s and after.answers % ONE_SLOW_OF:
        return baseline
    return replace(baseline, first_tokens_s=_kept(baseline.first_tokens_s, first_token_s, KEPT_FIRST_TOKENS))


def _learn_gap(baseline: Baseline, before: Evidence, after: Evidence, *, now: float) -> Baseline:
    since = before.quiet_since
    if since is None or after.quiet_since is not None or not before.cpu_burned:
        return baseline
    # Only work that came of it shows that the whole of it was work.
    gap_s = now - max(since, before.burning_since or since)
    if after.worked_at != now or gap_s < WORTH_KEEPING_S:
        return baseline
    return replace(baseline, gaps_s=_kept(baseline.gaps_s, gap_s, KEPT_GAPS))


def _learn_start(baseline: Baseline, before: Evidence, after: Evidence, *, policy: Policy, now: float) -> Baseline:
    has_begun = not before.has_proven_itself and after.has_proven_itself
    start_s = now - after.started_at
    # One that was asleep, or that nobody could look at, proves itself when somebody asks.
    if not has_begun or not after.was_seen_starting or after.has_slept or start_s > policy.startup_limit_s:
        return baseline
    return replace(baseline, starts_s=_kept(baseline.starts_s, start_s, KEPT_STARTS))


def _kept(values: tuple[float, ...], value: float, number: int) -> tuple[float, ...]:
    return (*values, round(value, 4))[-number:]


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0
