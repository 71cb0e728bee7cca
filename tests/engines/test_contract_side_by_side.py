"""What every engine promises about what goes on side by side: watching, looking and acting."""

import asyncio
import signal
import time
from datetime import datetime

import pytest

from supervisor.core.observations import Life
from supervisor.errors import EngineUnreachable
from tests.engines.bench import IGNORES, OBEYS, Bench, start, ups, watching


async def test_a_watch_first_says_that_anything_may_have_happened(bench: Bench) -> None:
    changes = bench.engine.watch()

    first = await anext(changes)

    assert first.name is None


async def test_a_watch_tells_of_starts_and_crashes(bench: Bench) -> None:
    name = bench.make(OBEYS)
    async with watching(bench.engine) as changes:
        await bench.engine.start(name)
        await changes.wait_for(name, "start")

        await bench.signal(name, signal.SIGKILL)

        death = await changes.wait_for(name, "die")
        assert death.what
        assert (await bench.engine.inspect(name)).life is Life.EXITED


async def test_a_death_is_told_at_once(bench: Bench) -> None:
    name = bench.make("input_s = 0.5; import time; time.sleep(input_s)")
    async with watching(bench.engine) as changes:
        await bench.engine.start(name)

        await changes.wait_for(name, "die", within_s=5)
        told_at = time.time()

        seen = await bench.engine.inspect(name)
        assert seen.ended_at is not None
        assert told_at - _epoch_s(seen.ended_at) < 0.5


async def test_a_second_act_on_a_target_is_refused_while_the_first_is_under_way(bench: Bench) -> None:
    name = bench.make(IGNORES)
    await start(bench, name)
    stop = asyncio.create_task(bench.engine.stop(name, grace_s=2))
    await asyncio.sleep(0.3)
    began = time.monotonic()

    with pytest.raises(EngineUnreachable, match="earlier call"):
        await bench.engine.restart(name, grace_s=2)

    assert time.monotonic() - began < 0.5
    await stop


async def test_looking_is_possible_while_an_act_is_under_way(bench: Bench) -> None:
    name = bench.make(IGNORES)
    await start(bench, name)
    stop = asyncio.create_task(bench.engine.stop(name, grace_s=2))
    await asyncio.sleep(0.3)

    seen, cpu_s = await asyncio.gather(bench.engine.inspect(name), bench.engine.cpu_s(name))

    assert not stop.done()
    assert (seen.life, seen.stopped_by_operator) == (Life.RUNNING, False)
    assert cpu_s is not None
    await stop


async def test_sampling_cpu_time_holds_up_no_inspection(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    await bench.engine.cpu_s(name)
    sample = asyncio.create_task(bench.engine.cpu_s(name))
    await asyncio.sleep(0.05)
    began = time.monotonic()

    await bench.engine.inspect(name)

    assert time.monotonic() - began < 0.4
    assert await sample is not None


async def test_a_restart_once_begun_runs_on_without_its_caller(bench: Bench) -> None:
    name = bench.make(IGNORES)
    await start(bench, name)
    before = await bench.engine.inspect(name)
    restart = asyncio.create_task(bench.engine.restart(name, grace_s=1))
    await asyncio.sleep(0.3)

    restart.cancel()

    await ups(bench, name, 2)
    after = await bench.engine.inspect(name)
    assert restart.cancelled()
    assert (after.life, after.instance == before.instance) == (Life.RUNNING, False)


async def test_many_targets_are_looked_at_side_by_side(bench: Bench) -> None:
    names = [bench.make(OBEYS) for _ in range(6)]
    await asyncio.gather(*(bench.engine.start(name) for name in names))

    seen = await asyncio.gather(*(bench.engine.inspect(name) for name in names))

    assert {each.life for each in seen} == {Life.RUNNING}
    assert len({each.instance for each in seen}) == 6


def _epoch_s(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
