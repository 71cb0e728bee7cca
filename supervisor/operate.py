"""What an operator asks for, from the request to its outcome. It posts to the keepers and reads the board."""

import asyncio
from collections.abc import Mapping

from supervisor.core.events import Verb
from supervisor.core.liveness import Snapshot, summary
from supervisor.core.observations import Life
from supervisor.core.state import WELL, Phase
from supervisor.messages import Wish
from supervisor.publish.api import Outcome
from supervisor.publish.board import Board
from supervisor.turn import Keeper

SETTLED = (*WELL, Phase.BACKOFF, Phase.FAILED, Phase.STOPPED)


class Operator:
    """Passes an operator's wishes on, one at a time per target, and waits for what becomes of them."""

    def __init__(self, board: Board, keepers: Mapping[str, Keeper]) -> None:
        self._board = board
        self._keepers = keepers

    async def operate(self, name: str, verb: Verb, wait_s: float) -> Outcome:
        """Ask `name`'s keeper for `verb` and wait up to `wait_s` for its end."""
        keeper = self._keepers[name]
        if refusal := _refusal(keeper, verb):
            return refusal
        taken: asyncio.Queue[bool] = asyncio.Queue(1)
        keeper.post(Wish(verb, taken.put_nowait))
        try:
            async with asyncio.timeout(wait_s):
                return await self._outcome(name, verb) if await taken.get() else _occupied(keeper)
        except TimeoutError:
            return Outcome(outcome="pending", message=f"still {self._snapshot(name).state.phase} after {wait_s:g}s")

    async def _outcome(self, name: str, verb: Verb) -> Outcome:
        while True:
            snapshot = self._snapshot(name)
            if snapshot.state.asked is None and _is_settled(snapshot, verb):
                return _told(snapshot, verb)
            await self._board.change()

    def _snapshot(self, name: str) -> Snapshot:
        snapshot = self._board.find(name)
        assert snapshot is not None, "keepers and board hold the same names"  # noqa: S101
        return snapshot


def _is_settled(snapshot: Snapshot, verb: Verb) -> bool:
    if verb is Verb.STOP:
        return True  # the engine's call has come back: it is stopped, or it could not be
    return snapshot.state.phase in SETTLED


def _told(snapshot: Snapshot, verb: Verb) -> Outcome:
    phase = snapshot.state.phase
    wanted = {Phase.STOPPED} if verb is Verb.STOP else WELL
    outcome = "done" if phase in wanted else "failed"
    return Outcome(outcome=outcome, message=summary(snapshot, now=snapshot.as_of))


def _occupied(keeper: Keeper) -> Outcome:
    return Outcome(outcome="failed", message=f"{keeper.name} is {keeper.state.phase} already; wait for that to end")


def _refusal(keeper: Keeper, verb: Verb) -> Outcome | None:
    """Say why there is nothing to do, or nothing that can be done."""
    state, engine = keeper.state, keeper.evidence.engine
    if not keeper.identity.restartable:
        return Outcome(outcome="failed", message=f'{keeper.name} is watched only (engine = "none"); {verb} it by hand')
    if state.phase.is_ours:
        return _occupied(keeper)
    life = None if engine is None else engine.life
    if verb is Verb.START and life is Life.RUNNING and state.phase is not Phase.STOPPED:
        return Outcome(outcome="already", message="already running")
    if verb is Verb.STOP and state.phase is Phase.STOPPED and life not in (Life.RUNNING, Life.PAUSED):
        return Outcome(outcome="already", message="not running")
    return None
