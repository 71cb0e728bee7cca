"""A short form of the matrix of situations: what works is left alone, what hangs is not missed, by default settings."""

from dataclasses import replace

import pytest

from bench import verdicts
from bench.outcomes import Illness, Spell
from bench.situations import BROKEN, WORKING, Broken, Working
from bench.verdicts_table import limits
from testbed.engine import find

SEED = 1
SPELL_S = 30.0
APART_S = 3.0  # each fault comes once, so that no backoff can be met
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


def spell(restarts: int = 0, problem: str = "", situation: str = "short answers") -> Spell:
    return Spell(
        situation=situation,
        took_s=55.0,
        restarts=restarts,
        told_out=0,
        told_out_s=0.0,
        verdicts=["ready"],
        problem=problem,
    )


def illness(told_s: float = 3.0, restarted_s: float | None = 13.0, restarts: int = 1) -> Illness:
    return Illness(
        situation="frozen idle",
        told_s=told_s,
        restarted_s=restarted_s,
        well_s=15.0,
        restarts=restarts,
        verdicts=["hung"],
    )


@pytest.mark.parametrize(
    ("spells", "illnesses", "broken_limits"),
    [
        ([spell()] * 200, [illness()], set()),
        ([spell()] * 199, [illness()], {"busy runs"}),
        ([spell()] * 200 + [spell(restarts=1)], [illness()], {"restarts of servers that work or must be kept"}),
        ([spell()] * 200 + [spell(problem="cut")], [illness()], {"runs in which users missed something"}),
        ([spell()] * 200 + [spell(situation="wrong key")], [illness()], {"runs that were not called what they were"}),
        ([spell()] * 200, [illness(told_s=5.1)], {"strong faults: worst to told"}),
        ([spell()] * 200, [illness(), illness(restarts=2)], {"further restarts of servers that were cured"}),
        (
            [spell()] * 200,
            [illness(restarted_s=None, restarts=0)],
            {"faults missed", "strong faults: worst to restarted"},
        ),
    ],
)
def test_the_bar_is_failed_by_one_restart_too_many_and_by_one_fault_missed(
    spells: list[Spell], illnesses: list[Illness], broken_limits: set[str]
) -> None:
    assert {limit.what for limit in limits(spells, [], illnesses) if not limit.is_kept} == broken_limits


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("engine")
def test_of_many_servers_in_trouble_exactly_the_broken_ones_are_restarted() -> None:
    spells, illnesses = verdicts.measure(
        find(),
        [working(name) for name in MUST_BE_KEPT],
        [broken(name) for name in MUST_BE_RESTARTED],
        runs=1,
        seed=SEED,
        apart_s=APART_S,
    )

    assert {each.situation: each.restarts for each in spells} == dict.fromkeys(MUST_BE_KEPT, 0)
    assert {each.situation: each.problem for each in spells} == dict.fromkeys(MUST_BE_KEPT, "")
    assert {each.situation for each in illnesses if each.restarted_s is not None} == set(MUST_BE_RESTARTED)
    assert {each.situation: each.restarts for each in illnesses} == dict.fromkeys(MUST_BE_RESTARTED, 1)
    assert all(each.told_s is not None and each.well_s is not None for each in illnesses)
