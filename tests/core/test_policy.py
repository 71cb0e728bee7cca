"""Thresholds, backoff and budget."""

from dataclasses import replace

import pytest

from supervisor.core.policy import Policy, complaints

POLICY = Policy()


@pytest.mark.parametrize(
    ("restarts", "expected_s"),
    [(0, 0.0), (1, 10.0), (2, 20.0), (3, 40.0), (4, 80.0), (6, 300.0), (5000, 300.0)],
)
def test_the_wait_doubles_from_nothing_to_its_limit(restarts: int, expected_s: float) -> None:
    assert POLICY.backoff_s(restarts, chance=0.0) == expected_s


def test_jitter_only_ever_lengthens_the_wait() -> None:
    assert POLICY.backoff_s(2, chance=0.999) == pytest.approx(20.0 * 1.0999)


def test_the_defaults_do_not_contradict_one_another() -> None:
    assert complaints(POLICY) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("close_tick_s", 3.0),
        ("starting_tick_s", 2.1),
        ("look_timeout_s", 2.5),
        ("startup_limit_s", 0.9),
        ("canary_deadline_s", 700.0),
        ("hung_after_s", 1.5),
        ("stall_after_s", 7.0),
        ("backoff_first_s", 301.0),
        ("cpu_idle_share", 1.0),
    ],
)
def test_a_value_that_contradicts_another_is_named(key: str, value: float) -> None:
    changed = replace(POLICY, **{key: value})  # type: ignore[arg-type]

    found = complaints(changed)

    assert [name for name, _ in found] == [key]
