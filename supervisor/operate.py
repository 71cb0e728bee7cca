"""What an operator asks for, from the request to its outcome. It posts to the keepers and reads the board."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from supervisor.core.events import Verb
from supervisor.core.liveness import Snapshot, summary
from supervisor.core.observations import Life
from supervisor.core.state import WELL, Phase
from supervisor.messages import Wish
from supervisor.publish.board import Board
from supervisor.publish.services import Outcome
from supervisor.turn import Keeper

SETTLED = (*WELL, Phase.BACKOFF, Phase.FAILED, Phase.STOPPED)
DONE = {Verb.START: "started", Verb.STOP: "stopped", Verb.RESTART: "restarted"}


class NotDone(Exception):
    """What was asked for is not even begun; the message says why."""


class Operator:
    """Passes an operator's wishes on, one at a time per target, and waits for what becomes of them."""

    def __init__(
        self,
        board: Board,
        keepers: Mapping[str, Keeper],
        *,
        exclusive: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """`exclusive` has those of which one at most may run, themselves included, by each of their names."""
        self._board = board
        self._keepers = keepers
        self._turns: dict[tuple[str, ...], asyncio.Lock] = {}
        self.undrain: Callable[[str], Awaitable[bool]] = _nobody_is_drained  # puts back into rotation, if it was out
        self._is_ending = False
        self.settle(exclusive or {})

    def end(self) -> None:
        """Let those go who wait for an outcome: nobody will see it any more."""
        self._is_ending = True
        self._board.feed.wake()

    def settle(self, exclusive: Mapping[str, tuple[str, ...]]) -> None:
        """Go by this: those of which one at most may run, themselves included, by each of their names."""
        self._exclusive = exclusive
        self._turns = {members: self._turns.get(members) or asyncio.Lock() for members in exclusive.values()}

    async def operate(self, name: str, verb: Verb, wait_s: float, drains: bool) -> Outcome:
        """Ask `name`'s keeper for `verb` and wait up to `wait_s` for its end; `drains`: it may finish what it has.

        Whatever may not run beside it is stopped first, in the same way.
        """
        stopped: tuple[str, ...] = ()
        try:
            if refusal := _refusal(self._keeper(name), verb):
                runs = verb is Verb.START and refusal.outcome == "already"
                back = runs and await self.undrain(name)
                return Outcome(outcome="done", message="it runs, and is back in rotation") if back else refusal
            async with asyncio.timeout(wait_s):
                async with self._turn(name, verb):
                    stopped = await self._make_way(name, verb, drains)
                    taken = await self._is_taken(name, verb, drains)
                    if taken and verb is not Verb.STOP:
                        await self.undrain(name)
                outcome = await self._outcome(name, verb) if taken else _occupied(self._keeper(name))
        except NotDone as not_done:
            outcome = Outcome(outcome="failed", message=str(not_done))
        except TimeoutError:
            outcome = self._late(name, verb, wait_s)
        return _with(outcome, verb, stopped)

    def _turn(self, name: str, verb: Verb) -> AbstractAsyncContextManager[Any]:
        """Return what lets in one at a time of those that make others stop; a stop waits for none of them."""
        alone = verb is not Verb.STOP and name in self._exclusive
        return self._turns[self._exclusive[name]] if alone else nullcontext()

    async def _make_way(self, name: str, verb: Verb, drains: bool) -> tuple[str, ...]:
        """Stop those that may not run beside `name`, and return who they were.

        Raises:
            NotDone: one could not be stopped.
        """
        rivals = self._rivals(name, verb)
        stops = await asyncio.gather(*(self._stop(each, drains) for each in rivals))
        for rival, stop in zip(rivals, stops, strict=True):
            if stop.outcome != "done":
                raise NotDone(f"{rival} could not be stopped ({stop.message}), so {name} was not {DONE[verb]}")
        return rivals

    def _rivals(self, name: str, verb: Verb) -> tuple[str, ...]:
        """Return those that may not run beside `name` and do, or would be started again by us."""
        others = () if verb is Verb.STOP else self._exclusive.get(name, ())
        there = [each for each in others if each != name and each in self._keepers]
        return tuple(each for each in there if not _is_stopped(self._keepers[each]))

    async def _stop(self, name: str, drains: bool) -> Outcome:
        """Have a target stopped, after whatever is being done to it."""
        while self._keeper(name).state.phase.is_ours or not await self._is_taken(name, Verb.STOP, drains):
            await self._change()
        return await self._outcome(name, Verb.STOP)

    async def _is_taken(self, name: str, verb: Verb, drains: bool) -> bool:
        """Post a wish, and return whether it is being done."""
        taken: asyncio.Queue[bool] = asyncio.Queue(1)
        self._keeper(name).post(Wish(verb, taken.put_nowait, drains))
        return await taken.get()

    def _late(self, name: str, verb: Verb, wait_s: float) -> Outcome:
        if rivals := self._rivals(name, verb):
            there = " and ".join(f"{each} is still {self._keepers[each].state.phase}" for each in rivals)
            return Outcome(outcome="failed", message=f"{there} after {wait_s:g}s, so {name} was not {DONE[verb]}")
        snapshot = self._board.find(name)
        if snapshot is None:
            return Outcome(outcome="failed", message=_gone(name))
        return Outcome(outcome="pending", message=f"still {snapshot.state.phase} after {wait_s:g}s")

    async def _outcome(self, name: str, verb: Verb) -> Outcome:
        while True:
            snapshot = self._snapshot(name)
            if snapshot.state.asked is None and _is_settled(snapshot, verb):
                return _told(snapshot, verb)
            await self._change()

    async def _change(self) -> None:
        """Wait until something is different.

        Raises:
            NotDone: we end.
        """
        if not self._is_ending:
            await self._board.change()
        if self._is_ending:
            raise NotDone("the supervisor was told to end meanwhile; what it had begun is carried through")

    def _snapshot(self, name: str) -> Snapshot:
        snapshot = self._board.find(name)
        if snapshot is None:
            raise NotDone(_gone(name))
        return snapshot

    def _keeper(self, name: str) -> Keeper:
        if name not in self._keepers:
            raise NotDone(_gone(name))
        return self._keepers[name]


def _gone(name: str) -> str:
    return f"{name} is watched no more: it has been taken out of the settings"


async def _nobody_is_drained(_: str) -> bool:
    return False


def _is_settled(snapshot: Snapshot, verb: Verb) -> bool:
    if verb is Verb.STOP:
        return True  # the engine's call has come back: it is stopped, or it could not be
    return snapshot.state.phase in SETTLED


def _told(snapshot: Snapshot, verb: Verb) -> Outcome:
    phase = snapshot.state.phase
    wanted = {Phase.STOPPED} if verb is Verb.STOP else WELL
    outcome = "done" if phase in wanted else "failed"
    return Outcome(outcome=outcome, message=summary(snapshot, now=snapshot.as_of))


def _with(outcome: Outcome, verb: Verb, stopped: tuple[str, ...]) -> Outcome:
    """Return the outcome with a word on those that had to make way."""
    if not stopped:
        return outcome
    told = DONE[verb] if outcome.outcome == "done" else outcome.message
    message = f"{told}; {' and '.join(stopped)} {'was' if len(stopped) == 1 else 'were'} stopped to make room"
    return Outcome(outcome=outcome.outcome, message=message, stopped=stopped)


def _occupied(keeper: Keeper) -> Outcome:
    return Outcome(outcome="failed", message=f"{keeper.name} is {keeper.state.phase} already; wait for that to end")


def _refusal(keeper: Keeper, verb: Verb) -> Outcome | None:
    """Say why there is nothing to do, or nothing that can be done."""
    state, engine = keeper.state, keeper.evidence.engine
    if not keeper.identity.restartable and verb is Verb.START and state.phase in WELL:
        return Outcome(outcome="already", message="already running")
    if not keeper.identity.restartable:
        return Outcome(outcome="failed", message=f'{keeper.name} is watched only (engine = "none"); {verb} it by hand')
    if state.phase.is_ours:
        return _occupied(keeper)
    life = None if engine is None else engine.life
    if verb is Verb.START and life is Life.RUNNING and state.phase not in (Phase.STOPPED, Phase.DRAINING):
        return Outcome(outcome="already", message="already running")
    if verb is Verb.STOP and _is_stopped(keeper):
        return Outcome(outcome="already", message="not running")
    return None


def _is_stopped(keeper: Keeper) -> bool:
    """Whether it neither runs nor is meant to."""
    engine = keeper.evidence.engine
    runs = engine is not None and engine.life in (Life.RUNNING, Life.PAUSED)
    return keeper.state.phase is Phase.STOPPED and not runs
