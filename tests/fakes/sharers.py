"""Servers that share a GPU, and keepers that run: their errands do as they are told, and all is well while they run."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from supervisor.core.actions import Act
from supervisor.core.events import Ended, Failed, Verb
from supervisor.core.observations import CanaryEnded, EngineSeen, Kind, Life, ProgressSeen, Reply, Slot
from supervisor.core.state import Phase, State
from supervisor.guard import Guard
from supervisor.messages import Case, Due
from supervisor.operate import Operator
from supervisor.publish.board import Board
from supervisor.publish.services import Outcome
from supervisor.turn import Keeper
from tests.fakes.errands import Ledger
from tests.fakes.story import PLANNER, POLICY

NAMES = ("general", "code", "vision")
ALONE = ("code", "vision")
PATIENCE_S = 20.0
TICK_S = 0.01


class Willing(Ledger):
    """Errands of a server that is well whenever it runs, with an engine that does as it is asked."""

    def __init__(self, name: str, done: list[str]) -> None:
        super().__init__()
        self.name = name
        self.done = done  # by all of them, in order
        self.keeper: Keeper
        self.is_running = True
        self.is_busy = False
        self.lives = 1
        self.refusal: Failed | None = None
        self.held: list[Act] | None = None  # what is asked of an engine that takes its time

    def inspect(self) -> None:
        life = Life.RUNNING if self.is_running else Life.EXITED
        self.keeper.post(EngineSeen(life=life, instance=self.instance, age_s=3.0, pid=42 if self.is_running else None))

    def look(self, instance: str | None, *, engine: EngineSeen | None, with_cpu: bool, gently: bool) -> None:  # noqa: ARG002
        slot = Slot(id=0, busy=self.is_busy, task=1, decoded=len(self.lines), prefilled=0)
        self.lines.append("look")  # a busy server has decoded more by the next
        self.keeper.post(
            ProgressSeen(instance=instance, reply=Reply.ANSWERED, slots=(slot,), kind=Kind.LLAMA_CPP, took_s=0.0)
        )

    def send_canary(
        self,
        instance: str | None,
        attempt: int,
        slot: int | None,  # noqa: ARG002
        *,
        model: str | None = None,  # noqa: ARG002
        limit_s: float,  # noqa: ARG002
    ) -> None:
        self.keeper.post(CanaryEnded(instance=instance, attempt=attempt, reply=Reply.ANSWERED, first_token_s=0.04))

    def act(self, act: Act, case: Case) -> None:
        super().act(act, case)
        if self.held is None:
            self.finish(act)
        else:
            self.held.append(act)

    def finish(self, act: Act) -> None:
        """Let the engine do it."""
        if self.refusal is not None:
            self.keeper.post(self.refusal)
            return
        self.done.append(f"{act.verb} {self.name}")
        self.is_running = act.verb is not Verb.STOP
        self.lives += self.is_running
        self.keeper.post(Ended())

    @property
    def instance(self) -> str:
        return f"{self.name}@{self.lives}"


class Sharers:
    """Three servers on one GPU, two of which must be alone on it, with the keepers that watch them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.guard = Guard(NAMES)
        self.servers = {name: Willing(name, self.done) for name in NAMES}
        self.keepers = {name: self._keeper(name) for name in NAMES}
        self.board = Board([keeper.snapshot() for keeper in self.keepers.values()], valid_for_s=PATIENCE_S)
        self.operator = Operator(self.board, self.keepers, exclusive=dict.fromkeys(ALONE, ALONE))
        self._tasks: list[asyncio.Task[None]] = []

    async def wakes_up(self) -> None:
        """Begin with `vision` stopped by hand, and the others well."""
        self.servers["vision"].is_running = False
        self.keepers["vision"].state = replace(self.keepers["vision"].state, phase=Phase.STOPPED)
        work = [*(keeper.run() for keeper in self.keepers.values()), self._tick()]
        self._tasks = [asyncio.get_running_loop().create_task(each) for each in work]
        await self.until(lambda: {self.phase("general"), self.phase("code")} <= {Phase.UP, Phase.BUSY})

    async def goes_to_sleep(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def asks(self, verb: Verb, name: str, *, wait_s: float = PATIENCE_S, drains: bool = False) -> Outcome:
        return await self.operator.operate(name, verb, wait_s, drains)

    def phase(self, name: str) -> Phase:
        return self.keepers[name].state.phase

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await self.board.change()

    def _keeper(self, name: str) -> Keeper:
        errands = self.servers[name]
        errands.keeper = Keeper(
            replace(PLANNER, name=name),
            policy=POLICY,
            errands=errands,
            publish=lambda snapshot: self.board.put(snapshot),
            pace=errands.pace,
            guard=self.guard,
            state=State(phase=Phase.UNKNOWN, since=0.0),
            chance=lambda: 0.0,
        )
        return errands.keeper

    async def _tick(self) -> None:
        while True:
            for keeper in self.keepers.values():
                keeper.post(Due())
            await asyncio.sleep(TICK_S)
