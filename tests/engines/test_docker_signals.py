"""A signal that an operator has us send is no stop, and a stop beside it is one: on real containers."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from supervisor.core.observations import EngineSeen, Life
from tests.engines.bench import IGNORES, OBEYS, DockerBench, become, ended, start, watching


@pytest.fixture(params=["with-events", "without-events"])
async def followed(request: pytest.FixtureRequest, containers: DockerBench) -> AsyncIterator[DockerBench]:
    """A bench whose engine hears of what happens as it happens, or has to ask afterwards."""
    if request.param == "without-events":
        yield containers
        return
    async with watching(containers.engine):
        yield containers


async def by_hand(bench: DockerBench, name: str, number: int) -> None:
    """Do what `docker kill --signal` does."""
    await asyncio.to_thread(bench.client.containers.get(name).kill, signal=number)


async def test_whoever_lives_on_is_not_taken_for_leaving(followed: DockerBench) -> None:
    name = followed.make(IGNORES)
    await start(followed, name)

    await followed.engine.signal(name, signal.SIGTERM)

    seen = await followed.engine.inspect(name)
    assert (seen.life, seen.stopped_by_operator) == (Life.RUNNING, False)


@pytest.mark.parametrize("policy", ["unless-stopped", "no"])
async def test_an_end_by_it_is_no_stop_whatever_the_engines_policy(followed: DockerBench, policy: str) -> None:
    name = followed.make(OBEYS, restart_policy={"Name": policy})
    await start(followed, name)

    await followed.engine.signal(name, signal.SIGTERM)

    seen = await ended(followed, name)
    assert (seen.stopped_by_operator, seen.signalled) == (False, "SIGTERM")


async def test_a_stop_by_hand_after_it_is_a_stop(followed: DockerBench) -> None:
    name = followed.make(OBEYS)
    await start(followed, name)
    await followed.engine.signal(name, signal.SIGHUP)

    await asyncio.to_thread(followed.client.containers.get(name).stop)

    assert (await ended(followed, name)).stopped_by_operator


async def test_the_same_signal_sent_once_more_by_hand_is_a_stop(followed: DockerBench) -> None:
    name = followed.make(IGNORES)
    await start(followed, name)
    await followed.engine.signal(name, signal.SIGTERM)
    await by_hand(followed, name, signal.SIGTERM)

    await by_hand(followed, name, signal.SIGKILL)

    async def is_known() -> EngineSeen | None:
        seen = await ended(followed, name)
        return seen if seen.stopped_by_operator else None

    await become(f"{name} was stopped by somebody", is_known)
