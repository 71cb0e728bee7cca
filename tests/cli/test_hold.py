"""`hold`, `release`, `pause` and `resume`, in supervisorctl's manner."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.cli import main
from tests.cli.conftest import Ctl
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target

pytestmark = pytest.mark.usefixtures("in_utc")

TWO_O_CLOCK_S = datetime(2026, 11, 23, 14, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon at two o'clock."""
    targets = status(target("general"), target("code"))
    with FakeDaemon(tmp_path / "control.sock", status=targets, now=lambda: TWO_O_CLOCK_S) as daemon:
        yield daemon


def test_a_hold_says_until_when_and_why(daemon: FakeDaemon, ctl: Ctl) -> None:
    told = ctl("hold", "general", "--for", "30m", "-m", "upgrading the driver")

    assert told == (0, ["general: held until 14:30 (upgrading the driver)"], [])
    assert [(asked.method, asked.path, asked.query) for asked in daemon.asked] == [
        ("POST", "/v1/targets/general/hold", {"for_s": ["1800"], "why": ["upgrading the driver"]})
    ]


def test_a_hold_without_a_time_lasts_until_it_is_released(daemon: FakeDaemon, ctl: Ctl) -> None:
    assert ctl("hold", "general") == (0, ["general: held until released"], [])
    assert daemon.asked[0].query == {}


def test_a_long_hold_is_asked_for_to_the_second(daemon: FakeDaemon, ctl: Ctl) -> None:
    ctl("hold", "general", "--for", "100d1s")

    assert daemon.asked[0].query == {"for_s": ["8640001"]}


def test_several_are_held_and_released_in_their_order_each_once(ctl: Ctl) -> None:
    assert ctl("hold", "code", "general", "code")[1] == ["code: held until released", "general: held until released"]
    assert ctl("release", "code", "general", "code") == (0, ["code: released", "general: released"], [])


def test_all_means_every_target_by_name(daemon: FakeDaemon, ctl: Ctl) -> None:
    code, lines, _ = ctl("hold", "all", "--for", "2h")

    assert (code, lines) == (0, ["general: held until 16:00", "code: held until 16:00"])
    assert set(daemon.held) == {"general", "code"}


def test_what_is_not_held_has_nothing_to_be_released_from(ctl: Ctl) -> None:
    assert ctl("release", "general") == (0, ["general: ERROR (neither held nor drained)"], [])


def test_whoever_releases_one_of_many_paused_is_told_that_it_is_left_alone_all_the_same(ctl: Ctl) -> None:
    ctl("hold", "general")
    ctl("pause", "-m", "new driver")

    told = ctl("release", "general")

    assert told == (0, ["general: released", "all: still paused until resumed (new driver)"], [])


@pytest.mark.parametrize("verb", ["hold", "release"])
def test_an_unknown_name_says_so_fails_and_costs_the_others_nothing(ctl: Ctl, verb: str) -> None:
    ctl("hold", "code")

    code, lines, _ = ctl(verb, "nobody", "code")

    assert code == 1
    assert lines[0] == "nobody: ERROR (no such process)"
    assert lines[1].startswith(f"code: {'held' if verb == 'hold' else 'released'}")


