"""A drain is told to routers first, waits for whoever is being served, and ends with a release or a start."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from supervisor.core.events import Verb
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import ProgressSeen, Reply, Slot
from supervisor.core.state import Phase
from supervisor.guard import Guard
from supervisor.history.store import Store
from supervisor.holding import Holding
from supervisor.messages import Due
from supervisor.operate import Operator
from supervisor.publish.board import Board
from supervisor.rotation import Rotation
from tests.fakes.story import PLANNER, Story

NAME = PLANNER.name


class Floor:
    """One target with its keeper, the board that routers read, and whoever drains it."""

    def __init__(self, folder: Path) -> None:
        self.order: list[str] = []
        self.store = Store(folder / "history.sqlite")
        self.guard = Guard([NAME], wall=self.wall)
        self.story = Story(guard=self.guard)
        self.story.comes_up()
        self.board = Board([self.story.keeper.snapshot()], valid_for_s=1e9)
        self.story.ledger.publish = self._publish  # type: ignore[method-assign]
        self.story.keeper._publish = self._publish
        self.holding = Holding(self.guard, self.store, {NAME: self.story.keeper}, problems={}, wall=self.wall)
        self.rotation = Rotation(self.holding, self.board, told=self._told)
        self.operator = Operator(self.board, {NAME: self.story.keeper})
        self.operator.undrain = self.holding.undrain
        self.turns = asyncio.create_task(self._take_turns())

    def wall(self) -> datetime:
        """Return the time by the clock that the test turns."""
        return datetime(2026, 11, 26, tzinfo=UTC) + timedelta(seconds=self.story.now)

    async def _take_turns(self) -> None:
        while True:
            self.story.happens(await self.story.keeper.inbox.get())

    def _publish(self, snapshot: Snapshot) -> None:
        if snapshot.drain is not None and "published" not in self.order:
            self.order.append("published")
        self.board.put(snapshot)

    async def _told(self, _: float) -> None:
        self.order.append("told")

    def looks(self, *, busy: bool) -> None:
        """Have it looked at, a second later."""
        self.story.now += 1.0
        slots = (Slot(id=0, busy=busy, task=4, decoded=int(self.story.now), prefilled=0),)
        self.story.keeper.post(Due())
        self.story.keeper.post(ProgressSeen(instance="one", reply=Reply.ANSWERED, slots=slots))

    @property
    def entry(self) -> dict[str, object]:
        return self.board.backends()[0]


@pytest.fixture
async def floor(tmp_path: Path) -> AsyncIterator[Floor]:
    floor = Floor(tmp_path)
    yield floor
    floor.turns.cancel()
    floor.store.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110 - a list knows nothing of events
            await asyncio.sleep(0.01)


async def drain(floor: Floor, *, wait_s: float = 0.0) -> tuple[bool, bool]:
    drained = await floor.rotation.drain(NAME, for_s=None, why="new driver", wait_s=wait_s)
    return drained.is_drained, drained.serves_nobody


async def test_routers_are_told_before_whoever_asks(floor: Floor) -> None:
    is_drained, _ = await drain(floor)

    assert is_drained
    assert floor.order == ["published", "told"]
    assert (floor.entry["routable"], floor.entry["reason"], floor.entry["verdict"]) == (False, "Drained", "ready")


async def test_it_is_waited_for_until_nobody_is_served_any_more(floor: Floor) -> None:
    floor.looks(busy=True)
    draining = asyncio.create_task(drain(floor, wait_s=20.0))
    await until(lambda: "told" in floor.order)
    for _ in range(3):
        floor.looks(busy=True)
        await asyncio.sleep(0.02)
    was_done = draining.done()

    floor.looks(busy=False)

    assert (was_done, await draining) == (False, (True, True))


async def test_it_is_waited_for_no_longer_than_asked_for(floor: Floor) -> None:
    floor.looks(busy=True)

    assert await drain(floor, wait_s=0.1) == (True, False)


async def test_a_release_meanwhile_ends_the_wait_and_puts_it_back(floor: Floor) -> None:
    floor.looks(busy=True)
    draining = asyncio.create_task(drain(floor, wait_s=20.0))
    await until(lambda: "told" in floor.order)

    released = await floor.holding.release(NAME)

    assert (released, await draining) == (True, (False, False))
    assert floor.entry["routable"]


async def test_a_drain_is_remembered_and_a_hold_beside_it_stands(floor: Floor) -> None:
    await floor.holding.hold(NAME, for_s=None, why="mine")
    await drain(floor)
    before = {each.drains for each in await floor.store.holds()}

    undrained = [await floor.holding.undrain(NAME), await floor.holding.undrain(NAME)]

    assert (before, undrained) == ({False, True}, [True, False])
    assert [each.drains for each in await floor.store.holds()] == [False]
    assert floor.guard.by_a_person(NAME, now=0.0) is not None


async def test_a_start_of_what_runs_only_puts_it_back(floor: Floor) -> None:
    await drain(floor)

    outcome = await floor.operator.operate(NAME, Verb.START, 5.0, False)
    again = await floor.operator.operate(NAME, Verb.START, 5.0, False)

    assert (outcome.outcome, outcome.message) == ("done", "it runs, and is back in rotation")
    assert again.outcome == "already"
    assert floor.guard.drained(NAME, now=0.0) is None
    assert floor.story.ledger.acts == []


async def test_a_restart_by_the_operator_ends_it_and_is_never_routable_in_between(floor: Floor) -> None:
    await drain(floor)
    told: list[object] = []

    outcome = asyncio.create_task(floor.operator.operate(NAME, Verb.RESTART, 0.2, False))
    while floor.guard.drained(NAME, now=0.0) is not None:
        told.append(floor.entry["routable"])
        await asyncio.sleep(0.01)

    await outcome
    assert floor.story.phase() is Phase.RESTARTING
    assert [*told, floor.entry["routable"]] == [False] * (len(told) + 1)


async def test_a_stop_leaves_it_out_of_rotation(floor: Floor) -> None:
    await drain(floor)

    await floor.operator.operate(NAME, Verb.STOP, 0.2, False)

    assert floor.guard.drained(NAME, now=0.0) is not None


async def test_what_hangs_while_it_is_drained_is_left_alone_until_it_is_released(floor: Floor) -> None:
    await drain(floor)
    floor.story.hangs()
    while_drained = (floor.story.phase(), list(floor.story.ledger.acts))

    await floor.holding.release(NAME)
    floor.story.happens(Due(), after_s=1.0)

    assert while_drained == (Phase.BACKOFF, [])
    assert floor.story.phase() is Phase.RESTARTING
