"""The world that a class of tests shares, calm before each of them, and its last words where one fails."""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.debian import NotToBeHad, ensure_tool
from testbed.routers.world import World
from tests.cannot import cannot

LAST_WORDS = 4000  # characters of each log


@contextlib.contextmanager
def tools_at_hand() -> Iterator[None]:
    """Say that a router cannot be had here, where that is so."""
    try:
        yield
    except NotToBeHad as reason:
        cannot(str(reason))


@pytest.fixture(scope="module")
def haproxy() -> None:
    """Have Debian's haproxy."""
    with tools_at_hand():
        ensure_tool("haproxy", "haproxy")


@pytest.fixture(scope="module")
def nginx() -> None:
    """Have Debian's nginx."""
    with tools_at_hand():
        ensure_tool("nginx", "nginx-light")


@pytest.fixture(scope="class")
def shared_world(
    request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The class's router in front of real servers, told by a real daemon."""
    kind = request.cls.router
    with World(tmp_path_factory.mktemp(kind.kind), model, kind) as world:
        with tools_at_hand():
            world.start()
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """That world, with nothing wrong in it."""
    shared_world.wait_calm()
    return shared_world


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Put what the daemon and the router have said beside a failure: most of them have their reason there."""
    report = yield
    world = getattr(item, "funcargs", {}).get("shared_world")
    if report.failed and isinstance(world, World):
        report.sections.append(("the daemon's log", world.daemon.log()[-LAST_WORDS:]))
        report.sections.append(("the router's log", world.router.log()[-LAST_WORDS:]))
    return report
