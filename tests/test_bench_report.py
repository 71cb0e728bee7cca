"""The bar of a benchmark: what is asked for, what was not reached, and that it can fail."""

import math

import pytest

from bench.report import Limit, Spread


@pytest.mark.parametrize(
    ("measured", "at_least", "kept"),
    [(5.0, False, True), (5.1, False, False), (5.0, True, True), (4.9, True, False), (math.inf, False, False)],
)
def test_a_limit_is_kept_or_it_is_not(measured: float, at_least: bool, kept: bool) -> None:
    assert Limit(what="told", measured=measured, limit=5.0, at_least=at_least).is_kept is kept


@pytest.mark.parametrize("at_least", [False, True])
def test_what_was_never_measured_keeps_no_limit(at_least: bool) -> None:
    assert not Limit(what="told", measured=math.nan, limit=5.0, at_least=at_least).is_kept


def test_a_complaint_says_what_by_how_much_and_what_was_asked() -> None:
    assert Limit(what="told", measured=7.5, limit=5.0, unit=" s").complaint() == (
        "told: 7.5 s, should be at most 5 s (2.5 s off)"
    )


def test_what_never_happened_is_told_as_never() -> None:
    assert Limit(what="told", measured=math.inf, limit=5.0).complaint().startswith("told: never")


def test_one_that_never_came_back_spoils_the_worst_and_leaves_the_median() -> None:
    spread = Spread.of([1.0, None, 2.0])

    assert (spread.median, spread.worst) == (2.0, math.inf)


def test_a_spread_of_nothing_has_no_median() -> None:
    assert math.isnan(Spread(()).median)
