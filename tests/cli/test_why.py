"""`why`: what a tired operator reads at three in the morning."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli import main
from supervisor.cli.text import nearest
from supervisor.cli.why_story import lines
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import Document, status, target

pytestmark = pytest.mark.usefixtures("in_utc")
STORY = (
    "general is hung and out of service, and has been for 10 s. Its one slot is at work (12 tokens decoded so far); its"
    " counters last moved 30 s ago, and its CPU has been idle for 28 s: a server at work would have moved by now."
)
STEP = {"verdict": "ready", "reason": "CanaryAnswered", "message": "first token after 41 ms", "statements": []}
STARTED = {**STEP, "at": "2026-11-23T11:40:00.000Z", "before": "starting", "after": "up"}
SUSPECTED = {
    "at": "2026-11-23T11:44:52.000Z",
    "before": "up",
    "after": "suspect",
    "verdict": "suspect",
    "reason": "CountersStanding",
    "message": "no progress, cpu idle",
    "statements": [{"witness": "cpu", "says": "idle", "age_s": 2.0}],
}
HUNG = {
    **SUSPECTED,
    "at": "2026-11-23T11:45:00.000Z",
    "before": "suspect",
    "after": "backoff",
    "verdict": "hung",
    "statements": [
        {"witness": "progress", "says": "slot 0 of 1 at work, 12 tokens decoded, counters stand still", "age_s": 20.0},
        {"witness": "cpu", "says": "idle", "age_s": 10.0},
    ],
}


def why(**changes: Any) -> Document:
    """Return what the daemon answers, with `changes`."""
    told = {
        "name": "general",
        "story": STORY,
        "state": "BACKOFF",
        "verdict": "hung",
        "reason": "CountersStanding",
        "message": "no progress, cpu idle",
        "since": "2026-11-23T11:45:00.000Z",
        "statements": [
            {"witness": "engine", "says": "running", "since": "2026-11-23T09:40:00.000Z", "age_s": 7559.0},
            {"witness": "canary", "says": "unanswered", "since": None, "age_s": None},
        ],
        "transitions": [HUNG, SUSPECTED, STARTED],
        "note": None,
    }
    return {**told, **changes}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "control.sock", status=status(target("general"), target("code"))) as daemon:
        daemon.stories["general"] = why()
        yield daemon


def test_the_story_comes_first_then_the_evidence_then_what_led_here(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--server", daemon.url, "why", "general"])

    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert (
        printed.out
        == """\
general is hung and out of service, and has been for 10 s. Its one slot is at
work (12 tokens decoded so far); its counters last moved 30 s ago, and its CPU
has been idle for 28 s: a server at work would have moved by now.

Evidence now, with its age:
  engine        2 h 5 min  running
  canary                   unanswered

What led here, the newest last:
  Nov 23 11:40:00  starting -> up: first token after 41 ms (CanaryAnswered)
  Nov 23 11:44:52  up -> suspect: no progress, cpu idle (CountersStanding)
  Nov 23 11:45:00  suspect -> backoff: no progress, cpu idle (CountersStanding)
      progress           20 s  slot 0 of 1 at work, 12 tokens decoded, counters
                               stand still
      cpu                10 s  idle
"""
    )


@pytest.mark.parametrize(
    ("width", "widest"), [pytest.param(60, 60, id="fits"), pytest.param(10, 40, id="never-too-narrow"), (500, 100)]
)
def test_no_line_is_wider_than_the_terminal_nor_than_one_can_read(width: int, widest: int) -> None:
    told = lines(why(story=STORY * 3), width=width)

    assert max(map(len, told)) <= widest
    assert max(map(len, told)) > widest - 15


def test_the_evidence_of_the_last_trouble_is_shown_even_after_it_passed() -> None:
    well = {**STARTED, "at": "2026-11-23T11:50:00.000Z"}

    told = lines(why(transitions=[well, HUNG, SUSPECTED]), width=80)

    assert [line for line in told if "cpu                10 s  idle" in line]
    assert not [line for line in told if "cpu                 2 s  idle" in line]
    assert told[-1].startswith("  Nov 23 11:50:00  starting -> up")


def test_a_history_that_cannot_be_read_is_told_of_in_its_place() -> None:
    told = lines(why(transitions=None, note="the history cannot be read"), width=80)

    assert told[0].startswith("general is hung")
    assert told[-1] == "What led here is not known: the history cannot be read."


def test_a_target_without_evidence_or_past_has_only_its_story() -> None:
    told = lines(why(story="general is not known yet.", statements=[], transitions=[]), width=80)

    assert told == ["general is not known yet.", "", "What led here: nothing is written down."]


def test_words_from_a_model_server_cannot_take_over_the_terminal() -> None:
    evil = "\x1b[2Jboo\nsecond"

    told = lines(
        why(
            story=evil,
            statements=[{"witness": "canary", "says": evil, "age_s": 1.0}, {"witness": "cpu", "says": ""}],
            transitions=[{**HUNG, "message": evil}],
        ),
        width=80,
    )

    assert all(line.isprintable() for line in told)


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--server", daemon.url, "why", "genral"])

    assert code == 1
    assert capsys.readouterr().out == "genral: ERROR (no such process; did you mean general?)\n"


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("cod", ["code", "coder", "general"], "did you mean code or coder?"),
        ("xyz", ["code", "general"], "there are: code, general"),
        ("xyz", [], "there are: none"),
    ],
)
def test_the_nearest_names_are_named_or_all_of_them(name: str, known: list[str], words: str) -> None:
    assert nearest(name, known) == words


def test_without_a_daemon_there_is_no_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--server", f"unix://{tmp_path}/none.sock", "why", "general"])

    assert code == 1
    assert "no such socket" in capsys.readouterr().err


@pytest.mark.parametrize("story", [{"error": {"code": "x"}}, {}])
def test_an_answer_that_is_no_story_is_not_taken_for_one(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], story: Document
) -> None:
    daemon.stories["general"] = story

    code = main(["--server", daemon.url, "why", "general"])

    assert code == 1
    assert "is not benchai-supervisord" in capsys.readouterr().err


def test_why_needs_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["why"])

    assert code == 2
    assert "NAME" in capsys.readouterr().err
