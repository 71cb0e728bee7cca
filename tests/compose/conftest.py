"""A real Compose of version 2, and what the tests of its file and of the stack have in common."""

import os
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import pytest

from testbed.compose import compose_command
from testbed.debian import NotToBeHad

MODELS: Final = ("general", "planner", "code", "vision")


def flag(service: Mapping[str, Any], name: str) -> str:
    """Return the value of a flag in a service's command line."""
    command: list[str] = service["command"]
    return command[command.index(name) + 1]


def cannot(reason: str) -> NoReturn:
    """Fail in CI, where all must run; elsewhere skip, and the last lines of the run say why."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def command() -> list[str]:
    """The words that run Compose."""
    try:
        return compose_command()
    except NotToBeHad as problem:
        cannot(f"no Docker Compose: {problem}")
