"""What an operator asks for, from the request to its outcome. It posts to the keepers and reads the board."""

import asyncio
from collections.abc import Mapping

from supervisor.core.events import Asked, Verb
from supervisor.core.liveness import Snapshot, summary
from supervisor.core.observations import Life
from supervisor.core.state import Phase
from supervisor.publish.api import Outcome
from supervisor.publish.board import Board
from supervisor.turn import Keeper

SETTLED = (Phase.UP, Phase.BUSY, Phase.ASLEEP, Phase.BACKOFF, Phase.FAILED, Phase.STOPPED)


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
        keeper.post(Asked(verb=verb))
        try:
            async with asyncio.timeout(wait_s):
                return await self._outcome(name, verb)
        except TimeoutError:
            return Outcome(outcome="pending", message=f"still {self._snapshot(name).state.phase} after {wait_s:g}s")

    async def _outcome(self, name: str, verb: Verb) -> Outcome:
        asked = False
        while True:
            snapshot = self._snapshot(name)
            asked = asked or snapshot.state.asked is verb
            if asked and snapshot.state.asked is None and _is_settled(snapshot, verb):
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
    wanted = (Phase.STOPPED,) if verb is Verb.STOP else (Phase.UP, Phase.BUSY, Phase.ASLEEP)
    outcome = "done" if phase in wanted else "failed"
    return Outcome(outcome=outcome, message=summary(snapshot, now=snapshot.as_of))


def _refusal(keeper: Keeper, verb: Verb) -> Outcome | None:
    """Say why there is nothing to do, or nothing that can be done."""
    state, engine = keeper.state, keeper.evidence.engine
    if not keeper.identity.restartable:
        return Outcome(outcome="failed", message=f'{keeper.name} is watched only (engine = "none"); {verb} it by hand')
    if state.phase.is_ours:
        return Outcome(outcome="failed", message=f"{keeper.name} is {state.phase} already; wait for that to end")
    is_running = engine is not None and engine.life is Life.RUNNING
    if verb is Verb.START and is_running and state.phase is not Phase.STOPPED:
        return Outcome(outcome="already", message="already running")
    if verb is Verb.STOP and state.phase is Phase.STOPPED:
        return Outcome(outcome="already", message="not running")
    return None
