"""Whose doing a stop is that a daemon finds at its start, on the Docker engine that is there."""

import asyncio
import time
from pathlib import Path

import pytest
from docker.models.containers import Container
from docker.types import Mount

from supervisor.core.observations import Life
from supervisor.engines.docker import DockerEngine
from supervisor.engines.docker_ends import CALL_ECHO_S
from supervisor.errors import EngineRefused
from testbed.engine import find
from tests.engines.bench import IGNORES, OBEYS, PATIENCE_S, TIMEOUT_S, DockerBench, start, watching


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A directory that a container cannot start without."""
    directory = tmp_path / "models"
    directory.mkdir()
    return directory


def by_operator(containers: DockerBench, name: str) -> Container:
    """Return the SDK's own hold on a container: what an operator does with `docker`."""
    return containers.client.containers.get(name)


async def test_a_stop_that_an_earlier_daemon_of_ours_began_is_not_the_operators(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    by_operator(containers, name).stop()

    containers.engine.mark_ours(name)

    assert not (await containers.engine.inspect(name)).stopped_by_operator


async def test_a_stop_long_after_an_earlier_daemons_act_is_the_operators(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    by_operator(containers, name).stop()

    containers.engine.mark_ours(name, over_at=time.time() - CALL_ECHO_S - PATIENCE_S)

    assert (await containers.engine.inspect(name)).stopped_by_operator


async def test_a_mark_on_what_runs_excuses_no_later_stop_by_hand(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    containers.engine.mark_ours(name)
    before = await containers.engine.inspect(name)

    by_operator(containers, name).stop()

    after = await containers.engine.inspect(name)
    assert (before.life, before.stopped_by_operator) == (Life.RUNNING, False)
    assert (after.life, after.stopped_by_operator) == (Life.EXITED, True)


async def test_a_mark_on_what_is_being_stopped_covers_its_end(containers: DockerBench) -> None:
    name = containers.make(IGNORES)
    await start(containers, name)
    async with watching(containers.engine) as changes:
        stop = asyncio.create_task(asyncio.to_thread(by_operator(containers, name).stop, timeout=2))
        await changes.wait_for(name, "kill")
        containers.engine.mark_ours(name)
        leaving = await containers.engine.inspect(name)
        await stop

        gone = await containers.engine.inspect(name)

    assert (leaving.life, leaving.stopped_by_operator) == (Life.RUNNING, False)
    assert (gone.life, gone.stopped_by_operator) == (Life.EXITED, False)


async def test_a_restart_that_was_refused_half_way_is_no_stop_by_hand_to_the_next_daemon(
    containers: DockerBench, mounted: Path
) -> None:
    name = containers.make(OBEYS, mounts=[Mount("/models", str(mounted), type="bind")])
    await start(containers, name)
    await asyncio.to_thread(mounted.rmdir)
    with pytest.raises(EngineRefused):
        await containers.engine.restart(name, grace_s=5)
    heir = DockerEngine(host=find().host or "", timeout_s=TIMEOUT_S, workers=1)

    try:
        seen = await heir.inspect(name)
    finally:
        await heir.close()

    assert (seen.life, seen.stopped_by_operator) == (Life.EXITED, False)
    assert str(mounted) in seen.detail


async def test_a_stop_by_hand_after_a_refused_start_that_was_tried_again_is_the_operators(
    containers: DockerBench, mounted: Path
) -> None:
    name = containers.make(OBEYS, mounts=[Mount("/models", str(mounted), type="bind")])
    await asyncio.to_thread(mounted.rmdir)
    with pytest.raises(EngineRefused):
        await containers.engine.start(name)
    await asyncio.to_thread(mounted.mkdir)
    await start(containers, name)

    by_operator(containers, name).stop()

    seen = await containers.engine.inspect(name)
    assert (seen.detail, seen.stopped_by_operator) == ("", True)


async def test_a_mark_covers_one_life_only(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)
    by_operator(containers, name).stop()
    containers.engine.mark_ours(name)
    await containers.engine.inspect(name)
    await containers.engine.start(name)

    by_operator(containers, name).stop(timeout=1)

    assert (await containers.engine.inspect(name)).stopped_by_operator
