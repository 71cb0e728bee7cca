"""What is on a GPU is started where there is room for it: a scripted engine, and a driver that is made up."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from loguru import logger

from supervisor.core.actions import Act
from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.events import Failed, Verb
from supervisor.cure import EVERY_S, Cure
from supervisor.engines.base import Description
from supervisor.errors import EngineUnreachable
from supervisor.on_gpu import BELIEVED_S
from tests.fakes.gpu_machine import OURS, PATIENCE_S, PLACE, RUNNING, SHORT_S, GpuMachine
from tests.fakes.nvml import NVMLError_GpuIsLost, NVMLError_LibraryNotFound

CHILD, THEIRS = 4122, 77


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[GpuMachine]:
    machine = GpuMachine(tmp_path)
    yield machine
    machine.host.close()


def act(verb: Verb, *, insists: bool = False) -> Act:
    return Act(verb=verb, grace_s=2.0, by_operator=False, insists=insists)


RESTART, START, STOP = act(Verb.RESTART), act(Verb.START), act(Verb.STOP)


def told(outcome: Failed) -> Diagnosis:
    assert outcome.diagnosis is not None
    return outcome.diagnosis


async def test_its_memory_is_waited_for_between_the_stop_and_the_start(machine: GpuMachine) -> None:
    machine.on_gpu = machine.patient_for(PATIENCE_S)
    machine.holds(OURS, "llama-server", 9.8)
    loop = asyncio.get_running_loop()

    def give_back() -> None:
        machine.engine.done.append("given back")
        machine.gives_back(OURS)

    def stop() -> None:
        machine.ends(OURS, gives_back=False)
        loop.call_later(2 * SHORT_S, give_back)

    machine.engine.on_stop = stop

    assert await machine.on_gpu.perform(RESTART)
    assert machine.engine.done == [f"stop {PLACE}", "given back", f"start {PLACE}"]


async def test_what_is_never_given_back_is_not_started_into(machine: GpuMachine) -> None:
    machine.holds(OURS, "llama-server", 9.8)
    machine.engine.on_stop = lambda: machine.ends(OURS, gives_back=False)
    began = time.monotonic()

    outcome = await machine.refused(RESTART)

    assert time.monotonic() - began >= SHORT_S
    assert machine.engine.done == [f"stop {PLACE}"]
    assert (outcome.reason, outcome.counts) == ("NoRoom", True)
    assert (told(outcome).cause, told(outcome).helps_restart) == (Cause.OUT_OF_VRAM, False)
    assert told(outcome).says == ("9.8 GiB of 12.0 GiB on GPU 0 are held: 9.8 GiB by a process that is gone (pid 4121)")
    assert told(outcome).cure == "reset GPU 0 (`nvidia-smi --gpu-reset -i 0`)"


async def test_a_process_that_does_not_die_is_named_with_how_to_end_it(machine: GpuMachine) -> None:
    machine.holds(OURS, "llama-server", 1.0)
    machine.holds(CHILD, "worker", 8.8)
    machine.engine.description = Description(processes=({"pid": OURS}, {"pid": CHILD}, {"name": "no number"}))

    outcome = await machine.refused(RESTART)

    assert told(outcome).says.endswith("8.8 GiB by worker (pid 4122, which should be gone)")
    assert told(outcome).cure.startswith("end what is left of it (`kill -9 4122`), or reset GPU 0 ")


async def test_what_lingers_is_no_obstacle_where_there_is_room_beside_it(machine: GpuMachine) -> None:
    machine.holds(OURS, "llama-server", 4.0)
    machine.engine.on_stop = lambda: machine.ends(OURS, gives_back=False)

    assert await machine.on_gpu.perform(RESTART)
    assert machine.engine.done == [f"stop {PLACE}", f"start {PLACE}"]


@pytest.mark.parametrize("verb", Verb)
async def test_without_a_driver_nothing_is_asked_of_the_engine(machine: GpuMachine, verb: Verb) -> None:
    machine.driver.refusal = NVMLError_LibraryNotFound()

    assert [await machine.on_gpu.perform(act(verb)) for _ in range(3)] == [False] * 3
    assert (machine.engine.done, machine.engine.asked, machine.driver.began) == ([], [], 1)


@pytest.mark.parametrize("verb", Verb)
async def test_one_that_is_on_no_gpu_is_none_of_our_business(machine: GpuMachine, verb: Verb) -> None:
    machine.holds(THEIRS, "python3", 11.5)
    machine.engine.seen = replace(RUNNING, uses_gpu=False)

    assert not await machine.on_gpu.perform(act(verb))
    assert machine.engine.done == []


async def test_one_that_was_given_no_gpu_and_is_seen_on_one_is_on_it(machine: GpuMachine) -> None:
    machine.holds(CHILD, "worker", 9.8)
    machine.engine.seen = replace(RUNNING, uses_gpu=False)
    machine.engine.description = Description(processes=({"pid": OURS}, {"pid": CHILD}))
    machine.engine.on_stop = lambda: machine.ends(CHILD)

    assert await machine.on_gpu.perform(RESTART)
    assert machine.engine.done == [f"stop {PLACE}", f"start {PLACE}"]


async def test_it_is_known_by_its_first_process_where_the_engine_cannot_tell_of_the_others(machine: GpuMachine) -> None:
    machine.holds(OURS, "llama-server", 9.8)
    machine.engine.description = EngineUnreachable("no answer")
    machine.engine.on_stop = lambda: machine.ends(OURS, gives_back=False)

    outcome = await machine.refused(RESTART)

    assert "a process that is gone (pid 4121)" in told(outcome).says


async def test_an_engine_that_does_not_answer_is_left_to_whoever_asks_it_next(machine: GpuMachine) -> None:
    machine.engine.inspection = EngineUnreachable("no answer")

    assert not await machine.on_gpu.perform(RESTART)


async def crashed_without_room(machine: GpuMachine) -> None:
    """Let it be restarted once, so that its need is known; then it crashes, and somebody else takes its place."""
    machine.holds(OURS, "llama-server", 9.0)
    assert await machine.on_gpu.perform(RESTART)
    machine.engine.crashes()
    machine.engine.done.clear()
    machine.holds(THEIRS, "python3", 8.0)


@pytest.mark.parametrize("verb", [Verb.START, Verb.RESTART])
async def test_it_is_not_started_where_somebody_else_holds_what_it_needs(machine: GpuMachine, verb: Verb) -> None:
    await crashed_without_room(machine)

    outcome = await machine.refused(act(verb))

    assert machine.engine.done == []
    assert (outcome.reason, outcome.counts, told(outcome).cause) == ("NoRoom", False, Cause.OUT_OF_VRAM)
    assert told(outcome).says == (
        "it needs 9.0 GiB; 8.0 GiB of 12.0 GiB on GPU 0 are held: 8.0 GiB by python3 (pid 77)"
    )
    assert told(outcome).cure == (
        "stop what need not be on GPU 0 (pid 77), or ask for less: a smaller model, context or -ngl"
    )


async def test_what_took_its_place_while_it_was_down_keeps_it_down(machine: GpuMachine) -> None:
    machine.holds(OURS, "llama-server", 9.0)

    def stop() -> None:
        machine.ends(OURS)
        machine.holds(THEIRS, "python3", 8.0)

    machine.engine.on_stop = stop

    outcome = await machine.refused(RESTART)

    assert machine.engine.done == [f"stop {PLACE}"]
    assert outcome.counts


async def test_what_an_operator_stopped_is_known_by_what_it_held_then(machine: GpuMachine) -> None:
    machine.holds(OURS, "llama-server", 9.0)
    assert await machine.on_gpu.perform(STOP)
    machine.holds(THEIRS, "python3", 8.0)

    outcome = await machine.refused(START)

    assert "it needs 9.0 GiB" in told(outcome).says


async def test_where_nobody_knows_what_it_needs_it_is_tried(machine: GpuMachine) -> None:
    machine.holds(THEIRS, "python3", 11.9)
    machine.engine.crashes()

    assert await machine.on_gpu.perform(RESTART)
    assert machine.engine.done == [f"start {PLACE}"]


async def test_another_container_in_its_place_may_need_less(machine: GpuMachine) -> None:
    await crashed_without_room(machine)
    machine.engine.seen = replace(machine.engine.seen, instance="77aa@10:00")

    assert await machine.on_gpu.perform(START)


async def test_one_that_runs_is_not_asked_what_it_needs(machine: GpuMachine) -> None:
    machine.holds(OURS, "llama-server", 11.0)

    assert await machine.on_gpu.perform(START)
    assert machine.engine.done == [f"start {PLACE}"]


async def test_a_stop_ends_well_though_its_memory_is_not_given_back_and_the_log_says_who_has_it(
    machine: GpuMachine,
) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    machine.holds(OURS, "llama-server", 9.0)
    machine.engine.on_stop = lambda: machine.ends(OURS, gives_back=False)

    done = await machine.on_gpu.perform(STOP)

    logger.remove(sink)
    assert done
    assert machine.engine.done == [f"stop {PLACE}"]
    assert "general: stopped, and its GPU memory is not given back: " in lines[0]
    assert "(pid 4121)" in lines[0]


async def test_a_gpu_that_is_lost_is_called_so(machine: GpuMachine) -> None:
    machine.holds(OURS, "llama-server", 9.0)
    machine.engine.on_stop = lambda: machine.gpu.break_down(NVMLError_GpuIsLost())

    outcome = await machine.refused(RESTART)

    assert (told(outcome).cause, told(outcome).says) == (Cause.GPU_LOST, "GPU 0 is lost")
    assert "nvidia-smi" in told(outcome).cure


async def test_it_is_watched_and_started_once_there_is_room(machine: GpuMachine) -> None:
    await crashed_without_room(machine)
    outcome = await machine.refused(RESTART)
    cure = Cure(engine_name=PLACE, engine=machine.engine, host=machine.host, clock=lambda: machine.now)

    async def looks() -> list[str]:
        found = []
        for _ in range(2):
            machine.now += EVERY_S
            found.append(await cure.look(told(outcome).cause))
        return found

    before = await looks()
    machine.ends(THEIRS)
    after = await looks()

    assert before == ["", ""]
    assert after == ["", "GPU 0 has changed"]
    assert await machine.on_gpu.perform(act(Verb.RESTART, insists=True))
    assert machine.engine.done == [f"start {PLACE}"]


async def test_to_insist_helps_only_after_long(machine: GpuMachine) -> None:
    await crashed_without_room(machine)
    await machine.refused(RESTART)
    insisting = act(Verb.RESTART, insists=True)

    machine.now += BELIEVED_S - 1
    await machine.refused(insisting)
    machine.now += 1

    assert await machine.on_gpu.perform(insisting)
    assert machine.engine.done == [f"start {PLACE}"]


async def test_after_it_has_run_again_the_time_is_counted_anew(machine: GpuMachine) -> None:
    await crashed_without_room(machine)
    await machine.refused(RESTART)
    machine.engine.seen = replace(RUNNING, instance="4f1e@10:00")
    machine.engine.on_stop = lambda: None
    machine.now += BELIEVED_S

    stopped = await machine.refused(act(Verb.RESTART, insists=True))
    again = await machine.refused(act(Verb.RESTART, insists=True))

    assert (stopped.counts, again.counts) == (True, False)
    assert machine.engine.done == [f"stop {PLACE}"]


async def test_why_it_was_not_started_is_known_until_it_is(machine: GpuMachine) -> None:
    await crashed_without_room(machine)
    life = machine.engine.seen.instance
    outcome = await machine.refused(RESTART)
    during = [machine.on_gpu.refusal(life), machine.on_gpu.refusal("another@10:00")]
    machine.ends(THEIRS)

    await machine.on_gpu.perform(RESTART)

    assert during == [outcome.diagnosis, None]
    assert machine.on_gpu.refusal(life) is None