def test_a_pause_is_for_all_and_says_what_it_lets_end(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.under_way = [["code"]]

    told = ctl("pause", "--for", "5m", "-m", "new driver")

    assert told == (
        0,
        [
            "all: paused until 14:05:00 (new driver)",
            "code: still under way, and let end; --wait SECONDS waits for that",
        ],
        [],
    )
    assert [asked.path for asked in daemon.asked] == ["/v1/pause"]


def test_a_pause_may_wait_for_what_is_under_way_and_says_what_it_waits_for(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.under_way = [["general", "code"], ["general", "code"], ["code"], []]

    told = ctl("pause", "--wait", "30")

    assert told == (
        0,
        [
            "all: paused until resumed",
            "all: waiting for what is under way: general, code",
            "all: waiting for what is under way: code",
            "all: nothing is under way",
        ],
        [],
    )
    assert [asked.path for asked in daemon.asked] == ["/v1/pause", *["/v1/holds"] * 3]


def test_a_pause_that_has_nothing_to_wait_for_returns_at_once(daemon: FakeDaemon, ctl: Ctl) -> None:
    assert ctl("pause", "--wait", "30") == (0, ["all: paused until resumed", "all: nothing is under way"], [])
    assert len(daemon.asked) == 1


def test_a_pause_waits_no_longer_than_told_and_holds_all_the_same(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.under_way = [["code"]] * 100

    code, lines, _ = ctl("pause", "--wait", "0.1")

    assert code == 1
    assert lines[-1] == "all: ERROR (still under way after 0.1 s: code; see benchai-supervisorctl status)"
    assert set(daemon.held) == {"*"}


def test_resume_ends_the_pause_and_names_what_is_held_all_the_same(ctl: Ctl) -> None:
    ctl("hold", "code", "--for", "1d", "-m", "mine")
    ctl("pause")

    assert ctl("resume") == (0, ["all: resumed", "code: still held until Nov 24 14:00 (mine)"], [])


def test_what_is_not_paused_cannot_be_resumed(ctl: Ctl) -> None:
    assert ctl("resume") == (0, ["all: ERROR (not paused)"], [])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["hold", "general"], "general: ERROR (hold general: needs the token"),
        (["release", "general"], "general: ERROR (release general: needs the token"),
        (["pause", "--wait", "5"], "all: ERROR (hold *: needs the token"),
        (["resume"], "all: ERROR (release *: needs the token"),
    ],
)
def test_without_the_token_the_daemons_refusal_is_passed_on(
    daemon: FakeDaemon, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    monkeypatch.delenv("BENCHAI_SUPERVISOR_TOKEN", raising=False)
    daemon.token = "let-me-in"  # noqa: S105 - of nothing

    assert ctl(*words) == (1, [f"{line}; set BENCHAI_SUPERVISOR_TOKEN to the daemon's http.token)"], [])
    assert daemon.held == {}


def test_a_reason_harms_neither_the_daemon_nor_the_terminal(daemon: FakeDaemon, ctl: Ctl) -> None:
    evil = "\x1b[2Jtwo\nlines \udcff"

    code, lines, _ = ctl("hold", "general", "-m", evil)

    assert (code, lines) == (0, ["general: held until released ([2Jtwo lines)"])
    assert daemon.asked[0].query == {"why": ["[2Jtwo lines"]}


def test_a_name_that_is_no_text_is_a_name_that_nobody_has(ctl: Ctl) -> None:
    assert ctl("hold", "gen\udcff") == (1, ["gen : ERROR (no such process)"], [])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["hold"], "NAME"),
        (["release"], "NAME"),
        (["hold", "general", "--for", "30"], "30 has no unit: say 30s, 30m, 30h or 30d"),
        (["hold", "general", "--for", "soon"], "say it like 90s, 30m, 2h, 1d or 1h30m"),
        (["pause", "--for", "400d"], "no longer than 365d"),
        (["pause", "--wait", "-1"], "is not between 0 and 3600"),
        (["pause", "general"], "unexpected extra argument (general)"),
        (["resume", "--for", "1h"], "No such option"),
        (["hold", "general", "-m", "x" * 201], "longer than 200 characters"),
    ],
)
def test_a_wrong_command_line_exits_2_before_anything_is_held(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    code = main(["--server", daemon.url, *words])

    assert code == 2
    assert complaint in capsys.readouterr().err
    assert daemon.asked == []


@pytest.mark.parametrize("words", [["hold", "general"], ["release", "general"], ["pause"], ["resume"]])
def test_without_a_daemon_nothing_is_held_and_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    code = main(["--server", f"unix://{tmp_path}/none.sock", *words])

    printed = capsys.readouterr()
    assert (code, printed.out) == (1, "")
    assert "no such socket" in printed.err
