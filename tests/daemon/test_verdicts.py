"""A short form of the matrix of situations: what works is left alone, what hangs is not missed, by default settings."""

from dataclasses import replace

import pytest

from bench import verdicts
from bench.situations import BROKEN, WORKING, Broken, Working
from testbed.engine import find

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEED = 1
SPELL_S = 40.0
MUST_BE_KEPT = (
    "short answers",
    "long answer, old, no counters",
    "queue of four, old",
    "long prompt, old, batches of 26 s",
    "never read",
    "two slots of three",
    "throttled to a crawl",
    "wrong key",
)
MUST_BE_RESTARTED = ("frozen idle", "frozen in an answer", "frozen in prefill, old", "SIGSTOP", "swallowed", "empty")


def working(name: str) -> Working:
    situation = next(each for each in WORKING if each.name == name)
    return replace(situation, seconds=SPELL_S, times=1)


def broken(name: str) -> Broken:
    return next(each for each in BROKEN if each.name == name)


@pytest.mark.usefixtures("engine")
def test_of_many_servers_in_trouble_exactly_the_broken_ones_are_restarted() -> None:
    spells, illnesses = verdicts.measure(
        find(),
        [working(name) for name in MUST_BE_KEPT],
        [broken(name) for name in MUST_BE_RESTARTED],
        runs=1,
        seed=SEED,
    )

    assert {each.situation: each.restarts for each in spells} == dict.fromkeys(MUST_BE_KEPT, 0)
    assert {each.situation: each.problem for each in spells} == dict.fromkeys(MUST_BE_KEPT, "")
    assert {each.situation for each in illnesses if each.restarted_s is not None} == set(MUST_BE_RESTARTED)
    assert {each.situation: each.restarts for each in illnesses} == dict.fromkeys(MUST_BE_RESTARTED, 1)
    assert all(each.told_s is not None and each.well_s is not None for each in illnesses)
