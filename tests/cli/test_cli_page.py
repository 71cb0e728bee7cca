"""docs/cli.md: it has every command, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from supervisor.cli.commands import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
HEADINGS = re.findall(r"(?m)^## (.+)$", PAGE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_place_on_the_page_and_a_link_to_it(name: str) -> None:
    places = [heading for heading in HEADINGS if name in re.split(r", ", heading)]

    assert len(places) == 1
    assert f"[{name}](#{places[0].replace(',', '').replace(' ', '-')})" in PAGE


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    anchors = {heading.lower().replace(",", "").replace(" ", "-") for heading in HEADINGS}

    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) - anchors == set()
