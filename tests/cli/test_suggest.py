"""What is suggested for a word, and what is not waited for."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from supervisor.cli import main
from supervisor.cli.program import supervisorctl
from supervisor.cli.suggest import ANSWER_S
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target
from tests.fakes.incidents import incident
from tests.fakes.upstream import Upstream, hangs_up, sends_then, silent


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """The daemon that the environment names."""
    targets = status(target("general"), target("code", state="BACKOFF"), target("gemma"))
    with FakeDaemon(tmp_path / "control.sock", status=targets) as daemon:
        monkeypatch.setenv("BENCHAI_SUPERVISOR_SERVER", daemon.url)
        yield daemon


def suggested(line: str) -> list[str]:
    """Return what the last word of a line, which may be empty, can become."""
    *said, incomplete = line.split(" ")
    return [item.value for item in ShellComplete(supervisorctl, {}, "ctl", "_CTL").get_completions(said, incomplete)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sta", ["status", "start"]),
        ("status ", ["general", "code", "gemma"]),
        ("status ge", ["general", "gemma"]),
        ("status general ", ["code", "gemma"]),
        ("status -f ", ["table", "json", "tsv"]),
        ("restart ", ["general", "code", "gemma", "all"]),
        ("restart --now general c", ["code"]),
        ("why ", ["general", "code", "gemma"]),
        ("hold --for 30m c", ["code"]),
        ("incident ", ["export", "list", "show"]),
        ("incident list g", ["general", "gemma"]),
        ("incident show 2", ["20261123-114500-general"]),
        ("simulate g", ["general", "gemma"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("status --w", ["--watch"]),
        ("--hos", ["--host"]),
        ("version ", []),
    ],
)
def test_a_word_is_completed_to_what_may_stand_there(daemon: FakeDaemon, line: str, words: list[str]) -> None:
    daemon.incidents = [incident(id="20261123-114500-general")]

    assert suggested(line) == words


@pytest.mark.usefixtures("daemon")
def test_names_are_those_of_the_daemon_that_the_line_names() -> None:
    with FakeDaemon(status=status(target("elsewhere"))) as other:
        assert suggested(f"--server {other.url} status ") == ["elsewhere"]
        assert suggested(f"status --host {other.url.removeprefix('http://')} ") == ["elsewhere"]


@pytest.mark.usefixtures("daemon")
def test_a_file_is_left_to_the_shell() -> None:
    items = ShellComplete(supervisorctl, {}, "ctl", "_CTL").get_completions(["incident", "export", "general"], "ge")

    assert [(item.type, item.value) for item in items] == [("file", "ge")]


@pytest.mark.parametrize("address", ["unix:///nowhere", "ftp://x"])
def test_where_there_is_no_daemon_nothing_is_suggested_and_nothing_said(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCHAI_SUPERVISOR_SERVER", address)

    assert suggested("status ") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("body", ["hello", "{}", '{"targets": [1], "expires_at": 1, "daemon": 1}'])
def test_a_stranger_at_the_address_is_nobody(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream(sends_then(f"HTTP/1.0 200 OK\r\n\r\n{body}", hangs_up)) as stranger:
        monkeypatch.setenv("BENCHAI_SUPERVISOR_SERVER", stranger.url)

        assert suggested("status ") == []


def test_a_daemon_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream(silent) as upstream:
        monkeypatch.setenv("BENCHAI_SUPERVISOR_SERVER", upstream.url)
        began = time.monotonic()

        assert suggested("status ") == []

    assert time.monotonic() - began < ANSWER_S + 2.0


@pytest.mark.usefixtures("daemon")
def test_to_complete_a_command_none_is_imported() -> None:
    look = (
        "import sys; from supervisor.cli import main; main([]); "
        "print('imported', *[name for name in sys.modules if name.startswith('supervisor.cli.commands.')])"
    )
    environment = {"_BENCHAI_SUPERVISORCTL_COMPLETE": "bash_complete", "COMP_WORDS": "ctl\nwh", "COMP_CWORD": "1"}

    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, env=environment, timeout=30
    )

    assert done.stdout.splitlines() == ["plain,why", "imported"]


def test_a_shell_that_nobody_knows_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.mark.usefixtures("daemon")
def test_what_is_suggested_says_what_it_stands_for() -> None:
    items = ShellComplete(supervisorctl, {}, "ctl", "_CTL").get_completions(["restart"], "c")

    assert [(item.value, item.help) for item in items] == [("code", "BACKOFF")]
