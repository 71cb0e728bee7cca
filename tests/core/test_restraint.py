"""What people say holds us back for as long as they say, and no longer."""

from datetime import UTC, datetime, time, timedelta

import pytest

from supervisor.core.restraint import EVERY, Curb, Day, Hold, Window, by_a_person

NOW = 1000.0
TUESDAY = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)  # whatever the zone, it is what the clock on the wall says
NIGHT = Window(begins=time(2, 0), ends=time(4, 30))


def held(target: str = "code", *, for_s: float | None = None, why: str = "") -> Hold:
    until = None if for_s is None else TUESDAY + timedelta(seconds=for_s)
    return Hold(target=target, since=TUESDAY - timedelta(hours=1), until=until, why=why)


def test_a_hold_is_about_its_target_alone() -> None:
    told = by_a_person("code", holds=[held(why="new driver")], windows=[], now=NOW, local=TUESDAY)

    assert told is not None
    assert (told.curb, told.message, told.until) == (Curb.HELD, "held by the operator: new driver", None)
    assert by_a_person("general", holds=[held()], windows=[], now=NOW, local=TUESDAY) is None


def test_a_pause_is_a_hold_on_everybody() -> None:
    told = by_a_person("general", holds=[held(EVERY)], windows=[], now=NOW, local=TUESDAY)

    assert told is not None
    assert (told.curb, told.message) == (Curb.PAUSED, "paused by the operator")


@pytest.mark.parametrize(("for_s", "holds"), [(60.0, True), (0.001, True), (0.0, False), (-1.0, False)])
def test_a_hold_ends_when_it_says_so(for_s: float, holds: bool) -> None:
    told = by_a_person("code", holds=[held(for_s=for_s)], windows=[], now=NOW, local=TUESDAY)

    assert (told is not None) is holds
    assert told is None or told.until == pytest.approx(NOW + for_s)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        pytest.param("2026-11-24T01:59", False, id="before"),
        pytest.param("2026-11-24T02:00", True, id="as-it-begins"),
        pytest.param("2026-11-24T04:29", True, id="just-before-its-end"),
        pytest.param("2026-11-24T04:30", False, id="at-its-end"),
    ],
)
def test_a_window_is_open_from_its_beginning_to_its_end(at: str, is_open: bool) -> None:
    ends_at = NIGHT.ends_at("code", local=datetime.fromisoformat(f"{at}:00+01:00"))

    assert (ends_at is not None) is is_open


@pytest.mark.parametrize(
    ("days", "at", "is_open"),
    [
        pytest.param({"mon"}, "2026-11-23T23:30", True, id="on-its-day"),
        pytest.param({"mon"}, "2026-11-24T00:30", True, id="after-midnight-of-its-day"),
        pytest.param({"tue"}, "2026-11-24T00:30", False, id="before-its-day-begins-it"),
        pytest.param({"tue"}, "2026-11-25T00:59", True, id="the-next-day"),
        pytest.param({"tue"}, "2026-11-25T01:00", False, id="at-its-end"),
    ],
)
def test_a_window_that_crosses_midnight_belongs_to_the_day_it_begins_on(
    days: set[Day],
    at: str,
    is_open: bool,
) -> None:
    late = Window(begins=time(23, 0), ends=time(1, 0), days=frozenset(days))

    assert (late.ends_at("code", local=datetime.fromisoformat(f"{at}:00+00:00")) is not None) is is_open


def test_a_window_may_be_for_some_targets_alone() -> None:
    window = Window(begins=time(2, 0), ends=time(4, 0), targets=frozenset({"code"}), why="backup")

    told = by_a_person("code", holds=[], windows=[window], now=NOW, local=TUESDAY)

    assert told is not None
    assert (told.curb, told.message, told.until) == (Curb.MAINTENANCE, "in maintenance: backup", NOW + 3600.0)
    assert by_a_person("general", holds=[], windows=[window], now=NOW, local=TUESDAY) is None


def test_of_several_the_one_that_lasts_longest_is_told() -> None:
    short, endless = held(for_s=60.0), held(EVERY)

    for holds in ([short, endless], [endless, short]):
        told = by_a_person("code", holds=holds, windows=[NIGHT], now=NOW, local=TUESDAY)
        assert told is not None
        assert told.curb is Curb.PAUSED


def test_what_a_person_said_is_told_from_what_we_hold_ourselves_back_for() -> None:
    by_people = {curb for curb in Curb if curb.is_by_a_person}

    assert by_people == {Curb.HELD, Curb.DRAINED, Curb.PAUSED, Curb.MAINTENANCE}


def test_a_window_may_be_as_short_as_seconds() -> None:
    short = Window(begins=time(2, 0, 30), ends=time(2, 0, 45))

    assert short.ends_at("code", local=datetime.fromisoformat("2026-11-24T02:00:40+01:00")) is not None
    assert short.ends_at("code", local=datetime.fromisoformat("2026-11-24T02:00:45+01:00")) is None
