"""When targets are looked at, by the real scheduler."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from supervisor.schedule import Schedule

ENOUGH_S = 10.0


class Posts:
    """Writes down when it was called, and lets others wait for that."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self._posted = asyncio.Event()

    def __call__(self) -> None:
        self.at.append(time.monotonic())
        self._posted.set()

    async def wait(self, count: int) -> None:
        """Return when there were so many calls."""
        async with asyncio.timeout(ENOUGH_S):
            while len(self.at) < count:
                self._posted.clear()
                await self._posted.wait()


@asynccontextmanager
async def running(schedule: Schedule) -> AsyncIterator[None]:
    """A schedule that runs until the end of the block."""
    schedule.start()
    try:
        yield
    finally:
        schedule.stop()


async def test_a_target_is_due_at_its_pace_beginning_after_its_delay() -> None:
    schedule, posts = Schedule(), Posts()
    schedule.add("general", posts, every_s=0.2, delay_s=0.1)

    began = time.monotonic()
    async with running(schedule):
        await posts.wait(4)

    first, *_, last = posts.at
    assert 0.1 <= first - began < 2
    assert 0.5 < last - first < 3


async def test_targets_are_due_each_at_its_own_pace() -> None:
    schedule, often, seldom = Schedule(), Posts(), Posts()
    schedule.add("often", often, every_s=0.05, delay_s=0.0)
    schedule.add("seldom", seldom, every_s=100.0, delay_s=0.0)

    async with running(schedule):
        await often.wait(5)

    assert len(seldom.at) == 1


async def test_a_faster_pace_holds_at_once_and_not_only_after_the_old_wait() -> None:
    schedule, posts = Schedule(), Posts()
    schedule.add("general", posts, every_s=100.0, delay_s=0.0)

    async with running(schedule):
        await posts.wait(1)
        schedule.pace("general", 0.1)
        began = time.monotonic()
        await posts.wait(3)

    assert posts.at[-1] - began < 5


async def test_a_slower_pace_holds_at_once() -> None:
    schedule, posts = Schedule(), Posts()
    schedule.add("general", posts, every_s=0.05, delay_s=0.0)

    async with running(schedule):
        await posts.wait(2)
        schedule.pace("general", 100.0)
        until_then = len(posts.at)
        await asyncio.sleep(0.3)

    assert len(posts.at) == until_then


async def test_a_pace_may_be_set_before_anything_runs() -> None:
    schedule, posts = Schedule(), Posts()
    schedule.add("general", posts, every_s=100.0, delay_s=100.0)
    schedule.pace("general", 0.05)

    async with running(schedule):
        await posts.wait(2)

    assert len(posts.at) == 2


async def test_what_was_missed_while_we_stood_still_is_due_once() -> None:
    schedule, posts = Schedule(), Posts()
    schedule.add("general", posts, every_s=0.05, delay_s=0.0)

    async with running(schedule):
        await posts.wait(1)
        time.sleep(0.6)  # noqa: ASYNC251 - the loop itself stands still: a dozen turns are missed
        stood_still_until = time.monotonic()
        await posts.wait(4)

    after = [at - stood_still_until for at in posts.at[1:]]
    assert after[0] >= 0
    assert after[2] > 0.05


async def test_after_the_end_nothing_is_due() -> None:
    schedule, posts = Schedule(), Posts()
    schedule.add("general", posts, every_s=0.05, delay_s=0.0)

    async with running(schedule):
        await posts.wait(2)
    at_the_end = len(posts.at)
    await asyncio.sleep(0.2)

    assert len(posts.at) == at_the_end


async def test_one_that_is_removed_is_due_no_more_and_the_others_are() -> None:
    schedule, gone, stays = Schedule(), Posts(), Posts()
    schedule.add("gone", gone, every_s=0.05, delay_s=0.0)
    schedule.add("stays", stays, every_s=0.05, delay_s=0.0)

    async with running(schedule):
        await gone.wait(2)
        schedule.remove("gone")
        until_then = len(gone.at)
        await stays.wait(len(stays.at) + 3)

    assert len(gone.at) == until_then


async def test_whoever_is_added_under_the_same_name_takes_the_place() -> None:
    schedule, before, after = Schedule(), Posts(), Posts()
    schedule.add("general", before, every_s=0.05, delay_s=0.0)

    async with running(schedule):
        await before.wait(1)
        schedule.add("general", after, every_s=0.05, delay_s=0.0)
        until_then = len(before.at)
        await after.wait(3)

    assert len(before.at) == until_then
