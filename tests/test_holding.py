"""What people say is kept before it is obeyed, and told where it could not be kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.core.restraint import EVERY, Curb
from supervisor.core.state import Phase
from supervisor.guard import Guard
from supervisor.history.store import Store
from supervisor.holding import Holding, Troubles
from supervisor.messages import Due
from supervisor.turn import Keeper
from tests.fakes.story import PLANNER, Story


class Desk:
    """Where holds are taken down, with all that is behind it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "history.sqlite"
        self.store = Store(self.path)
        self.guard = Guard([PLANNER.name])
        self.story = Story(guard=self.guard)
        self.problems: dict[str, str] = {}
        keepers: dict[str, Keeper] = {PLANNER.name: self.story.keeper}
        self.holding = Holding(self.guard, self.store, keepers, problems=self.problems)

    def heard(self) -> list[object]:
        inbox = self.story.keeper.inbox
        return [inbox.get_nowait() for _ in range(inbox.qsize())]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


async def test_a_hold_is_written_obeyed_and_told_to_its_target(desk: Desk) -> None:
    hold = await desk.holding.hold("planner", for_s=60.0, why="new driver")

    restraint = desk.guard.restraint("planner", now=0.0)
    assert restraint is not None
    assert restraint.curb is Curb.HELD
    assert await desk.store.holds() == [hold]
    assert desk.holding.all() == (hold,)
    assert desk.heard() == [Due()]
    assert desk.problems == {}


@pytest.mark.parametrize("target", ["planner", EVERY])
async def test_a_release_ends_it_for_good(desk: Desk, target: str) -> None:
    await desk.holding.hold(target, for_s=None, why="")

    released = [await desk.holding.release(target), await desk.holding.release(target)]

    assert released == [True, False]
    assert desk.guard.restraint("planner", now=0.0) is None
    assert await desk.store.holds() == []


async def test_a_hold_that_cannot_be_written_is_obeyed_and_people_are_told(desk: Desk) -> None:
    desk.path.mkdir()  # no database can be there

    await desk.holding.hold("planner", for_s=None, why="")

    assert desk.guard.restraint("planner", now=0.0) is not None
    assert "would not outlive us" in desk.problems["holds"]


async def test_what_is_being_done_at_the_moment_is_told(desk: Desk) -> None:
    before = desk.holding.under_way()
    desk.story.keeper.state = desk.story.keeper.state.__class__(phase=Phase.RESTARTING, since=0.0)

    assert (before, desk.holding.under_way()) == ((), ("planner",))


async def test_a_history_that_cannot_be_read_is_told_as_that(desk: Desk) -> None:
    desk.path.mkdir()
    troubles = Troubles(desk.store)

    assert await troubles.several(target=None, limit=5) is None
    with pytest.raises(LookupError):
        await troubles.one("20261124-planner")
