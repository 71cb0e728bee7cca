"""`tail`, `signal`, `pid`, `probe`, `drain` and `history`: what is asked, and the words and exit status that answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli import main
from supervisor.cli.history_table import rows
from testbed.clients import free_port
from tests.cli.conftest import Ctl
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import iso, status, target

pytestmark = pytest.mark.usefixtures("in_utc")
NOON_S = 1_795_435_200.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    targets = status(target("general"), target("code", pid=None))
    with FakeDaemon(tmp_path / "control.sock", status=targets, now=lambda: NOON_S) as daemon:
        daemon.logs["general"] = "ein Wörtchen\nred \x1b[31mtext\r\nlast".encode()
        yield daemon


# --- tail -------------------------------------------------------------------------------------------------------------


def test_a_log_is_shown_with_what_could_move_the_cursor_replaced(ctl: Ctl) -> None:
    assert ctl("tail", "general") == (0, ["ein Wörtchen", "red  [31mtext", "last"], [])


@pytest.mark.parametrize(
    ("words", "query"),
    [
        (("general",), {}),
        (("-100", "general"), {"bytes": ["100"]}),
        (("general", "-100", "stdout"), {"bytes": ["100"]}),
        (("general", "stderr"), {}),
        (("--bytes", "7", "general"), {"bytes": ["7"]}),
        (("-n", "10", "general"), {"lines": ["10"]}),
        (("-f", "-n", "0", "general"), {"lines": ["0"], "follow": ["1"]}),
    ],
)
def test_its_end_is_asked_for_in_supervisorctls_words_and_ours(
    daemon: FakeDaemon, ctl: Ctl, words: tuple[str, ...], query: dict[str, list[str]]
) -> None:
    assert ctl("tail", *words)[0] == 0
    assert [(asked.path, asked.query) for asked in daemon.asked] == [("/v1/targets/general/log", query)]


@pytest.mark.parametrize("words", [(), ("general", "code"), ("--strange", "general"), ("-1", "-2", "general")])
def test_a_line_that_makes_no_sense_asks_nobody(daemon: FakeDaemon, ctl: Ctl, words: tuple[str, ...]) -> None:
    assert ctl("tail", *words)[0] == 2
    assert daemon.asked == []


def test_the_log_of_nobody_is_an_error(ctl: Ctl) -> None:
    assert ctl("tail", "nobody") == (1, ["nobody: ERROR (no such process)"], [])


def test_a_log_that_was_never_reached_has_not_let_anybody_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", f"http://127.0.0.1:{free_port()}", "tail", "-f", "general"]) == 1

    printed = capsys.readouterr()
    assert (printed.out, "nobody listens" in printed.err) == ("", True)


# --- signal -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["HUP", "sighup", "1"])
def test_a_signal_is_sent_by_its_name(daemon: FakeDaemon, ctl: Ctl, word: str) -> None:
    assert ctl("signal", word, "general", "code") == (0, ["general: signalled", "code: signalled"], [])
    assert [(asked.path, asked.query) for asked in daemon.asked] == [
        (f"/v1/targets/{name}/signal", {"signal": ["HUP"]}) for name in ("general", "code")
    ]


def test_what_is_to_be_expected_of_it_is_said(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.outcomes["general", "signal"] = {"message": "SIGTERM sent; if it ends, it is started again"}

    assert ctl("signal", "TERM", "general")[1] == ["general: signalled (if it ends, it is started again)"]


def test_one_that_could_not_be_sent_fails_and_costs_the_others_nothing(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.outcomes["general", "signal"] = {"outcome": "failed", "message": "it does not run"}

    told = ctl("signal", "TERM", "general", "nobody", "code")

    assert told == (
        1,
        ["general: ERROR (it does not run)", "nobody: ERROR (no such process)", "code: signalled"],
        [],
    )


def test_a_word_that_is_no_signal_is_refused_with_those_there_are(daemon: FakeDaemon, ctl: Ctl) -> None:
    code, _, complaint = ctl("signal", "HUPP", "general")

    assert code == 2
    assert "HUP, INT, QUIT" in " ".join(complaint)
    assert daemon.asked == []


# --- pid --------------------------------------------------------------------------------------------------------------


def test_pids_are_those_of_the_daemon_of_all_or_of_some(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemons, general = daemon.status["daemon"]["pid"], daemon.status["targets"][0]["pid"]

    assert ctl("pid") == (0, [str(daemons)], [])
    assert ctl("pid", "general") == (0, [str(general)], [])
    assert ctl("pid", "all") == (0, [str(general), "0"], [])
    assert ctl("pid", "general", "code") == (1, [str(general), "0"], [])


def test_nobody_has_no_pid(ctl: Ctl) -> None:
    assert ctl("pid", "genral") == (1, ["No such process genral (did you mean general?)"], [])


# --- probe ------------------------------------------------------------------------------------------------------------

WELL = {"asked": True, "ok": True, "verdict": "ready", "first_token_ms": 41.2, "detail": "answered"}
NOT_ASKED = {"asked": False, "ok": True, "verdict": "busy", "first_token_ms": None, "detail": "not asked: at work"}
ILL = {"asked": True, "ok": False, "verdict": "hung", "first_token_ms": None, "detail": "no answer within 5s"}


def test_a_probe_prints_a_line_each_and_fails_where_one_is_not_well(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.outcomes |= {("general", "probe"): WELL, ("code", "probe"): NOT_ASKED}
    well = ctl("probe", "all")
    daemon.outcomes["code", "probe"] = ILL
    ill = ctl("probe", "--wait", "5", "--patient", "--wake", "general", "code")

    assert well == (0, ["general: ok (ready, first token 0.04s)", "code: ok (busy: not asked: at work)"], [])
    assert ill == (1, ["general: ok (ready, first token 0.04s)", "code: ERROR (hung: no answer within 5s)"], [])
    assert daemon.asked[-1].query == {"wait_s": ["5"], "patient": ["1"], "wake": ["1"]}


def test_a_probe_of_nobody_fails(ctl: Ctl) -> None:
    assert ctl("probe", "nobody") == (1, ["nobody: ERROR (no such process)"], [])


# --- drain ------------------------------------------------------------------------------------------------------------


def drained(*, serves_nobody: bool) -> dict[str, object]:
    return {"drained": {"message": "drained", "until": None, "serves_nobody": serves_nobody}}


def test_a_drain_says_until_when_and_whether_anybody_is_served(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.outcomes["general", "drain"] = {"drained": True, "until": iso(NOON_S + 1800), "serves_nobody": False}
    daemon.outcomes["code", "drain"] = {"drained": True, "until": None, "serves_nobody": True}

    code, lines, _ = ctl("drain", "general", "code", "nobody", "--for", "30m", "-m", "driver")

    assert code == 1
    assert lines[0].startswith("general: drained until ")
    assert lines[0].endswith("(driver); may still be serving somebody")
    assert lines[1:] == [
        "code: drained until released (driver); serves nobody any more",
        "nobody: ERROR (no such process)",
    ]
    assert daemon.asked[0].query == {"for_s": ["1800"], "why": ["driver"], "wait_s": ["0"]}


def test_a_drain_may_wait_until_nobody_is_served(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.outcomes["general", "drain"] = {"drained": True, "until": None, "serves_nobody": False}
    daemon.status = status(target("general", **drained(serves_nobody=True)))

    told = ctl("drain", "general", "--wait", "5")

    assert told == (0, ["general: drained until released", "general: serves nobody any more"], [])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (drained(serves_nobody=False), "may still be serving somebody after 0.1 s; it stays drained"),
        ({"drained": None}, "put back meanwhile"),
    ],
)
def test_a_wait_in_vain_is_an_error(daemon: FakeDaemon, ctl: Ctl, state: dict[str, object], words: str) -> None:
    daemon.outcomes["general", "drain"] = {"drained": True, "until": None, "serves_nobody": False}
    daemon.status = status(target("general", **state))

    assert ctl("drain", "general", "--wait", "0.1")[:2] == (
        1,
        ["general: drained until released", f"general: ERROR ({words})"],
    )


# --- history ----------------------------------------------------------------------------------------------------------


def past(daemon: FakeDaemon) -> None:
    """Give the daemon something to remember: a minute apart, the newest at noon."""
    change = {
        "target": "general",
        "before": "up",
        "after": "backoff",
        "message": "exited with code 1",
        "incident": "i1",
    }
    act = {"target": "general", "verb": "restart", "by_operator": False, "outcome": "done"}
    daemon.past = {
        "transitions": [{**change, "at": iso(NOON_S - 120), "incident": "i1"}],
        "acts": [
            {**act, "began_at": iso(NOON_S), "by_operator": True, "outcome": "it is stuck"},
            {**act, "began_at": iso(NOON_S - 60)},
        ],
    }
    daemon.incidents = [
        {
            "id": "i1",
            "targets": ["general"],
            "opened_at": iso(NOON_S - 119),
            "closed_at": iso(NOON_S - 30),
            "says": "exited with code 1",
            "members": [{"ending": "our restart"}],
        }
    ]


def test_the_history_is_one_story_the_newest_last(daemon: FakeDaemon, ctl: Ctl) -> None:
    past(daemon)

    code, lines, _ = ctl("history")

    assert code == 0
    assert [line.partition("  ")[2] for line in lines] == [
        "general  up -> backoff: exited with code 1",
        "general  incident i1 begins: exited with code 1",
        "general  restart by the supervisor",
        "general  incident i1 is over: our restart",
        "general  restart by the operator: it is stuck",
    ]


def test_it_reaches_as_far_back_and_has_as_many_lines_as_is_wanted(daemon: FakeDaemon, ctl: Ctl) -> None:
    past(daemon)

    lately = ctl("history", "general", "--since", "90s")[1]
    newest = ctl("history", "--limit", "2")[1]

    assert [line.partition("general  ")[2] for line in lately] == [
        "restart by the supervisor",
        "incident i1 is over: our restart",
        "restart by the operator: it is stuck",
    ]
    assert len(newest) == 2
    limits = [asked.query["limit"] for asked in daemon.asked]
    assert limits == [["500"], ["500"], ["2"], ["2"]]


def test_on_a_narrow_terminal_a_long_line_goes_on_below_its_words() -> None:
    told = {"at": iso(NOON_S), "target": "general", "kind": "act", "what": "restart by the operator", "why": "is stuck"}

    assert rows([told], width=60) == [
        "Nov 23 12:00:00  general  restart by the operator: is stuck"[:60],
    ]
    assert rows([told], width=54) == [
        "Nov 23 12:00:00  general  restart by the operator: is",
        "                          stuck",
    ]


def test_machines_are_told_the_same(daemon: FakeDaemon, ctl: Ctl) -> None:
    past(daemon)

    told = json.loads("\n".join(ctl("history", "-f", "json")[1]))["history"]
    lines = ctl("history", "-f", "tsv")[1]

    assert [each["kind"] for each in told] == ["state", "incident", "act", "incident", "act"]
    assert lines[0] == "at\ttarget\tkind\twhat\twhy\tincident"
    assert lines[1].split("\t")[1:] == ["general", "state", "up -> backoff", "exited with code 1", "i1"]


def test_where_nothing_happened_that_is_said(ctl: Ctl) -> None:
    assert ctl("history", "general") == (0, ["general: nothing"], [])
