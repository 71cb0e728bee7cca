"""Completion in the shells themselves, at a real terminal."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.debian import NotToBeHad, ensure_tool
from testbed.terminal import Terminal
from tests.cannot import cannot
from tests.cli.at_work import terminal_of
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target
from tests.fakes.incidents import incident

PROMPT = "function fish_prompt; echo -n 'ready> '; end; function fish_right_prompt; end"
SHELLS = {  # each without anybody's settings
    "bash": ["bash", "--noprofile", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "--private", "-i", "-C", PROMPT],
}
SET_UP = {
    "bash": 'eval "$(benchai-supervisorctl completion bash)"',
    "zsh": 'autoload -U compinit; compinit -D -u; eval "$(benchai-supervisorctl completion zsh)"',
    "fish": "benchai-supervisorctl completion fish | source",
}
EVERY_SHELL = pytest.mark.parametrize("shell", SHELLS)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon with two targets and an incident."""
    with FakeDaemon(tmp_path / "control.sock", status=status(target("general"), target("code"))) as daemon:
        daemon.incidents = [incident(id="20261123-114500-code")]
        yield daemon


@pytest.fixture
def terminal(shell: str, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal with a shell that has read our completion."""
    try:
        ensure_tool(shell, shell)
    except NotToBeHad as missing:
        cannot(str(missing))
    monkeypatch.setenv("BENCHAI_SUPERVISOR_SERVER", daemon.url)
    monkeypatch.setenv("PATH", f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    with terminal_of(tmp_path, shell=SHELLS[shell]) as terminal:
        terminal.type(f"{SET_UP[shell]}; echo it is set up | tr a-z A-Z")
        terminal.wait(lambda screen: "IT IS SET UP\n" in screen and screen.rstrip().endswith("ready>"), "it is set up")
        yield terminal


@EVERY_SHELL
def test_a_commands_beginning_and_a_tab_are_the_command(terminal: Terminal) -> None:
    terminal.press("benchai-supervisorctl sim", is_literal=True)
    terminal.press("Tab")

    assert "benchai-supervisorctl simulate" in terminal.wait_for("benchai-supervisorctl simulate")


@EVERY_SHELL
def test_a_targets_beginning_and_a_tab_are_its_name_as_the_daemon_knows_it(terminal: Terminal) -> None:
    terminal.press("benchai-supervisorctl restart --now gen", is_literal=True)
    terminal.press("Tab")

    assert "restart --now general" in terminal.wait_for("restart --now general")


@EVERY_SHELL
def test_an_incidents_beginning_and_a_tab_are_its_id(terminal: Terminal) -> None:
    terminal.press("benchai-supervisorctl incident show 2026", is_literal=True)
    terminal.press("Tab")

    assert "incident show 20261123-114500-code" in terminal.wait_for("incident show 20261123-114500-code")


@EVERY_SHELL
def test_where_several_may_be_meant_they_are_listed(terminal: Terminal) -> None:
    terminal.press("benchai-supervisorctl status ", is_literal=True)
    terminal.press("Tab")
    terminal.press("Tab")

    terminal.wait(lambda screen: {"general", "code"} <= set(screen.split("status ")[-1].split()), "both are listed")


@EVERY_SHELL
def test_without_a_daemon_a_tab_changes_nothing_and_prints_nothing(terminal: Terminal) -> None:
    terminal.press("benchai-supervisorctl status -s unix:///nowhere gen", is_literal=True)
    terminal.press("Tab")
    terminal.press("x", is_literal=True)

    screen = terminal.wait_for("gen")
    terminal.wait_for("genx")
    assert "cannot reach" not in screen
    assert "general" not in screen
