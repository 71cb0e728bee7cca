"""`status` where it is read: at a real terminal (tmux), in a pipe, and with no output at all."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli.status_table import rows
from testbed.terminal import Terminal
from tests.cli.at_work import CTL, terminal_of
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target

HUNG = target("code", state="BACKOFF", routable=False, summary="hung: no progress for 14s, cpu idle; restart in 18s")
TARGETS = [target("general"), HUNG]
GREEN, YELLOW = "\x1b[32m", "\x1b[33m"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon with one target that answers and one that does not."""
    with FakeDaemon(tmp_path / "control.sock", status=status(*TARGETS)) as daemon:
        yield daemon


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal of 100 columns."""
    with terminal_of(tmp_path) as terminal:
        yield terminal


def shown(terminal: Terminal, daemon: FakeDaemon, *words: str, **environment: str) -> str:
    """Return what the terminal shows, with colours, once the command is over."""
    terminal.run_to_its_end([*CTL, "-s", daemon.url, *words], environment=environment)
    return terminal.screen(with_colours=True)


def test_on_a_terminal_the_states_are_coloured(terminal: Terminal, daemon: FakeDaemon) -> None:
    screen = shown(terminal, daemon, "status")

    assert f"{GREEN}RUNNING" in screen
    assert f"{YELLOW}BACKOFF" in screen


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}])
def test_colours_are_left_out_where_somebody_asks_for_that_or_cannot_see_them(
    terminal: Terminal, daemon: FakeDaemon, environment: dict[str, str]
) -> None:
    screen = shown(terminal, daemon, "status", **environment)

    assert "RUNNING" in screen
    assert "\x1b" not in screen


def test_on_a_narrow_terminal_no_line_is_broken_by_the_terminal(terminal: Terminal, daemon: FakeDaemon) -> None:
    terminal.resize(columns=40, lines=24)

    screen = shown(terminal, daemon, "status", NO_COLOR="1")

    told = [line for line in screen.splitlines() if line.startswith(("general ", "code ", "  "))]
    assert told == [
        "general   RUNNING   pid 4121, uptime",
        "                    0:01:00; ready",
        "code      BACKOFF   hung: no progress",
        "                    for 14s, cpu idle;",
        "                    restart in 18s",
    ]


def test_in_a_pipe_the_bytes_are_supervisorctls_whatever_the_terminal(
    terminal: Terminal, daemon: FakeDaemon, tmp_path: Path
) -> None:
    terminal.resize(columns=40, lines=24)
    terminal.type(f"{' '.join(CTL)} -s {daemon.url} status | cat > {tmp_path}/piped; echo over")
    terminal.wait_for("\nover")

    assert (tmp_path / "piped").read_text() == "".join(f"{row}\n" for row in rows(TARGETS))


def without(daemon: FakeDaemon, redirection: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `status` from a shell that closes or redirects its files."""
    line = f"{' '.join(CTL)} -s {daemon.url} status {redirection}"
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=False, timeout=30, env={"PATH": "/bin", **environment}
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_with_its_files_closed_it_still_ends_with_its_status(daemon: FakeDaemon, closed: str) -> None:
    done = without(daemon, closed)

    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith("general ") or ">&-" in closed.replace("2>&-", "")


def test_a_full_disk_is_told_in_one_line(daemon: FakeDaemon) -> None:
    done = without(daemon, "> /dev/full")

    assert done.returncode == 1
    assert done.stderr.splitlines() == ["benchai-supervisorctl: cannot print: No space left on device"]


def test_a_letter_that_the_encoding_lacks_is_spelled_out(daemon: FakeDaemon) -> None:
    daemon.status = status(target("general", summary="failing: 日本"))

    done = without(daemon, "", PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("failing: \\u65e5\\u672c\n")


@pytest.mark.parametrize(
    ("words", "environment"),
    [("status -w", {}), ("status -w > /dev/null", {"TERM": "xterm"}), ("status -w", {"TERM": "dumb"})],
)
def test_the_live_view_is_refused_where_there_is_no_terminal(
    daemon: FakeDaemon, words: str, environment: dict[str, str]
) -> None:
    line = f"{' '.join(CTL)} -s {daemon.url} {words}"

    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, env=environment, timeout=30)

    assert (done.returncode, done.stdout) == (2, "")
    assert "-w draws on a terminal, and there is none here" in done.stderr


def test_the_live_view_has_no_other_form(daemon: FakeDaemon) -> None:
    done = subprocess.run(
        [*CTL, "-s", daemon.url, "status", "-w", "-f", "json"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "leave out -f json" in done.stderr
