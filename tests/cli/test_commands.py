"""What the operator sees and what the shell gets, against the daemon's HTTP contract."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import __version__
from supervisor.cli import main
from supervisor.cli.http import Daemon, DaemonUnreachable
from tests.cli.conftest import Ctl
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import Document, status, target
from tests.fakes.incidents import BUNDLE, incident
from tests.fakes.upstream import Upstream, fails, hangs_up, sends_then, silent

LET_ME_IN = "let-me-in"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "control.sock", status=status(target("general"), target("code"))) as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("targets", "code"),
    [
        pytest.param([target("general"), target("code")], 0, id="all-ready"),
        pytest.param([target("general", verdict="busy")], 0, id="busy-is-routable"),
        pytest.param([target("general"), target("code", routable=False)], 3, id="one-is-not"),
        pytest.param([target("code", state="STOPPED", routable=False)], 3, id="stopped-by-hand"),
        pytest.param([target("router", kind="router", routable=None)], 0, id="a-router-that-answers"),
        pytest.param([target("router", kind="router", routable=None, verdict="hung")], 3, id="a-router-that-does-not"),
        pytest.param([], 0, id="nothing-to-watch"),
    ],
)
def test_status_exits_0_only_where_all_are_ready(
    daemon: FakeDaemon, ctl: Ctl, targets: list[Document], code: int
) -> None:
    daemon.status = status(*targets)

    assert ctl("status")[0] == code


def test_status_of_some_shows_and_judges_those_alone(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.status = status(target("general"), target("code", routable=False))

    code, lines, _ = ctl("status", "general")

    assert code == 0
    assert [line.split()[0] for line in lines] == ["general"]


def test_status_of_an_unknown_name_says_so_and_cannot_tell(ctl: Ctl) -> None:
    code, lines, _ = ctl("status", "general", "nobody")

    assert code == 4
    assert lines[0] == "nobody: ERROR (no such process)"
    assert lines[1].startswith("general ")


def test_a_status_that_is_out_of_date_is_shown_with_a_warning_and_cannot_tell(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.status = status(target("general"), expires_in_s=-34.0)

    code, lines, complaints = ctl("status")

    assert code == 4
    assert len(lines) == 1
    assert "out of date by 3" in complaints[0]


def test_the_age_of_a_status_is_told_by_the_daemons_clock(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.now = lambda: time.time() - 3600
    daemon.status = status(target("general"), expires_in_s=15.0 - 3600)

    assert ctl("status")[0] == 0


def test_the_daemons_own_problems_go_to_stderr(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.status = status(target("general"), problems=("docker: engine unreachable: no such file",))

    code, lines, complaints = ctl("status")

    assert code == 0
    assert len(lines) == 1
    assert complaints == ["benchai-supervisorctl: docker: engine unreachable: no such file"]


# --- start, stop, restart ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "outcome", "lines", "code"),
    [
        ("start", "done", ["general: started"], 0),
        ("stop", "done", ["general: stopped"], 0),
        ("restart", "done", ["general: stopped", "general: started"], 0),
        ("start", "already", ["general: ERROR (already started)"], 0),
        ("stop", "already", ["general: ERROR (not running)"], 0),
        ("start", "failed", ["general: ERROR (port 8091 is taken)"], 1),
        (
            "start",
            "pending",
            ["general: ERROR (still under way after 60 s: see benchai-supervisorctl status general)"],
            1,
        ),
    ],
)
def test_a_verb_answers_in_supervisorctls_words(
    daemon: FakeDaemon, ctl: Ctl, verb: str, outcome: str, lines: list[str], code: int
) -> None:
    daemon.outcomes["general", verb] = {"outcome": outcome, "message": "port 8091 is taken"}

    assert ctl(verb, "general") == (code, lines, [])


def test_a_verb_waits_for_the_outcome_as_long_as_it_was_told(daemon: FakeDaemon, ctl: Ctl) -> None:
    ctl("restart", "general", "--wait", "5")

    assert [(asked.method, asked.path, asked.query) for asked in daemon.asked] == [
        ("POST", "/v1/targets/general/restart", {"wait_s": ["5"]})
    ]


def test_several_names_are_answered_in_their_order_and_one_failure_fails_the_command(
    daemon: FakeDaemon, ctl: Ctl
) -> None:
    daemon.outcomes["general", "stop"] = {"outcome": "failed", "message": "it will not go"}

    code, lines, _ = ctl("stop", "general", "code")

    assert code == 1
    assert lines == ["general: ERROR (it will not go)", "code: stopped"]


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "signal"])
def test_all_means_nobody_to_whom_nothing_can_be_done(daemon: FakeDaemon, ctl: Ctl, verb: str) -> None:
    daemon.status = status(target("general"), target("router", kind="router", watched_only=True))

    code, lines, _ = ctl(verb, *(["HUP"] if verb == "signal" else []), "all")

    assert (code, {line.partition(":")[0] for line in lines}) == (0, {"general"})


def test_all_means_every_target(ctl: Ctl) -> None:
    code, lines, _ = ctl("start", "all")

    assert code == 0
    assert lines == ["general: started", "code: started"]


def test_a_verb_on_an_unknown_name_says_so_and_fails(ctl: Ctl) -> None:
    assert ctl("start", "nobody") == (1, ["nobody: ERROR (no such process)"], [])


def test_a_name_with_a_slash_reaches_the_daemon_as_a_name(daemon: FakeDaemon, ctl: Ctl) -> None:
    ctl("start", "a/b c")

    assert daemon.asked[0].path == "/v1/targets/a%2Fb%20c/start"


def test_whoever_is_in_a_hurry_waits_for_nobody_to_finish(daemon: FakeDaemon, ctl: Ctl) -> None:
    ctl("restart", "--now", "general")

    assert daemon.asked[0].query["drain"] == ["0"]


def test_whoever_had_to_make_way_is_told_of(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.outcomes["general", "start"] = {"outcome": "done", "message": "started", "stopped": ["code"]}

    assert ctl("start", "general") == (0, ["code: stopped", "general: started"], [])


def test_without_the_token_the_daemons_refusal_is_passed_on_with_where_it_goes(
    daemon: FakeDaemon, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCHAI_SUPERVISOR_TOKEN", raising=False)
    daemon.token = LET_ME_IN

    cure = "set BENCHAI_SUPERVISOR_TOKEN to the daemon's http.token"
    assert ctl("stop", "general") == (1, [f"general: ERROR (stop general: needs the token; {cure})"], [])


def test_the_token_comes_from_the_environment(daemon: FakeDaemon, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHAI_SUPERVISOR_TOKEN", f"{LET_ME_IN}\n")
    daemon.token = LET_ME_IN

    assert ctl("stop", "general")[0] == 0


# --- no daemon, or another ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "code"), [("status", 4), ("stop", 1), ("version", 1)])
def test_without_a_daemon_one_line_says_where_it_looked_why_it_failed_and_what_to_do(
    ctl: Ctl, tmp_path: Path, command: str, code: int
) -> None:
    names = ["general"] if command == "stop" else []

    got, _, complaints = ctl(command, *names, server=f"unix://{tmp_path}/none.sock")

    assert got == code
    assert complaints == [
        f"benchai-supervisorctl: cannot reach the daemon at unix://{tmp_path}/none.sock: no such socket; "
        "is the daemon running? Start benchai-supervisord, or name it with --server"
    ]


def test_a_socket_left_behind_by_a_dead_daemon_is_told_apart(ctl: Ctl, tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "left.sock") as gone:
        pass

    code, _, complaints = ctl("status", server=gone.url)

    assert code == 4
    assert "nobody listens; the daemon is not running" in complaints[0]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="not-json"),
        pytest.param("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", id="a-list"),
        pytest.param("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="no-status"),
        pytest.param("220 smtp ready\r\n", id="not-http"),
        pytest.param("", id="nothing"),
    ],
)
def test_something_else_at_the_address_is_one_line_too(ctl: Ctl, reply: str) -> None:
    with Upstream(sends_then(reply, hangs_up)) as upstream:
        code, lines, complaints = ctl("status", server=upstream.url)

    assert (code, lines, len(complaints)) == (4, [], 1)
    assert complaints[0].startswith("benchai-supervisorctl: ")


def test_a_model_server_in_its_place_is_no_daemon_of_ours_whatever_it_says(ctl: Ctl) -> None:
    refusal = '{"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}'
    with Upstream(fails("404 Not Found", refusal)) as upstream:
        code, _, complaints = ctl("status", server=upstream.url)

    assert code == 4
    assert "is not benchai-supervisord; name the right address" in complaints[0]


def test_a_host_of_no_name_is_no_fault_of_the_daemons(ctl: Ctl) -> None:
    code, _, complaints = ctl("status", server="http://no-such-host.invalid:8090")

    assert code == 4
    assert "there is no host of that name; correct it" in complaints[0]


def test_a_daemon_that_hangs_is_not_waited_for() -> None:
    with Upstream(silent) as upstream, pytest.raises(DaemonUnreachable, match=r"no answer within 0.2 s; .* may hang"):
        Daemon(upstream.url, answer_s=0.2).status()


# --- the command itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["start"],
        ["status", "--fast"],
        ["stop", "x", "--wait", "-1"],
        ["--server", "ftp://x", "status"],
        ["--server", "http://h:x", "status"],
    ],
)
def test_a_wrong_command_line_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(words)

    assert code == 2
    assert "Usage: benchai-supervisorctl" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["let\x01me-in", "let…me-in"])
def test_a_token_that_no_header_can_carry_exits_2_without_showing_it(
    token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCHAI_SUPERVISOR_TOKEN", token)

    code = main(["status"])

    assert code == 2
    assert "me-in" not in capsys.readouterr().err


def test_version_names_both_programs(ctl: Ctl) -> None:
    code, lines, _ = ctl("version")

    assert code == 0
    assert lines[0] == f"benchai-supervisorctl {__version__}"
    assert lines[1].startswith("benchai-supervisord 0.1.0 (pid 812")


def test_the_environment_names_the_daemon(daemon: FakeDaemon) -> None:
    done = run_module("status", BENCHAI_SUPERVISOR_SERVER=daemon.url)

    assert done.returncode == 0
    assert done.stdout.startswith("general ")


def test_over_tcp_it_answers_the_same() -> None:
    with FakeDaemon(status=status(target("general"))) as daemon:
        done = run_module("--server", daemon.url, "status")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_left_is_no_error(daemon: FakeDaemon) -> None:
    daemon.status = status(*(target(f"backend-{number}") for number in range(5000)))
    shell = f"{sys.executable} -m supervisor.cli --server {daemon.url} status | head -1; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=30, check=False)

    assert done.stdout.startswith("backend-0 ")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    "words", [["status"], ["hold", "general"], ["pause"], ["incident", "list"], ["incident", "show", "i1"]]
)
def test_what_is_called_in_a_hurry_imports_nothing_heavy(daemon: FakeDaemon, words: list[str]) -> None:
    daemon.incidents = [incident(id="i1", evidence=[BUNDLE])]
    look = f"import sys; from supervisor.cli import main; main({words}); print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", look],
        env={"BENCHAI_SUPERVISOR_SERVER": daemon.url},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    loaded = set(done.stdout.splitlines()[-1].split())
    assert "supervisor.cli.http" in loaded
    assert not loaded & {
        "asyncio",
        "docker",
        "http.server",
        "httpx",
        "logging",
        "loguru",
        "pydantic",
        "rich",
        "starlette",
    }


def run_module(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "supervisor.cli", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
