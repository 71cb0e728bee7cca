"""How long, as people type it, and until when, as a clock shows it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from supervisor.cli.times import lasted, moment, seconds, until

NOON_S = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Live where the clock is an hour ahead of UTC."""
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1d", 86_400),
        ("1h30m", 5400),
        ("1d2h3m4s", 93_784),
        ("0h5m", 300),
        ("365d", 31_536_000),
    ],
)
def test_a_length_is_read_as_people_type_it(text: str, expected: int) -> None:
    assert seconds(text) == expected


def test_a_bare_number_is_asked_for_its_unit() -> None:
    with pytest.raises(ValueError, match="30 has no unit: say 30s, 30m, 30h or 30d"):
        seconds("30")


@pytest.mark.parametrize(
    "text", ["", "m", "30 m", "30M", "-5m", "1.5h", "30m1h", "1h1h", "soon", "٣m", "9" * 5000 + "s"]
)
def test_what_is_no_length_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"no length of time; say it like 90s, 30m, 2h, 1d or 1h30m"):
        seconds(text)


@pytest.mark.parametrize("text", ["0s", "0h0m", "366d", "365d1s", "999999999d"])
def test_nothing_and_more_than_a_year_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"longer than nothing and no longer than 365d"):
        seconds(text)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param("2026-11-23T13:30:00.000Z", "14:30", id="today"),
        pytest.param("2026-11-23T12:01:30.000Z", "13:01:30", id="so-near-that-seconds-count"),
        pytest.param("2026-11-23T23:30:00.000Z", "Nov 24 00:30", id="tomorrow-where-we-are"),
        pytest.param("2026-12-24T12:00:00.000Z", "Dec 24 13:00", id="another-day"),
        pytest.param("soon", "?", id="no-time"),
    ],
)
def test_a_moment_is_told_by_the_clock_on_the_wall(at: str, expected: str) -> None:
    assert until(at, now_s=NOON_S) == expected


def test_a_document_without_a_time_costs_no_more_than_that_time() -> None:
    assert moment(None) is None
    assert moment("yesterday") is None
    assert lasted({"opened_at": None}, now_s=NOON_S) is None


@pytest.mark.parametrize(
    ("closed_at", "expected"), [("2026-11-23T11:49:10.000Z", "4 min 10 s"), (None, "15 min"), ("?", "15 min")]
)
def test_what_is_not_over_has_lasted_until_now(closed_at: str | None, expected: str) -> None:
    trouble = {"opened_at": "2026-11-23T11:45:00.000Z", "closed_at": closed_at}

    assert lasted(trouble, now_s=NOON_S) == expected
