"""`incident list`, `show` and `export`: what went wrong, for whoever comes after it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli import main
from supervisor.cli.incident_table import rows
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target
from tests.fakes.incidents import BUNDLE, MEMBER, incident, member

pytestmark = pytest.mark.usefixtures("in_utc")
Ctl = Callable[..., tuple[int, str, str]]

NOON_S = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon at noon."""
    targets = status(target("general"), target("code"))
    with FakeDaemon(tmp_path / "control.sock", status=targets, now=lambda: NOON_S) as daemon:
        yield daemon


@pytest.fixture
def ctl(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run a command; return its exit status, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--server", daemon.url, "incident", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


# --- list -------------------------------------------------------------------------------------------------------------


def test_the_list_has_a_line_for_each_the_newest_last(daemon: FakeDaemon, ctl: Ctl) -> None:
    shared = [member(target=name) for name in ("general", "code", "vision", "math")]
    daemon.incidents = [
        incident(*shared, id="20261123-115958-code", opened_at="2026-11-23T11:59:58.000Z", closed_at=None, cause=None),
        incident(),
    ]

    code, out, err = ctl("list")

    assert (code, err) == (0, "")
    assert (
        out
        == """\
INCIDENT                 SINCE         LASTED      TARGETS                           CAUSE        ENDED
20261123-114500-general  Nov 23 11:45  4 min 10 s  general                           out of VRAM  our restart
20261123-115958-code     Nov 23 11:59  2 s         general, code, vision and 1 more  not known    open
"""
    )


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ([], {"limit": ["20"]}),
        (["all"], {"limit": ["20"]}),
        (["general", "--limit", "3"], {"limit": ["3"], "target": ["general"]}),
    ],
)
def test_the_list_may_be_of_one_target_and_shorter(
    daemon: FakeDaemon, ctl: Ctl, words: list[str], query: dict[str, list[str]]
) -> None:
    ctl("list", *words)

    assert [(asked.path, asked.query) for asked in daemon.asked] == [("/v1/incidents", query)]


@pytest.mark.parametrize(
    ("words", "line"), [([], "all: no incidents"), (["code"], "code: no incidents")], ids=["all", "one"]
)
def test_where_nothing_went_wrong_the_list_says_so(ctl: Ctl, words: list[str], line: str) -> None:
    assert ctl("list", *words) == (0, f"{line}\n", "")


def test_a_list_of_a_name_that_is_nearly_right_names_the_right_one(ctl: Ctl) -> None:
    assert ctl("list", "genral") == (1, "genral: ERROR (no such process; did you mean general?)\n", "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"closed_at": None}, "open"),
        ({"members": [MEMBER, member(ending="by itself"), MEMBER]}, "our restart, by itself"),
        ({"members": [member(ending=None)]}, "not known how"),
        ({"members": None}, "not known how"),
    ],
)
def test_what_ended_it_is_told_once_each(changes: dict[str, Any], expected: str) -> None:
    assert rows([incident(**changes)], now_s=NOON_S)[-1].endswith(f"out of VRAM  {expected}")


def test_on_a_terminal_that_is_too_narrow_for_the_table_what_it_is_about_stands_below_it() -> None:
    several = [incident(id="20261123-114500-general")]

    assert rows(several, now_s=NOON_S, width=60) == [
        "20261123-114500-general  Nov 23 11:45  4 min 10 s",
        "  general: out of VRAM; our restart",
    ]
    assert rows(several, now_s=NOON_S, width=120) == rows(several, now_s=NOON_S)
    assert all(len(line) <= 30 for line in rows(several, now_s=NOON_S, width=30))


# --- show -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["20261123-114500-general", "general"])
def test_an_incident_is_told_by_its_id_or_by_its_newest_targets_name(daemon: FakeDaemon, ctl: Ctl, word: str) -> None:
    older = incident(id="20261122-000000-general")
    daemon.incidents = [incident(evidence=[BUNDLE]), older]

    code, out, err = ctl("show", word)

    assert (code, err) == (0, "")
    assert (
        out
        == """\
Incident 20261123-114500-general: general, since Nov 23 11:45:00, over after 4
min 10 s.

general was down at Nov 23 11:45:00: exited 1 (Exited). The cause: out of VRAM,
that is, the GPU has 200 MiB left. A restart does not help against that. What
helps: stop what else uses the GPU. We restarted it at 11:45:10 and 11:48:40.
Our restart brought it back after 4 min 10 s.

Evidence of general at Nov 23 11:45:08: hung (instance 4f1e@12)
  cpu                10 s  idle
  processes:
    4121 llama-server, state Sl, cpu 12.3 s, memory 312 MiB, waits in
    futex_wait, threads (7 x S futex_wait, 1 x R)
  GPU 0 RTX 3060: 11.0 GiB of 12.0 GiB used, by llama-server (4121) 9.0 GiB, a
  process that is gone (77) 300 MiB
  the last lines it printed:
    | loading
    | llama_init: failed
"""
    )


