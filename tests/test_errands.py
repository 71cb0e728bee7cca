"""The slow work of one target, over an engine that we answer for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.acts import Acts
from supervisor.core.actions import Act
from supervisor.core.baseline import Baseline
from supervisor.core.cause import Cause
from supervisor.core.events import Cleared, Ended, Failed, Verb
from supervisor.core.observations import CpuSeen, EngineSeen, Life, ProgressSeen, Reply, Slot
from supervisor.core.policy import Policy
from supervisor.core.state import FIRST
from supervisor.cure import EVERY_S, Cure
from supervisor.errands import Runner
from supervisor.errors import EngineRefused
from supervisor.examine import Examiner
from supervisor.history.store import Store
from supervisor.messages import Case, Message
from supervisor.probes.base import Answer, Counters, HostWork
from tests.fakes.engine import ScriptedEngine, ScriptedHost

KEY = "sk-our-own-key-1234"
RESTART = Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False)
CASE = Case(instance="one", incident="", judgement=FIRST, as_of=0.0)


class SlowCounters:
    """Counters that answer after a while, or never."""

    def __init__(self, counters: Counters, *, after_s: float) -> None:
        self.counters = counters
        self.after_s = after_s
        self.gently: list[bool] = []
        self.let_gone = 0

    def let_go(self) -> None:
        self.let_gone += 1

    async def look(self, *, timeout_s: float, gently: bool = False) -> Counters:
        self.gently.append(gently)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(self.after_s)
        except TimeoutError:
            return Counters(reply=Reply.SILENT)
        return self.counters


class NoCanary:
    async def send(self, *, limit_s: float, slot: int | None = None, model: str | None = None) -> Answer:  # noqa: ARG002
        return Answer(reply=Reply.DENIED, detail=f"status 401: no such key: {KEY}")


class SlowlyStopped(ScriptedEngine):
    """Takes as long over a stop as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()

    async def stop(self, name: str, *, grace_s: float) -> None:
        self.acted.set()
        await self.may_end.wait()
        await super().stop(name, grace_s=grace_s)


class Bench:
    """A runner, what it posted, and the tasks it started."""

    def __init__(self, store: Store, engine: ScriptedEngine, counters: SlowCounters | None) -> None:
        self.posted: list[Message] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.told: list[str] = []
        self.engine = engine
        self.host = ScriptedHost()
        self.late_s = 0.0
        self.now = 100.0  # for what waits for a cure
        self.runner = Runner(
            "general",
            engine_name="benchai-general",
            engine=engine,
            progress=counters,
            canary=NoCanary(),
            host=self.host,
            acts=Acts(
                "general",
                engine_name="benchai-general",
                engine=engine,
                examiner=Examiner("general", engine_name="benchai-general", engine=engine, host=self.host, store=store),
                store=store,
            ),
            cure=Cure(engine_name="benchai-general", engine=engine, host=self.host, clock=lambda: self.now),
            store=store,
            policy=Policy(),
            spawn=self._spawn,
            told=self._tell,
            late=lambda _: self.late_s,
            secret=KEY,
        )
        self.runner.post = self.posted.append

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

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

    made.runner.act(RESTART, CASE)
    await made.settle()

    assert made.told == ["before 0 acts, within 1s"]
    assert made.engine.done == ["restart benchai-general"]
    assert isinstance(made.posted[0], Ended)


async def test_an_inspection_from_before_an_act_is_not_told_after_it(bench: Callable[..., Bench]) -> None:
    engine = ScriptedEngine()
    engine.seen = EngineSeen(life=Life.EXITED, instance="one", exit_code=1)
    engine.held = asyncio.Event()
    made = bench(engine)
    made.runner.inspect()
    await asyncio.sleep(0)

    made.runner.act(Act(verb=Verb.START, grace_s=2.0, by_operator=True), CASE)
    await engine.acted.wait()
    engine.seen = EngineSeen(life=Life.RUNNING, instance="two")
    made.runner.inspect()
    engine.held.set()
    await made.settle()

    assert [message for message in made.posted if isinstance(message, EngineSeen)] == [engine.seen]


