"""A fleet in a test's own loop, over real parts and a real history."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.core.liveness import Snapshot
from supervisor.fleet import Changes, Fleet
from supervisor.guard import Guard
from supervisor.history.store import Store
from supervisor.member import Shared
from supervisor.probes.host import Host
from supervisor.publish.board import Board
from supervisor.recall import Recall
from supervisor.routed import Directly
from supervisor.schedule import Schedule
from supervisor.settings import Settings
from supervisor.settings_file import load


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    """The fleet and what it shares."""

    fleet: Fleet
    board: Board
    guard: Guard
    directly: Directly
    schedule: Schedule
    store: Store
    file: Path

    def read(self, text: str) -> Settings:
        """Return the settings that a text says."""
        self.file.write_text(text)
        return load(self.file)

    async def settle(self, text: str) -> Changes:
        """Watch what a text says."""
        return await self.fleet.settle(self.read(text))


@contextlib.asynccontextmanager
async def yard(folder: Path) -> AsyncIterator[Yard]:
    """A fleet that watches nothing yet, until the end of the block."""
    store, host, schedule, directly, guard = Store(folder / "history"), Host(), Schedule(), Directly(), Guard(())
    board = Board((), valid_for_s=15.0)

    def publish(snapshot: Snapshot) -> None:
        directly.saw(snapshot)
        board.put(snapshot)

    async def told(timeout_s: float) -> None:
        del timeout_s

    async with asyncio.TaskGroup() as group:

        def spawn(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
            return group.create_task(work, name=name)

        shared = Shared(
            store=store,
            host=host,
            schedule=schedule,
            directly=directly,
            guard=guard,
            spawn=spawn,
            for_ever=spawn,
            publish=publish,
            told=told,
            late_s=lambda _: 0.0,
        )
        fleet = Fleet(shared, board=board, recall=Recall(store))
        schedule.start()
        yield Yard(
            fleet=fleet,
            board=board,
            guard=guard,
            directly=directly,
            schedule=schedule,
            store=store,
            file=folder / "settings.toml",
        )
        schedule.stop()
        fleet.stop()
        for runner in fleet.runners:
            await runner.end()
    await fleet.close()
    host.close()
    store.close()
