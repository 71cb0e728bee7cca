"""The drawings and tables in docs/ are current, and what the README names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_drawing_of_the_states_is_current() -> None:
    drawn = subprocess.run([sys.executable, "scripts/draw_states.py", "--check"], cwd=ROOT, check=False)

    assert drawn.returncode == 0, "draw it anew: .venv/bin/python scripts/draw_states.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:supervisor|tests|testbed|examples|integrations|scripts|bench|docs|compose)/[\w./-]+)`", page.read_text()
    )

    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text()))

    assert {"demo", "test"} <= named <= targets
