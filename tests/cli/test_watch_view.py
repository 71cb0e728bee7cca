"""What the live view draws, from what is known."""

from datetime import UTC, datetime, timedelta

import pytest

from supervisor.cli.text import wide
from supervisor.cli.watch_view import Seen, view
from tests.fakes.documents import Document, status, target

pytestmark = pytest.mark.usefixtures("in_utc")

NOW = datetime(2026, 11, 23, 12, 0, 6, tzinfo=UTC)
NOBODY = "cannot reach the daemon at unix:///x: no such socket"
CHANGE = {
    "target": "code",
    "before": "up",
    "after": "suspect",
    "reason": "CountersSilent",
    "message": "counters silent, cpu idle",
    "at": "2026-11-23T11:59:58.000Z",
}
TWO = status(target("general"), target("code", routable=False, verdict="suspect", summary="suspect"))


def drawn(seen: Seen, *names: str, width: int = 80, height: int = 24, is_coloured: bool = False) -> list[str]:
    """Return the screen's lines at six seconds past noon."""
    return view(seen, names, now=NOW, width=width, height=height, is_coloured=is_coloured)


def heard(document: Document, *changes: Document) -> Seen:
    """Return what a daemon that answers has said."""
    return Seen(status=document, changes=changes)


def test_it_counts_who_is_ready_above_the_table_and_tells_what_changed_below() -> None:
    assert drawn(heard(TWO, CHANGE)) == [
        "1/2 ready                                                      12:00:06  q: quit",
        "",
        "general                          RUNNING   pid 4121, uptime 0:01:00; ready",
        "code                             RUNNING   pid 4121, uptime 0:01:00; suspect",
        "",
        "What has changed, the newest last:",
        "  11:59:58  code: up -> suspect, counters silent, cpu idle (CountersSilent)",
    ]


def test_before_the_first_answer_it_says_that_it_asks() -> None:
    assert drawn(Seen())[0].startswith("asking the daemon  ")


def test_a_daemon_that_was_never_there_is_told_with_since_when() -> None:
    lines = drawn(Seen(problem=NOBODY, since=NOW - timedelta(seconds=6)), width=100)

    assert lines[0].startswith("no answer yet  ")
    assert lines[1:] == [f"{NOBODY} (since 12:00:00, 6 s)"]


def test_a_daemon_that_is_gone_leaves_what_was_last_known_and_says_so() -> None:
    lines = drawn(heard(TWO)._replace(problem=NOBODY, since=NOW - timedelta(seconds=6)), width=100)

    assert lines[0].startswith("1/2 were ready  ")
    assert lines[1] == f"{NOBODY} (since 12:00:00, 6 s)"
    assert lines[3].startswith("general ")


def test_what_is_last_known_is_dimmed_and_no_longer_green() -> None:
    known = heard(status(target("general")))

    green, dim = "\x1b[32m", "\x1b[2m"
    assert any(green in line for line in drawn(known, is_coloured=True))
    gone = drawn(known._replace(problem=NOBODY, since=NOW), is_coloured=True)
    assert not any(green in line for line in gone)
    assert next(line for line in gone if "general" in line).startswith(dim)


def test_a_daemon_that_no_longer_decides_is_told() -> None:
    late = status(target("general"), expires_in_s=-34.0)

    lines = drawn(Seen(status=late, daemon_s=datetime.now(UTC).timestamp()))

    assert "out of date by 3" in lines[1]


def test_the_daemons_own_problems_are_told() -> None:
    assert drawn(heard(status(target("general"), problems=("docker: engine unreachable",))))[1] == (
        "docker: engine unreachable"
    )


def test_of_some_it_counts_shows_and_tells_those_alone() -> None:
    lines = drawn(heard(TWO, CHANGE), "general", "nobody")

    assert lines[0].startswith("1/1 ready")
    assert lines[2:] == [
        "nobody: ERROR (no such process)",
        "general                          RUNNING   pid 4121, uptime 0:01:00; ready",
    ]


def test_where_the_table_is_higher_than_the_window_the_last_line_says_so() -> None:
    many = heard(status(*(target(f"backend-{number}") for number in range(40))))

    lines = drawn(many, height=10)

    assert len(lines) == 10
    assert lines[-1] == "33 more lines: name some targets, or make the window higher"


def test_changes_fill_what_room_is_left_the_newest_first_of_all() -> None:
    changes = [{**CHANGE, "target": f"code-{number}"} for number in range(9)]

    lines = drawn(heard(TWO, *changes), height=8)

    assert len(lines) == 8
    assert [line.split()[1] for line in lines[6:]] == ["code-7:", "code-8:"]


@pytest.mark.parametrize("height", [1, 2, 3, 5, 24])
@pytest.mark.parametrize("width", [10, 20, 40, 80])
@pytest.mark.parametrize("problem", ["", NOBODY])
def test_it_is_never_larger_than_the_window(width: int, height: int, problem: str) -> None:
    changes = [{**CHANGE, "target": f"code-{number}"} for number in range(9)]
    seen = heard(TWO, *changes)._replace(problem=problem, since=NOW)

    lines = drawn(seen, width=width, height=height)

    assert len(lines) <= height
    assert [line for line in lines if wide(line) > width] == []


def test_words_from_a_model_server_cannot_take_over_the_screen() -> None:
    evil = "\x1b[2Jboo\n"

    lines = drawn(heard(status(target("general", summary=evil), problems=(evil,)), {**CHANGE, "message": evil}))

    assert all(line.isprintable() for line in lines)