async def test_an_inspection_from_within_an_act_is_not_told_after_it(bench: Callable[..., Bench]) -> None:
    """It saw the process that was being stopped, and an operator's stop would have been taken for undone."""
    engine = SlowlyStopped()
    made = bench(engine)
    made.runner.act(Act(verb=Verb.STOP, grace_s=2.0, by_operator=True), CASE)
    await engine.acted.wait()
    engine.held = asyncio.Event()
    made.runner.inspect()
    await asyncio.sleep(0)

    engine.may_end.set()
    await made.tasks[0]
    made.runner.inspect()
    engine.held.set()
    await made.settle()

    assert [message.life for message in made.posted if isinstance(message, EngineSeen)] == [Life.EXITED]


async def test_what_the_cpu_did_is_told_before_counters_that_stand_still(bench: Callable[..., Bench]) -> None:
    slots = (Slot(id=0, busy=True, task=1, decoded=3, prefilled=9),)
    made = bench(ScriptedEngine(), SlowCounters(Counters(reply=Reply.ANSWERED, slots=slots), after_s=0.0))

    made.runner.look("one", engine=None, with_cpu=True, gently=False)
    await made.settle()
    await asyncio.sleep(0.3)
    made.engine.spent_s = 0.2
    made.runner.look("one", engine=None, with_cpu=True, gently=False)
    await made.settle()

    assert [type(message) for message in made.posted] == [ProgressSeen, CpuSeen, ProgressSeen]


async def test_a_silent_servers_cpu_is_measured_while_it_is_silent(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine(), SlowCounters(Counters(reply=Reply.ANSWERED), after_s=60.0))

    made.runner.look("one", engine=None, with_cpu=False, gently=False)
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

    made.runner.act(RESTART, CASE)
    await made.settle()

    assert isinstance(made.posted[0], Failed)
    assert made.posted[0].reason == "OurFault"


async def sampled(made: Bench, engine: EngineSeen | None, *, spent_s: float) -> CpuSeen:
    """Look twice, and return what was told of the time between."""
    made.runner.look("one", engine=engine, with_cpu=True, gently=False)
    await made.settle()
    await asyncio.sleep(0.3)
    made.engine.spent_s += spent_s
    made.runner.look("one", engine=engine, with_cpu=True, gently=False)
    await made.settle()
    return next(message for message in made.posted if isinstance(message, CpuSeen))


RUNNING = EngineSeen(life=Life.RUNNING, instance="one", pid=42)


async def test_the_host_is_asked_what_a_target_does_that_burns_little_cpu(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine())
    made.host.says = HostWork(gpu_share=0.8, waits_for_disk=True)

    seen = await sampled(made, RUNNING, spent_s=0.0)

    assert (made.host.asked, seen.gpu_share, seen.waits_for_disk) == ([42], 0.8, True)


async def test_the_host_is_not_asked_about_one_that_burns_a_lot(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine())

    seen = await sampled(made, RUNNING, spent_s=30.0)

    assert (made.host.asked, seen.gpu_share) == ([], None)


async def test_a_gpu_that_was_given_and_cannot_be_seen_is_unknown_and_not_idle(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine())

    seen = await sampled(made, replace(RUNNING, uses_gpu=True), spent_s=0.0)

    assert seen.gpu_is_unknown


@pytest.mark.parametrize(("given", "may"), [(None, True), (True, True), (False, False)])
async def test_the_host_suspects_no_gpu_behind_one_that_was_given_none(
    bench: Callable[..., Bench], *, given: bool | None, may: bool
) -> None:
    made = bench(ScriptedEngine())

    await sampled(made, replace(RUNNING, uses_gpu=given), spent_s=0.0)

    assert made.host.may_have_gpu == [may]


