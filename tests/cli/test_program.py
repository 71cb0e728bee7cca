"""The list of commands, and the options that stand before or after any of them."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from supervisor.cli import main
from supervisor.cli.commands import COMMANDS, HEADINGS, INSTEAD
from supervisor.cli.options import over_http
from supervisor.cli.program import supervisorctl
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target

EVERY = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    """A daemon on a TCP port."""
    with FakeDaemon(status=status(target("general"))) as daemon:
        yield daemon


def command(name: str) -> click.Command:
    """Return a command by its name."""
    found = supervisorctl.get_command(click.Context(supervisorctl), name)
    assert found is not None
    return found


def below(command: click.Command) -> Iterator[click.Command]:
    """Yield a command and all that it is the group of."""
    yield command
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        yield from below(each)


@EVERY
def test_every_line_of_the_table_is_a_command_of_that_name_that_says_what_it_does(name: str) -> None:
    found = command(name)

    assert found.name == name
    assert found.help


@EVERY
def test_every_option_and_argument_says_what_it_is_for(name: str) -> None:
    commands = list(below(command(name)))
    silent = [(each.name, param.name) for each in commands for param in each.params if not getattr(param, "help", "")]

    assert silent == []


@EVERY
def test_every_command_tells_its_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "-h"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: benchai-supervisorctl {name} ")


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_to_list_the_commands_none_is_imported(words: list[str]) -> None:
    look = (
        f"import sys; from supervisor.cli import main; main({words}); "
        "print(*[name for name in sys.modules if name.startswith('supervisor.cli.commands.')])"
    )

    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout.splitlines()[-1] == ""


def test_the_list_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    listed = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in listed] == []


def test_every_heading_of_the_list_stands_before_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    listed = capsys.readouterr().out
    assert HEADINGS.keys() <= COMMANDS.keys()
    assert [name for name, heading in HEADINGS.items() if f"\n{heading}:\n  {name} " not in listed] == []


def test_a_command_nobody_knows_is_answered_with_what_may_have_been_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["statsu"]) == 2
    assert "there is no command 'statsu'; did you mean status" in capsys.readouterr().err


def test_several_words_in_one_are_taken_apart_as_supervisorctl_does(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-s", daemon.url, "stop --wait 5", "general"]) == 0
    assert capsys.readouterr().out == "general: stopped\n"
    assert main(["-s", daemon.url, ""]) == 2


# --- where the daemon is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("option", ["-s", "--server", "--host"])
def test_the_daemons_address_stands_before_or_after_the_command(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], option: str, is_before: bool
) -> None:
    where = [option, daemon.url.removeprefix("http://") if option == "--host" else daemon.url]

    code = main([*where, "status"] if is_before else ["status", *where])

    assert code == 0
    assert capsys.readouterr().out.startswith("general ")


def test_a_command_of_a_command_takes_the_address_too(daemon: FakeDaemon) -> None:
    daemon.incidents = []

    assert main(["incident", "list", "--server", daemon.url]) == 0
    assert daemon.asked[0].path == "/v1/incidents"


def test_the_address_after_the_command_wins_over_the_one_before(daemon: FakeDaemon) -> None:
    assert main(["--server", "unix:///nowhere", "status", "--server", daemon.url]) == 0


def test_what_is_said_wins_over_the_environment(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHAI_SUPERVISOR_SERVER", "unix:///nowhere")

    assert main(["status", "--host", daemon.url.removeprefix("http://")]) == 0


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("gpu-box", "http://gpu-box:8090"),
        ("gpu-box:9000", "http://gpu-box:9000"),
        ("127.0.0.1", "http://127.0.0.1:8090"),
        ("::1", "http://[::1]:8090"),
        ("[::1]", "http://[::1]:8090"),
        ("[::1]:1", "http://[::1]:1"),
    ],
)
def test_a_host_is_asked_over_http_on_the_usual_port_or_its_own(host: str, address: str) -> None:
    assert over_http(host) == address


@pytest.mark.parametrize(
    "host", ["http://gpu-box:8090", "gpu-box:", "gpu-box:none", "gpu-box/v1", "me@gpu-box", "", "[::1"]
)
def test_what_is_no_host_exits_2_and_says_what_would_be_one(capsys: pytest.CaptureFixture[str], host: str) -> None:
    assert main(["--host", host, "status"]) == 2
    assert "give HOST or HOST:PORT, such as gpu-box:8090" in capsys.readouterr().err


def test_two_ways_to_name_the_daemon_at_once_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "gpu-box", "status", "--server", "unix:///nowhere"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_the_token_goes_along_to_another_host(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHAI_SUPERVISOR_TOKEN", "let-me-in")
    daemon.token = "let-me-in"  # noqa: S105

    assert main(["stop", "general", "--host", daemon.url.removeprefix("http://")]) == 0


@pytest.mark.parametrize("words", [["help"], ["help", "status"], ["help", "incident", "show"]])
def test_help_is_asked_for_as_with_supervisorctl(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0

    usage = " ".join(["Usage: benchai-supervisorctl", *words[1:], ""])
    assert capsys.readouterr().out.startswith(usage)


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("restrt", "did you mean restart"),
        ("zzz", "benchai-supervisorctl help lists them"),
        *((word, INSTEAD[word]) for word in INSTEAD),
    ],
)
def test_what_is_no_command_is_answered_with_what_is(
    word: str, instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, "general"]) == 2
    assert instead in capsys.readouterr().err


def test_help_on_what_is_no_command_says_what_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "maintail"]) == 2
    assert "journalctl" in capsys.readouterr().err


@EVERY
def test_no_summary_of_a_command_below_another_is_cut_off(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "-h"])

    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]
