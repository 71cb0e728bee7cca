"""Takes targets out of rotation by an operator's will, and waits until routers know and nobody is served any more."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from supervisor.core.liveness import Snapshot
from supervisor.holding import Holding
from supervisor.publish.board import Board
from supervisor.publish.services import Drained

TOLD_WITHIN_S = 2.0


class Rotation:
    """Drains targets."""

    def __init__(self, holding: Holding, board: Board, *, told: Callable[[float], Awaitable[None]]) -> None:
        """`told` returns once routers can read what is believed, or after so many seconds."""
        self._holding = holding
        self._board = board
        self._told = told

    async def drain(self, name: str, *, for_s: float | None, why: str, wait_s: float) -> Drained:
        """Hold `name` and send nobody to it; return once nobody is served any more, or `wait_s` is over."""
        hold = await self._holding.hold(name, for_s=for_s, why=why, drains=True)
        await self._until(name, lambda snapshot: snapshot.drain is not None, within_s=TOLD_WITHIN_S)
        await self._told(TOLD_WITHIN_S)
        await self._until(name, lambda snapshot: snapshot.serves_nobody or snapshot.drain is None, within_s=wait_s)
        snapshot = self._board.find(name)
        is_drained = snapshot is not None and snapshot.drain is not None
        return Drained(hold=hold, is_drained=is_drained, serves_nobody=snapshot is not None and snapshot.serves_nobody)

    async def _until(self, name: str, is_so: Callable[[Snapshot], bool], *, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while (snapshot := self._board.find(name)) is not None and not is_so(snapshot):
                    await self._board.change()
