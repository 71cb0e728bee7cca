"""The slow work of one target, over an engine that we answer for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.actions import Act
from supervisor.core.events import Ended, Failed, Verb
from supervisor.core.observations import CpuSeen, EngineSeen, Life, ProgressSeen, Reply, Slot
from supervisor.core.policy import Policy
from supervisor.engines.none import NoEngine
from supervisor.errands import Runner
from supervisor.errors import EngineUnreachable
from supervisor.history.store import Store
from supervisor.probes.base import Answer, Counters
from supervisor.turn import Message

RESTART = Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False)


class ScriptedEngine(NoEngine):
    """Answers as it is told, and writes down what it was asked to do."""

    def __init__(self) -> None:
        self.seen = EngineSeen(life=Life.RUNNING, instance="one", age_s=1.0)
        self.held: asyncio.Event | None = None
        self.done: list[str] = []
        self.acted = asyncio.Event()
        self.spent_s = 0.0
        self.refusal: Exception | None = None

    async def inspect(self, name: str) -> EngineSeen:  # noqa: ARG002 - the Protocol's
        seen = self.seen
        if self.held is not None:
            await self.held.wait()
        return seen

    async def restart(self, name: str, *, grace_s: float) -> None:  # noqa: ARG002
        if self.refusal is not None:
            raise self.refusal
        self.done.append(f"restart {name}")

    async def start(self, name: str) -> None:
        self.done.append(f"start {name}")
        self.acted.set()

    async def cpu_s(self, name: str) -> float | None:  # noqa: ARG002
        return self.spent_s


class SlowCounters:
    """Counters that answer after a while, or never."""

    def __init__(self, counters: Counters, *, after_s: float) -> None:
        self.counters = counters
        self.after_s = after_s

    async def look(self, *, timeout_s: float) -> Counters:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(self.after_s)
        except TimeoutError:
            return Counters(reply=Reply.SILENT)
        return self.counters


class NoCanary:
    async def send(self, *, limit_s: float, slot: int | None = None) -> Answer:  # noqa: ARG002
        return Answer(reply=Reply.ANSWERED)


class Bench:
    """A runner, what it posted, and the tasks it started."""

    def __init__(self, store: Store, engine: ScriptedEngine, counters: SlowCounters | None) -> None:
        self.posted: list[Message] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.told: list[str] = []
        self.engine = engine
        self.runner = Runner(
            "general",
            engine_name="benchai-general",
            engine=engine,
            progress=counters,
            canary=NoCanary(),
            store=store,
            policy=Policy(),
            spawn=self._spawn,
            told=self._tell,
        )
        self.runner.post = self.posted.append

    async def settle(self) -> None:
        while pending := [task for task in self.tasks if not task.done()]:
            await asyncio.wait(pending)

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(work, name=name))
        return self.tasks[-1]

    async def _tell(self, timeout_s: float) -> None:
        self.told.append(f"before {len(self.engine.done)} acts, within {timeout_s:g}s")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    store = Store(tmp_path / "history.sqlite")
    yield lambda engine, counters=None: Bench(store, engine, counters)
    store.close()


async def test_routers_are_told_before_the_engine_is_asked(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine())

    made.runner.act(RESTART, "one")
    await made.settle()

    assert made.told == ["before 0 acts, within 1s"]
    assert made.engine.done == ["restart benchai-general"]
    assert made.posted == [Ended()]


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (EngineSeen(life=Life.EXITED, instance="one", stopped_by_operator=True), "OperatorWon"),
        (EngineSeen(life=Life.PAUSED, instance="one", stopped_by_operator=True), "OperatorWon"),
        (EngineSeen(life=Life.MISSING), "OperatorWon"),
        (EngineSeen(life=Life.RESTARTING, instance="one"), "OperatorWon"),
        (EngineSeen(life=Life.RUNNING, instance="two"), "AlreadyRestarted"),
    ],
)
async def test_what_somebody_else_has_taken_over_meanwhile_is_left_alone(
    bench: Callable[..., Bench], seen: EngineSeen, reason: str
) -> None:
    engine = ScriptedEngine()
    engine.seen = seen
    made = bench(engine)

    made.runner.act(RESTART, "one")
    await made.settle()

    assert engine.done == []
    assert isinstance(made.posted[0], Failed)
    assert (made.posted[0].reason, made.posted[0].counts) == (reason, False)


async def test_a_restart_that_timed_out_counts(bench: Callable[..., Bench]) -> None:
    engine = ScriptedEngine()
    engine.refusal = EngineUnreachable("no answer within 12s")
    made = bench(engine)

    made.runner.act(RESTART, "one")
    await made.settle()

    assert isinstance(made.posted[0], Failed)
    assert made.posted[0].counts


async def test_an_inspection_from_before_an_act_is_not_told_after_it(bench: Callable[..., Bench]) -> None:
    engine = ScriptedEngine()
    engine.seen = EngineSeen(life=Life.EXITED, instance="one", exit_code=1)
    engine.held = asyncio.Event()
    made = bench(engine)
    made.runner.inspect()
    await asyncio.sleep(0)

    made.runner.act(Act(verb=Verb.START, grace_s=2.0, by_operator=True), None)
    await engine.acted.wait()
    engine.seen = EngineSeen(life=Life.RUNNING, instance="two")
    made.runner.inspect()
    engine.held.set()
    await made.settle()

    assert [message for message in made.posted if isinstance(message, EngineSeen)] == [engine.seen]


async def test_what_the_cpu_did_is_told_before_counters_that_stand_still(bench: Callable[..., Bench]) -> None:
    slots = (Slot(id=0, busy=True, task=1, decoded=3, prefilled=9),)
    made = bench(ScriptedEngine(), SlowCounters(Counters(reply=Reply.ANSWERED, slots=slots), after_s=0.0))

    made.runner.look("one", with_cpu=True)
    await made.settle()
    await asyncio.sleep(0.3)
    made.engine.spent_s = 0.2
    made.runner.look("one", with_cpu=True)
    await made.settle()

    assert [type(message) for message in made.posted] == [ProgressSeen, CpuSeen, ProgressSeen]


async def test_a_silent_servers_cpu_is_measured_while_it_is_silent(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine(), SlowCounters(Counters(reply=Reply.ANSWERED), after_s=60.0))

    made.runner.look("one", with_cpu=False)
    await made.settle()

    cpu, counters = made.posted
    assert isinstance(cpu, CpuSeen)
    assert (cpu.burned_s, cpu.instance) == (0.0, "one")
    assert isinstance(counters, ProgressSeen)
    assert (counters.reply, counters.took_s >= Policy().look_timeout_s) == (Reply.SILENT, True)


async def test_an_errand_that_fails_in_a_way_nobody_foresaw_comes_back_all_the_same(
    bench: Callable[..., Bench],
) -> None:
    engine = ScriptedEngine()
    engine.refusal = ValueError("a bug of ours")
    made = bench(engine)

    made.runner.act(RESTART, "one")
    await made.settle()

    assert isinstance(made.posted[0], Failed)
    assert made.posted[0].reason == "OurFault"
