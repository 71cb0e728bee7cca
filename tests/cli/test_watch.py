"""`status -w` at a real terminal, on a real daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli.http import Daemon
from testbed.supervisord import Supervisord
from testbed.terminal import Terminal
from tests.cli.at_work import CTL, at_work, terminal_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Supervisord]:
    """A daemon with one server that is ready."""
    with at_work(tmp_path_factory.mktemp("daemon"), model, "general") as daemon:
        yield daemon


@pytest.fixture
def terminal(tmp_path: Path, daemon: Supervisord) -> Iterator[Terminal]:
    """A terminal that shows the live view."""
    with terminal_of(tmp_path) as terminal:
        # What a shell may have exported is the size of another day.
        environment = {"COLUMNS": "70", "LINES": "20"}
        terminal.run([*CTL, "-s", f"unix://{daemon.socket}", "status", "-w"], environment=environment)
        terminal.wait_for("1/1 ready")
        yield terminal


def has_its_terminal_back(terminal: Terminal, status: int) -> bool:
    """Say whether the shell goes on where it was left: its page, its cursor, its echo, and this exit status."""
    terminal.wait(lambda screen: screen.rstrip().endswith("\nready>"), "the live view is gone")
    terminal.type("echo ended with $?, $(stty -a | grep -ow -e '-*icanon' -e '-*echo' | tr '\\n' ' ')over")
    terminal.wait_for(f"\nended with {status}, icanon echo over")
    return (terminal.format("alternate_on"), terminal.format("cursor_flag")) == ("0", "1")


@pytest.mark.parametrize("key", ["q", "C-c", "C-d"])
def test_a_key_ends_it_and_the_terminal_is_as_it_was(terminal: Terminal, key: str) -> None:
    assert terminal.format("alternate_on") == "1"

    terminal.press(key)

    assert has_its_terminal_back(terminal, 0)


def test_whoever_is_terminated_leaves_the_terminal_as_it_was_too(terminal: Terminal) -> None:
    terminal.press("C-z")
    terminal.wait_for("Stopped")
    assert terminal.format("alternate_on") == "0"
    terminal.type("fg")
    terminal.wait_for("q: quit")

    terminal.signal_what_runs("TERM")

    assert has_its_terminal_back(terminal, 143)


def test_it_takes_the_windows_new_size_at_once(terminal: Terminal) -> None:
    terminal.resize(columns=36, lines=8)

    screen = terminal.wait(lambda screen: "1/1 ready       " in screen and "\ngeneral" in screen, "it is drawn anew")
    assert max(map(len, screen.splitlines())) <= 36
    assert screen.splitlines()[0].endswith("q: quit")


def test_what_happens_to_a_target_is_seen_at_once_and_what_led_there(terminal: Terminal, daemon: Supervisord) -> None:
    done = daemon.ctl("restart", "general", "--now")

    assert done.returncode == 0, done.stdout
    screen = terminal.wait(lambda screen: "-> up" in screen and "1/1 ready" in screen, "it is up again")
    assert "What has changed, the newest last:" in screen
    assert "general: up -> restarting" in screen


def test_it_outlives_the_daemon_and_says_since_when_it_is_gone(terminal: Terminal, daemon: Supervisord) -> None:
    daemon.stop()
    gone = terminal.wait_for("cannot reach the daemon", within_s=60.0)

    daemon.start()
    daemon.wait_answers()
    back = terminal.wait(lambda screen: "1/1 ready" in screen, "it goes on with the next daemon", within_s=60.0)

    assert "1/1 were ready" in gone
    assert "(since " in " ".join(gone.split())
    assert "\ngeneral " in gone
    assert "cannot reach" not in back


def test_the_stream_it_follows_is_read_over_the_socket(daemon: Supervisord) -> None:
    following = Daemon(f"unix://{daemon.socket}").follow()
    heard = [next(following), next(following)]

    assert [each.kind for each in heard] == ["liveness", "fresh"]
    assert [each["name"] for each in heard[0].data["backends"]] == ["general"]
