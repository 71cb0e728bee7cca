"""The world that a class of tests shares, and calm before each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.routers.world import World


@pytest.fixture(scope="class")
def shared_world(
    request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The class's router in front of real servers, told by a real daemon."""
    kind = request.cls.router
    with World(tmp_path_factory.mktemp(kind.kind), model, kind) as world:
        world.start()
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """That world, with nothing wrong in it."""
    shared_world.wait_calm()
    return shared_world
