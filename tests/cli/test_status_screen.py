"""The status on a terminal: supervisorctl's columns where they fit, folded where they do not, and coloured."""

import pytest

from supervisor.cli.status_screen import lines
from supervisor.cli.status_table import rows
from supervisor.cli.text import wide
from tests.fakes.documents import Document, target

BUSY = target("planner", pid=4188, uptime_s=2467.0, summary="busy, 38 tok/s, slot 1/1")
HUNG = target(
    "code", state="BACKOFF", routable=False, summary="hung: no progress for 14s, cpu idle; restart 2/5 in 18s"
)
LONG = target("a-model-server-with-a-name-of-sixty-three-letters-and-no-blanks1", summary="ready")


def plain(*targets: Document, width: int) -> list[str]:
    """Return the lines without colours."""
    return lines(list(targets), width=width, is_coloured=False)


@pytest.mark.parametrize("width", [100, 200])
def test_where_there_is_room_it_is_supervisorctls_table_to_the_column(width: int) -> None:
    assert plain(BUSY, HUNG, width=width) == rows([BUSY, HUNG])


def test_where_there_is_less_the_names_column_shrinks_first() -> None:
    assert plain(BUSY, HUNG, width=80) == [
        "planner   RUNNING   pid 4188, uptime 0:41:07; busy, 38 tok/s, slot 1/1",
        "code      BACKOFF   hung: no progress for 14s, cpu idle; restart 2/5 in 18s",
    ]


def test_then_the_words_go_on_below_their_beginning() -> None:
    assert plain(BUSY, HUNG, width=50) == [
        "planner   RUNNING   pid 4188, uptime 0:41:07;",
        "                    busy, 38 tok/s, slot 1/1",
        "code      BACKOFF   hung: no progress for 14s, cpu",
        "                    idle; restart 2/5 in 18s",
    ]


def test_and_at_last_below_the_name() -> None:
    assert plain(HUNG, width=30) == [
        "code BACKOFF",
        "  hung: no progress for 14s,",
        "  cpu idle; restart 2/5 in 18s",
    ]


def test_a_name_that_is_wider_than_the_terminal_is_still_whole() -> None:
    told = plain(LONG, width=24)

    assert "".join(told).startswith(f"{LONG['name']}  RUNNING  pid 4121")


def test_a_target_without_a_word_to_it_has_its_line() -> None:
    assert plain(target("x", state="STARTING", summary=""), width=80) == [f"{'x':<33}STARTING"]


def test_no_target_is_no_line() -> None:
    assert plain(width=80) == []


@pytest.mark.parametrize("width", [1, 10, 17, 24, 40, 41, 63, 79, 80, 120])
@pytest.mark.parametrize(
    "summary",
    ["ready", "x" * 200, "failing: モデルが見つかりません。モデルが見つかりません。", "failing: \x1b[2Jboo\nagain"],
)
def test_no_line_is_wider_than_the_terminal(width: int, summary: str) -> None:
    told = plain(BUSY, LONG, {**HUNG, "summary": summary}, width=width)

    assert [line for line in told if wide(line) > max(width, 10)] == []
    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize(
    ("changes", "colour"),
    [
        pytest.param({}, "\x1b[32m", id="green-it-answers"),
        pytest.param({"verdict": "suspect", "routable": False}, "\x1b[33m", id="yellow-it-runs-and-does-not-answer"),
        pytest.param({"state": "BACKOFF", "routable": False}, "\x1b[33m", id="yellow-waiting"),
        pytest.param({"state": "STARTING", "routable": False}, "\x1b[36m", id="cyan-on-its-way"),
        pytest.param({"state": "FATAL", "routable": False}, "\x1b[31m\x1b[1m", id="red-a-person-is-needed"),
        pytest.param({"state": "STOPPED", "routable": False}, "\x1b[2m", id="dim-as-it-was-asked-to-be"),
        pytest.param({"kind": "router", "routable": None}, "\x1b[32m", id="green-a-router-that-answers"),
    ],
)
def test_the_states_word_alone_is_coloured_by_how_it_goes(changes: Document, colour: str) -> None:
    one = target("general", **changes)

    [line] = lines([one], width=100, is_coloured=True)

    assert f"{colour}{one['state']}\x1b[0m" in line
    assert line.replace(colour, "").replace("\x1b[0m", "") == rows([one])[0]


def test_a_state_nobody_knows_is_left_plain() -> None:
    assert lines([target("x", state="DREAMING")], width=80, is_coloured=True) == rows([target("x", state="DREAMING")])