async def test_silence_while_we_stood_still_ourselves_is_ours(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine(), SlowCounters(Counters(reply=Reply.ANSWERED), after_s=60.0))
    made.late_s = 0.8

    made.runner.look("one", engine=None, with_cpu=False, gently=False)
    await made.settle()

    seen = next(message for message in made.posted if isinstance(message, ProgressSeen))
    assert (seen.reply, seen.detail) == (Reply.NOT_RUN, "our own loop was late by 0.8s")


async def test_an_answer_that_came_although_we_were_late_is_an_answer(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine(), SlowCounters(Counters(reply=Reply.ANSWERED), after_s=0.0))
    made.late_s = 9.0

    made.runner.look("one", engine=None, with_cpu=False, gently=True)
    await made.settle()

    (seen,) = made.posted
    assert isinstance(seen, ProgressSeen)
    assert (seen.reply, seen.gently) == (Reply.ANSWERED, True)


async def test_a_question_that_is_held_open_is_let_go_with_the_life_it_was_about(bench: Callable[..., Bench]) -> None:
    counters = SlowCounters(Counters(reply=Reply.ANSWERED), after_s=0.0)
    made = bench(ScriptedEngine(), counters)

    made.runner.forget()

    assert counters.let_gone == 1


async def test_what_was_learned_is_written_down(bench: Callable[..., Bench]) -> None:
    made = bench(ScriptedEngine())
    learned = Baseline(first_tokens_s=(0.25, 0.5))

    made.runner.remember(learned)
    await made.settle()

    assert await made.runner._store.baseline("general") == learned


async def test_a_look_that_fails_in_a_way_nobody_foresaw_is_told_as_our_own_fault(bench: Callable[..., Bench]) -> None:
    class BrokenCounters(SlowCounters):
        async def look(self, *, timeout_s: float, gently: bool = False) -> Counters:  # noqa: ARG002
            raise ValueError("a bug of ours")

    made = bench(ScriptedEngine(), BrokenCounters(Counters(reply=Reply.ANSWERED), after_s=0.0))

    made.runner.look("one", engine=None, with_cpu=False, gently=False)
    await made.settle()

    (seen,) = made.posted
    assert isinstance(seen, ProgressSeen)
    assert (seen.reply, seen.detail) == (Reply.NOT_RUN, "our own look failed, see the log")


async def test_our_key_to_a_server_is_not_told_to_anybody_though_that_server_quotes_it(
    bench: Callable[..., Bench],
) -> None:
    quoted = Counters(reply=Reply.DENIED, detail=f"/slots: status 401: {KEY}")
    made = bench(ScriptedEngine(), SlowCounters(quoted, after_s=0.0))

    made.runner.look("one", engine=None, with_cpu=False, gently=False)
    made.runner.send_canary("one", 1, None, limit_s=5.0)
    await made.settle()

    assert len(made.posted) == 2
    assert KEY not in str(made.posted)
    assert str(made.posted).count("[hidden]") == 2


async def test_what_stands_in_the_way_is_measured_before_anybody_is_told_of_it(bench: Callable[..., Bench]) -> None:
    """Whoever is told may mend it within the second, and that must not be missed for the next quarter of an hour."""
    engine = ScriptedEngine()
    engine.refusal = EngineRefused("Docker did not restart it: Bind for 0.0.0.0:8091 failed: port is already allocated")
    engine.around = {"port 8091": "taken"}
    made = bench(engine)

    made.runner.act(RESTART, CASE)
    await made.settle()
    engine.around = {"port 8091": "free"}
    made.pass_time(EVERY_S)
    made.runner.watch_cure(Cause.PORT_TAKEN)
    await made.settle()
    made.pass_time(EVERY_S)
    made.runner.watch_cure(Cause.PORT_TAKEN)
    await made.settle()

    assert isinstance(made.posted[0], Failed)
    assert made.posted[1:] == [Cleared(what="port 8091 has changed")]
