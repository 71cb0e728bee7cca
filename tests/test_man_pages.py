"""The manual pages: current, complete, and rendered without a complaint."""

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor import supervisord
from supervisor.cli import program
from supervisor.cli.commands import COMMANDS
from supervisor.command_line import Notes
from testbed.debian import NotToBeHad, ensure_tool
from tests.cannot import cannot

REPOSITORY = Path(__file__).parents[1]
OURS, THE_DAEMONS = (
    REPOSITORY / "packaging/man" / name for name in ("benchai-supervisorctl.1", "benchai-supervisord.8")
)
EVERY_PAGE = pytest.mark.parametrize(
    ("page", "notes"), [(OURS, program.NOTES), (THE_DAEMONS, supervisord.NOTES)], ids=["1", "8"]
)
UNDATED = 'WARNING: missing date, using "": TH'  # a date would be another at each writing


def rendered(page: Path) -> str:
    """Return what a reader sees on a terminal without end."""
    try:
        ensure_tool("man", "man-db")
    except NotToBeHad as missing:
        cannot(str(missing))
    done = subprocess.run(
        ["man", "--warnings", "--no-hyphenation", "-l", str(page)],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "400", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_the_pages_are_what_the_commands_say_today() -> None:
    check = [sys.executable, "-m", "scripts.write_man_pages", "--check"]

    done = subprocess.run(check, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.stdout == "current\n", f"{done.stdout}{done.stderr}: .venv/bin/python -m scripts.write_man_pages"


@EVERY_PAGE
def test_a_page_is_read_without_a_complaint_and_says_what_it_is_about(page: Path, notes: Notes) -> None:
    text = rendered(page)

    assert text.startswith(f"{page.stem}({page.suffix[1:]})")
    assert f"{page.stem} - " in text
    assert [heading for heading in notes if f"\n{heading.upper()}\n" not in text] == []
    assert "\b" not in text


@pytest.mark.parametrize("page", [OURS, THE_DAEMONS], ids=["1", "8"])
def test_a_page_is_in_order_for_those_who_look_closely(page: Path) -> None:
    try:
        ensure_tool("mandoc", "mandoc")
    except NotToBeHad as missing:
        cannot(str(missing))

    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False)

    complaints = [line for line in done.stdout.splitlines() if UNDATED not in line]
    assert complaints == []
    assert done.stderr == ""


def test_the_manual_has_every_command_and_every_option_with_what_it_is_for() -> None:
    text = rendered(OURS)

    assert [name for name in COMMANDS if f"\n       {name} " not in text and f"\n       {name}\n" not in text] == []
    for option in ("-f, --format FORMAT", "--host HOST[:PORT]", "-m, --why WHY", "--set KEY=VALUE", "-h, --help"):
        assert f" {option}\n" in text
    assert "such as hung_after_s=20; may be given again." in text
    assert "\n              benchai-supervisorctl completion fish | source" not in text  # lines are kept as they are
    assert 'For one session of bash or zsh: eval "$(benchai-supervisorctl completion bash)"\n' in text
