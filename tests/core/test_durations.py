"""Lengths of time as a tired person reads them."""

import pytest

from supervisor.core.durations import ago, brief, lasting, took


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3.0, "0 s"),
        (0.4, "0 s"),
        (41.9, "41 s"),
        (60.0, "1 min"),
        (250.0, "4 min 10 s"),
        (3600.0, "1 h"),
        (7559.0, "2 h 5 min"),
        (86400.0, "1 day"),
        (100800.0, "1 day 4 h"),
        (273600.0, "3 days 4 h"),
    ],
)
def test_a_span_has_two_units_at_most(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "just now"), (1.0, "1 s ago"), (61.0, "1 min 1 s ago")])
def test_what_was_less_than_a_second_ago_was_just_now(seconds: float, words: str) -> None:
    assert ago(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.041, "41 ms"), (1.24, "1.2 s"), (123.0, "2 min 3 s")])
def test_an_answers_time_keeps_its_fractions(seconds: float, words: str) -> None:
    assert took(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1.0, "0s"),
        (0.4, "0s"),
        (18.0, "18s"),
        (119.0, "119s"),
        (120.0, "2m"),
        (1171.0, "19m31s"),
        (7199.0, "119m59s"),
        (7500.0, "2h05m"),
        (86400.0, "24h"),
        (3 * 86400.0 + 4 * 3600.0, "3d04h"),
    ],
)
def test_in_a_status_line_a_span_is_short_and_no_sum_to_be_done(seconds: float, words: str) -> None:
    assert brief(seconds) == words
