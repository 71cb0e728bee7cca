"""A real Compose of version 2, and what the tests of its file and of the stack have in common."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from testbed.compose import compose_command
from testbed.debian import NotToBeHad
from tests.cannot import cannot

MODELS: Final = ("general", "planner", "code", "vision")


def flag(service: Mapping[str, Any], name: str) -> str:
    """Return the value of a flag in a service's command line."""
    command: list[str] = service["command"]
    return command[command.index(name) + 1]


@pytest.fixture(scope="session")
def command() -> list[str]:
    """The words that run Compose."""
    try:
        return compose_command()
    except NotToBeHad as problem:
        cannot(f"no Docker Compose: {problem}")
