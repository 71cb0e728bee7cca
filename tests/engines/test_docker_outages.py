"""A Docker engine that is absent, restarts, dies or hangs: one of our own, so that nobody else's suffers."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.core.observations import Life
from supervisor.engines.docker import DockerEngine
from supervisor.errors import EngineUnreachable
from tests.engines.bench import OBEYS, DockerBench, Watcher, become, start, ups, watching
from tests.engines.private_engine import PrivateEngine

pytestmark = pytest.mark.engine


async def answers(engine: DockerEngine, name: str) -> bool:
    try:
        await engine.inspect(name)
    except EngineUnreachable:
        return False
    return True


@contextlib.contextmanager
def stuck(bench: DockerBench, name: str) -> Iterator[None]:
    """Make a container that cannot be stopped or killed: its keeper, which passes signals on, is hung."""
    pid = bench.client.api.inspect_container(name)["State"]["Pid"]
    keeper = psutil.Process(pid).parent()
    assert keeper is not None
    assert "shim" in keeper.name()
    keeper.suspend()
    try:
        yield
    finally:
        keeper.resume()


async def test_an_engine_that_is_absent_is_unreachable_and_the_cure_is_named(tmp_path: Path) -> None:
    engine = DockerEngine(host=f"unix://{tmp_path}/nothing.sock", timeout_s=1.0, workers=1)

    with pytest.raises(EngineUnreachable, match="no such socket; is the engine running"):
        await engine.inspect("general")

    await engine.close()


async def test_an_engine_that_comes_late_is_found(private: DockerBench, dockerd: PrivateEngine) -> None:
    name = private.make(OBEYS)
    dockerd.stop()
    watcher = Watcher(private.engine)
    assert not await answers(private.engine, name)
    assert watcher.seen == []

    dockerd.start()

    await watcher.wait_for(None)
    assert (await private.engine.inspect(name)).life is Life.CREATED
    await watcher.close()


async def test_an_engine_that_restarts_is_found_again_and_its_containers_were_stopped_by_nobody(
    private: DockerBench, dockerd: PrivateEngine
) -> None:
    name = private.make(OBEYS)
    await start(private, name)
    async with watching(private.engine) as changes:
        await asyncio.to_thread(dockerd.stop)
        dockerd.start()
        await changes.wait_for(None)

        seen = await private.engine.inspect(name)

    assert (seen.life, seen.stopped_by_operator) == (Life.EXITED, False)


async def test_a_container_that_an_engine_stops_for_its_own_end_is_never_the_operators(
    private: DockerBench, dockerd: PrivateEngine
) -> None:
    """It goes on answering on old connections until it has stopped all: the looks of that time must not mislead."""
    name = private.make(OBEYS)
    slow = private.make(OBEYS.replace("lambda *_: sys.exit(0)", "lambda *_: (time.sleep(2), sys.exit(0))"))
    await start(private, name)
    await start(private, slow)
    await private.engine.inspect(name)
    verdicts = []
    async with watching(private.engine) as changes:
        dockerd.signal(signal.SIGTERM)
        await changes.wait_for(name, "die")

        with pytest.raises(EngineUnreachable):
            await private.engine.inspect(name)

        await asyncio.to_thread(dockerd.stop)
        dockerd.start()
        await changes.wait_for(None)
        verdicts += [(await private.engine.inspect(each)).stopped_by_operator for each in (name, slow)]
    assert verdicts == [False, False]


async def test_a_stop_by_hand_stays_the_operators_after_the_engine_restarts(
    private: DockerBench, dockerd: PrivateEngine
) -> None:
    name = private.make(OBEYS)
    await start(private, name)
    private.client.containers.get(name).stop()
    assert (await private.engine.inspect(name)).stopped_by_operator
    dockerd.stop()

    dockerd.start()

    assert (await private.engine.inspect(name)).stopped_by_operator


async def test_an_unless_stopped_container_that_stays_down_was_stopped_by_hand_even_if_nobody_saw_it(
    private: DockerBench, dockerd: PrivateEngine
) -> None:
    name = private.make(OBEYS, restart_policy={"Name": "unless-stopped"})
    await start(private, name)
    private.client.containers.get(name).stop()
    dockerd.stop()

    dockerd.start()

    assert (await private.engine.inspect(name)).stopped_by_operator


@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
async def test_an_engine_that_is_killed_is_found_again_and_what_it_then_stops_was_stopped_by_nobody(
    private: DockerBench, dockerd: PrivateEngine, policy: str
) -> None:
    """Started again, it stops what survived it, by the same events as an operator's, before it takes any call."""
    name = private.make(OBEYS, restart_policy={"Name": policy})
    await start(private, name)
    async with watching(private.engine) as changes:
        dockerd.kill()
        assert not await answers(private.engine, name)

        dockerd.start()

        await changes.wait_for(None)
        assert not (await private.engine.inspect(name)).stopped_by_operator
        await private.engine.restart(name, grace_s=5)
        await ups(private, name, 2)


async def test_a_hung_engine_is_unreachable_in_time_and_then_at_once(
    private: DockerBench, dockerd: PrivateEngine
) -> None:
    name = private.make(OBEYS)
    await private.engine.inspect(name)
    dockerd.signal(signal.SIGSTOP)
    began = time.monotonic()

    with pytest.raises(EngineUnreachable, match=f"inspect {name}"):
        await private.engine.inspect(name)

    assert time.monotonic() - began < 2
    dockerd.signal(signal.SIGCONT)
    await become("the engine answers", lambda: answers(private.engine, name))


async def test_a_watch_notices_a_hung_engine_and_connects_again_when_it_goes_on(
    private: DockerBench, dockerd: PrivateEngine
) -> None:
    name = private.make(OBEYS)
    async with watching(private.engine) as changes:
        dockerd.signal(signal.SIGSTOP)
        await asyncio.sleep(3)  # a ping after 0.3 s, its timeout of 1 s, and some

        dockerd.signal(signal.SIGCONT)

        await changes.wait_for(None)
        await private.engine.start(name)
        await changes.wait_for(name, "start")


async def test_a_container_that_cannot_be_killed_is_told_in_time_and_blocks_no_other(private: DockerBench) -> None:
    name, other = private.make(OBEYS), private.make(OBEYS)
    await start(private, name)
    await start(private, other)
    with stuck(private, name):
        began = time.monotonic()
        with pytest.raises(EngineUnreachable, match=rf"restart {name}.*(hangs|stuck)"):
            await private.engine.restart(name, grace_s=1)
        assert time.monotonic() - began < 3

        await private.engine.restart(other, grace_s=1)
        assert (await private.engine.inspect(other)).life is Life.RUNNING


async def test_a_container_that_could_be_killed_only_later_was_ended_by_us(private: DockerBench) -> None:
    name = private.make(OBEYS)
    await start(private, name)
    with stuck(private, name), pytest.raises(EngineUnreachable):
        await private.engine.stop(name, grace_s=1)

    async def has_exited() -> bool:
        return await answers(private.engine, name) and (await private.engine.inspect(name)).life is Life.EXITED

    await become(f"{name} has exited", has_exited)
    assert not (await private.engine.inspect(name)).stopped_by_operator
