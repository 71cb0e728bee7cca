"""The thresholds, the backoff and the restart budget: frozen values and arithmetic.

Times are seconds. The defaults are the ones `settings.toml` documents; a target may override any of them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient we are with one target."""

    tick_s: float = 2.0  # a cheap look this often
    close_tick_s: float = 1.0  # ... and this often while suspicious or waiting for a new life
    starting_tick_s: float = 0.5  # ... and this often while it starts: every look earlier is an outage shorter
    look_timeout_s: float = 1.0  # counters that take longer are silent for this look
    canary_every_s: float = 15.0  # without other proof of life
    spare_s: float = 600.0  # after a user's request: a canary would cost the next one what the server has in its cache
    canary_retry_s: float = 2.0  # after a bad answer, or while suspicious
    canary_deadline_s: float = 20.0  # older, it is overdue; longer where four times the usual is longer ...
    canary_deadline_max_s: float = 120.0  # ... up to here
    canary_limit_s: float = 600.0  # older, its connection is let go and it counts as never answered
    hung_after_s: float = 8.0  # strong evidence: no progress and no CPU for so long
    stall_after_s: float = 120.0  # weak evidence: no progress, but CPU burns or is unknown
    prefill_limit_s: float = 600.0  # ... while it may be reading a prompt: one batch may take so long
    stall_limit_s: float = 1800.0  # ... and never longer, however slow it is known to be or little CPU it got
    confirm_s: float = 60.0  # and so long more before a restart on weak evidence
    cpu_idle_share: float = 0.005  # of one core; less is idle
    cpu_full_share: float = 0.5  # of one core; with less, what takes long may be starved: patience grows in proportion
    gpu_idle_share: float = 0.02  # of one GPU; less is idle
    failure_threshold: int = 3  # bad answers in a row
    refusal_threshold: int = 2  # refused connections in a row
    degraded_factor: float = 8.0  # first tokens so many times as late as usual ...
    degraded_floor_s: float = 2.0  # ... and not earlier than this
    flap_limit: int = 3  # times in trouble ...
    flap_window_s: float = 600.0  # ... in so long is flapping:
    flap_answers: int = 2  # good answers in a row before it counts as well again
    startup_limit_s: float = 300.0  # from the instance's start to its first good answer
    ease_proof_s: float = 60.0  # one model ended alone must answer again within so long, or its server is restarted
    hung_grace_s: float = 1.0  # a hung server will not go by itself
    failing_grace_s: float = 10.0  # nor may one that fails inside; and nobody waits for its answers
    stop_grace_s: float = 30.0  # the rest may
    drain_limit_s: float = 30.0  # whoever is being served when a planned stop comes may be served for so long yet
    backoff_first_s: float = 10.0  # before the second restart in a row; then doubled
    backoff_max_s: float = 300.0
    backoff_jitter: float = 0.1  # of the delay, so that many targets do not return at once
    forgive_after_s: float = 600.0  # ready for so long, the backoff begins anew
    budget_restarts: int = 5  # within budget_window_s; then FATAL
    budget_window_s: float = 1800.0
    fatal_retry_s: float = 900.0  # FATAL is not for ever
    return_after_s: float = 60.0  # the first choice must have been well for so long before its stand-in is stopped
    probation_s: float = 60.0  # after a recovery, others are preferred for so long

    def backoff_s(self, restarts_in_a_row: int, *, chance: float) -> float:
        """Return the wait before the next restart, after `restarts_in_a_row` that did not help.

        `chance` in [0, 1) spreads the wait by the jitter; the first restart never waits.
        """
        if restarts_in_a_row <= 0:
            return 0.0
        # 2**k overflows a float long before anyone has restarted a server that often.
        doublings = min(restarts_in_a_row - 1, 32)
        plain = min(self.backoff_first_s * 2.0**doublings, self.backoff_max_s)
        return plain * (1.0 + self.backoff_jitter * chance)


def complaints(policy: Policy) -> list[tuple[str, str]]:
    """Return `(key, what would be right)` for each pair of values that contradict one another."""
    rules = [
        (
            policy.close_tick_s > policy.tick_s,
            "close_tick_s",
            f"must not exceed tick_s ({policy.tick_s:g}): suspicion looks faster, not slower",
        ),
        (
            policy.starting_tick_s > policy.tick_s,
            "starting_tick_s",
            f"must not exceed tick_s ({policy.tick_s:g})",
        ),
        (
            policy.look_timeout_s > policy.tick_s,
            "look_timeout_s",
            f"must not exceed tick_s ({policy.tick_s:g}), or one look runs into the next",
        ),
        (
            policy.startup_limit_s < 2 * policy.starting_tick_s,
            "startup_limit_s",
            f"must be at least two looks, 2 x starting_tick_s = {2 * policy.starting_tick_s:g}",
        ),
        (
            policy.canary_deadline_s > policy.canary_limit_s,
            "canary_deadline_s",
            f"must not exceed canary_limit_s ({policy.canary_limit_s:g})",
        ),
        (
            policy.hung_after_s < 2 * policy.close_tick_s,
            "hung_after_s",
            f"must be at least two close looks, 2 x close_tick_s = {2 * policy.close_tick_s:g}:"
            " one sample is no evidence",
        ),
        (
            policy.stall_limit_s < policy.prefill_limit_s,
            "stall_limit_s",
            f"must be at least prefill_limit_s ({policy.prefill_limit_s:g}): it is the longest of all",
        ),
        (
            policy.stall_after_s < policy.hung_after_s,
            "stall_after_s",
            f"must be at least hung_after_s ({policy.hung_after_s:g}): weak evidence needs longer than strong",
        ),
        (
            policy.backoff_first_s > policy.backoff_max_s,
            "backoff_first_s",
            f"must not exceed backoff_max_s ({policy.backoff_max_s:g})",
        ),
        (
            policy.cpu_idle_share >= policy.cpu_full_share,
            "cpu_idle_share",
            f"must be below cpu_full_share ({policy.cpu_full_share:g}): both are shares of one core",
        ),
        (
            policy.gpu_idle_share >= 1,
            "gpu_idle_share",
            "must be below 1: it is a share of one GPU, e.g. 0.02",
        ),
    ]
    return [(key, cure) for broken, key, cure in rules if broken]
