"""Every short timeline there is, through the pure core: work is never restarted, and what is broken always is, in time.

Spells of each kind follow one another in every order; Hypothesis looks for more in `test_properties.py`.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from supervisor.core.observations import Reply
from supervisor.core.policy import Policy
from tests.core.timeline import (
    BLIND,
    FROZEN_AT_WORK,
    FROZEN_IDLE,
    IDLE,
    KILLED,
    LIVELOCKED,
    PREFILLING,
    TICK_S,
    WORKING,
    Moment,
    Played,
)

pytestmark = pytest.mark.slow  # `make core` does without it, `make test` does not
POLICY = Policy()
SLACK_S = 4 * TICK_S

ASLEEP = Moment(counters=Reply.ASLEEP, canary=None)
LOADING = Moment(counters=Reply.LOADING, canary=Reply.LOADING)
SILENT_BATCH = Moment(counters=Reply.SILENT, canary=None, cpu_s=0.9)  # an old build in the midst of a prompt
CRAWLING = replace(PREFILLING, cpu_s=0.02)
FROZEN_IN_PREFILL = replace(PREFILLING, cpu_s=0.0)
SPINNING = replace(PREFILLING, cpu_s=0.9)  # after a first token: in the midst of an answer
SWALLOWING = Moment(canary=None)
FAILING = Moment(canary=Reply.FAILED)
GARBAGE = Moment(canary=Reply.INVALID)

# What a server may do and be well; each ends in proof of life, and lasts as long as it may.
WELL: dict[str, list[Moment]] = {
    "idle": [IDLE] * 20,
    "working": [WORKING] * 20,
    "reading": [*[PREFILLING] * 60, WORKING],
    "silent batches": [*[SILENT_BATCH] * 30, PREFILLING, *[SILENT_BATCH] * 30, WORKING],
    "crawling": [*[CRAWLING] * 60, WORKING],
    "asleep": [*[ASLEEP] * 20, WORKING],
    "loading again": [*[LOADING] * 30, IDLE],
    "a moment's silence": [*[FROZEN_IDLE] * 5, IDLE],
    "unseen": [*[BLIND] * 30, IDLE],
}
LONG: dict[str, list[Moment]] = {
    "one very long batch": [WORKING, *[PREFILLING] * int(POLICY.stall_after_s + POLICY.confirm_s - SLACK_S), WORKING],
    "a new prompt's very long batch": [
        IDLE,
        *[PREFILLING] * int(POLICY.prefill_limit_s + POLICY.confirm_s - SLACK_S),
        WORKING,
    ],
    "a very long silent batch": [
        IDLE,
        *[SILENT_BATCH] * int(POLICY.prefill_limit_s + POLICY.confirm_s - SLACK_S),
        WORKING,
    ],
    "a batch on a fiftieth of a core": [IDLE, *[CRAWLING] * int(POLICY.stall_limit_s - SLACK_S), WORKING],
    "a queue of an hour": [WORKING] * 1800,
}
# What a server may come to, and how long it may last before it is restarted.
BROKEN: dict[str, tuple[list[Moment], float]] = {
    "frozen while idle": ([FROZEN_IDLE], POLICY.hung_after_s),
    "frozen in an answer": ([WORKING, WORKING, FROZEN_AT_WORK], POLICY.hung_after_s),
    "frozen in a prompt": ([PREFILLING, PREFILLING, FROZEN_IN_PREFILL], POLICY.hung_after_s),
    # Seen only by a canary, and none is sent soon after a user's request.
    "swallowing": ([IDLE, SWALLOWING], POLICY.spare_s + POLICY.tick_s + POLICY.hung_after_s),
    "failing": ([IDLE, FAILING], POLICY.spare_s + POLICY.failure_threshold * POLICY.canary_retry_s),
    "garbage": ([IDLE, GARBAGE], POLICY.spare_s + POLICY.failure_threshold * POLICY.canary_retry_s),
    "killed": ([KILLED], 0.0),
    "spinning in an answer": ([WORKING, WORKING, SPINNING], 2 * POLICY.stall_after_s + POLICY.confirm_s),
    "livelocked": ([LIVELOCKED], POLICY.prefill_limit_s + POLICY.confirm_s),
}


def orders(number: int) -> Iterator[tuple[str, ...]]:
    """Yield every order of so many kinds of spells."""
    return product(WELL, repeat=number)


def after(kinds: tuple[str, ...]) -> Played:
    """Play spells of these kinds, one after the other."""
    return Played().play([IDLE, *(moment for kind in kinds for moment in WELL[kind])])


@pytest.mark.parametrize("first", WELL)
def test_no_timeline_with_progress_is_ever_restarted(first: str) -> None:
    restarted = [(first, *kinds) for kinds in orders(2) if after((first, *kinds)).acts]

    assert restarted == []


@pytest.mark.parametrize("spell", LONG)
def test_nothing_that_lasts_as_long_as_it_may_is_restarted(spell: str) -> None:
    restarted = [kind for kind in WELL if after((kind,)).play([*LONG[spell], *WELL[kind]]).acts]

    assert restarted == []


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_broken_is_restarted_within_its_bound_whatever_was_before(fault: str) -> None:
    (*beginning, broken), bound_s = BROKEN[fault]
    late = []
    for kinds in orders(1) if bound_s > POLICY.stall_after_s else orders(2):
        played = after(kinds).play(beginning)
        broke_at = played.now
        played.play([broken] * int(bound_s + SLACK_S))
        took_s = [at - broke_at for at, _ in played.acts[:1]]
        if not took_s or took_s[0] > bound_s + SLACK_S:
            late.append((kinds, took_s))

    assert late == []


@pytest.mark.parametrize("fault", ["swallowing", "failing", "garbage"])
def test_what_only_a_canary_sees_is_seen_soon_where_no_user_was(fault: str) -> None:
    (*beginning, broken), _ = BROKEN[fault]
    played = Played().play([*[IDLE] * 30, *beginning])
    broke_at = played.now

    played.play([broken] * 40)

    soon_s = POLICY.canary_every_s + POLICY.tick_s + POLICY.hung_after_s + SLACK_S
    assert played.acts[0][0] - broke_at <= soon_s
