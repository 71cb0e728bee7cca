"""The engine that is none."""

import asyncio

import pytest

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.base import Engine
from supervisor.engines.none import NoEngine
from supervisor.errors import EngineRefused


@pytest.fixture
def engine() -> Engine:
    return NoEngine()


async def test_a_target_counts_as_running_and_nothing_else_is_known(engine: Engine) -> None:
    assert await engine.inspect("router") == EngineSeen(life=Life.RUNNING)
    assert await engine.cpu_s("router") is None
    assert await engine.log_tail("router", max_bytes=100) == ""


async def test_acts_are_refused_and_the_cure_is_named(engine: Engine) -> None:
    for verb, act in (
        ("start", engine.start("router")),
        ("stop", engine.stop("router", grace_s=1)),
        ("restart", engine.restart("router", grace_s=1)),
    ):
        with pytest.raises(EngineRefused, match=rf'cannot {verb} router: .*engine = "none".*settings\.toml'):
            await act


async def test_a_watch_waits_for_ever_and_can_be_ended(engine: Engine) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(engine.watch())

    engine.mark_ours("router")
    await engine.close()