def test_words_from_a_model_server_cannot_take_over_the_terminal(daemon: FakeDaemon, ctl: Ctl) -> None:
    evil = "\x1b[2Jboo\rsecond\x9b"
    words = dict.fromkeys(("target", "message", "reason", "cause", "says", "cure", "verdict"), evil)
    bundle = {
        **dict.fromkeys(("target", "verdict", "instance", "log", "cut"), evil),
        "statements": [{"witness": evil, "says": evil}],
        "processes": [{"pid": evil, "name": evil, evil: evil}],
        "gpu": [{"index": evil, "name": evil, "holders": [{"pid": evil, "name": evil}]}],
        "errors": [evil],
    }
    daemon.incidents = [incident(member(**words), targets=["general", evil], cause=evil, evidence=[bundle])]

    told = [ctl("list"), ctl("show", "general"), ctl("export", "general")]

    assert [code for code, _, _ in told] == [0, 0, 0]
    assert all(line.isprintable() for _, out, _ in told for line in out.split("\n"))


@pytest.mark.parametrize("what", ["show", "export"])
@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("2026", "2026: ERROR (no such incident, and no such process: see benchai-supervisorctl incident list)"),
        ("code", "code: ERROR (no incident of it is remembered)"),
    ],
)
def test_what_is_not_remembered_is_an_error(ctl: Ctl, what: str, word: str, line: str) -> None:
    assert ctl(what, word) == (1, f"{line}\n", "")


@pytest.mark.parametrize("words", [["list"], ["list", "code"], ["show", "code"], ["export", "code"]])
def test_a_history_that_cannot_be_read_is_not_taken_for_an_empty_one(
    daemon: FakeDaemon, ctl: Ctl, words: list[str]
) -> None:
    daemon.incidents = None

    assert ctl(*words) == (1, "", "benchai-supervisorctl: the history cannot be read\n")


def test_an_answer_that_is_no_incident_is_not_taken_for_one(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.incidents = [{"id": "x"}]

    code, _, err = ctl("show", "x")

    assert code == 1
    assert "is not benchai-supervisord" in err


# --- export -----------------------------------------------------------------------------------------------------------


def test_an_export_is_all_of_it_in_a_new_file(daemon: FakeDaemon, ctl: Ctl, tmp_path: Path) -> None:
    daemon.incidents = [incident(evidence=[BUNDLE])]
    file = tmp_path / "general.json"

    told = ctl("export", "general", str(file))

    assert told == (0, f"20261123-114500-general: written to {file}\n", "")
    assert json.loads(file.read_text()) == daemon.incidents[0]


@pytest.mark.parametrize("where", [[], ["-"]])
def test_an_export_without_a_file_goes_to_standard_output(daemon: FakeDaemon, ctl: Ctl, where: list[str]) -> None:
    daemon.incidents = [incident(evidence=[BUNDLE])]

    code, out, err = ctl("export", "20261123-114500-general", *where)

    assert (code, err) == (0, "")
    assert json.loads(out) == daemon.incidents[0]


def test_an_export_overwrites_nothing(daemon: FakeDaemon, ctl: Ctl, tmp_path: Path) -> None:
    daemon.incidents = [incident()]
    file = tmp_path / "general.json"
    file.write_text("mine")

    told = ctl("export", "general", str(file))

    assert told == (1, f"general: ERROR ({file} is there already, and is not overwritten: name another)\n", "")
    assert file.read_text() == "mine"


def test_an_export_that_cannot_be_written_says_why(daemon: FakeDaemon, ctl: Ctl, tmp_path: Path) -> None:
    daemon.incidents = [incident()]
    file = tmp_path / "nowhere" / "general.json"

    told = ctl("export", "general", str(file))

    assert told == (1, f"general: ERROR (cannot write {file}: No such file or directory)\n", "")


def test_an_export_that_breaks_off_leaves_nothing_in_the_way_of_the_next(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.incidents = [incident(evidence=[{"log": "x" * 100_000}])]
    file = tmp_path / "general.json"
    shell = f"ulimit -f 1; {sys.executable} -m supervisor.cli --server {daemon.url} incident export general {file}"

    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"general: ERROR (cannot write {file}: File too large)\n"
    assert not file.exists()


@pytest.mark.parametrize(
    "words",
    [[], ["list", "--limit", "0"], ["list", "--limit", "501"], ["list", "--limit", "x"], ["show"], ["export"], ["fly"]],
)
def test_a_wrong_command_line_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["incident", *words])

    assert code == 2
    assert "Usage: benchai-supervisorctl incident" in capsys.readouterr().err
