"""Sends a target the signal that an operator wants it sent, and says what to expect of it.

It is written down before it is done, like an act of ours; no state is changed for it. Whatever ends by it has not been
stopped: it is started again, unless somebody holds it.
"""

from collections.abc import Callable, Mapping
from signal import Signals

from loguru import logger

from supervisor.engines.base import Engine
from supervisor.engines.signalled import ENDING
from supervisor.errors import SupervisorError
from supervisor.history import UNUSABLE
from supervisor.history.store import Store
from supervisor.messages import EngineStirred
from supervisor.publish.services import Outcome
from supervisor.turn import Keeper

SUSPENDS = frozenset({Signals.SIGSTOP, Signals.SIGTSTP, Signals.SIGTTIN, Signals.SIGTTOU})


class Signaller:
    """Passes signals on."""

    def __init__(
        self,
        keepers: Mapping[str, Keeper],
        engine_of: Callable[[str], tuple[Engine, str] | None],
        store: Store,
    ) -> None:
        """`engine_of` returns a target's engine, and by which name it knows it."""
        self._keepers = keepers
        self._engine_of = engine_of
        self._store = store

    async def signal(self, name: str, number: Signals) -> Outcome:
        """Send it, and return what to expect of it."""
        keeper, known = self._keepers.get(name), self._engine_of(name)
        if keeper is None or known is None:
            return Outcome(outcome="failed", message=f"{name} is watched no more: the settings have changed")
        if keeper.state.phase.is_ours:
            return Outcome(outcome="failed", message=f"{name} is {keeper.state.phase} already; wait for that to end")
        engine, engine_name = known
        act = await self._begin(name, number)
        try:
            await engine.signal(engine_name, number)
        except SupervisorError as error:
            await self._end(act, str(error))
            return Outcome(outcome="failed", message=str(error))
        logger.info("{}: {} sent, asked for by the operator", name, number.name)
        await self._end(act, "done")
        keeper.post(EngineStirred())
        return Outcome(outcome="done", message=_expected(number, is_held=keeper.snapshot().restraint is not None))

    async def _begin(self, name: str, number: Signals) -> int | None:
        try:
            return await self._store.begin_signal(name, number.name)
        except UNUSABLE as error:
            logger.error("history: cannot write that {} is about to be sent to {}: {}", number.name, name, error)
            return None

    async def _end(self, act: int | None, outcome: str) -> None:
        if act is None:
            return
        try:
            await self._store.end(act, outcome, counts=False)
        except UNUSABLE as error:
            logger.error("history: cannot write what came of a signal: {}", error)


def _expected(number: Signals, *, is_held: bool) -> str:
    sent = f"{number.name} sent"
    if number in SUSPENDS:
        kept = "it is held, and stays so" if is_held else "it is restarted as hung"
        return f"{sent}; a stopped process answers nobody: {kept}, unless SIGCONT comes first"
    if number in ENDING:
        kept = "it is held, and is not started again" if is_held else "it is started again: stop keeps it down"
        return f"{sent}; if it ends, {kept}"
    return sent
