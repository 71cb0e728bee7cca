"""What an operator asks for where one at a time may run: real keepers, whose errands do as they are told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor import build
from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.events import Failed, Verb
from supervisor.core.restraint import Hold
from supervisor.core.state import WELL, Phase
from supervisor.on_gpu import WANTS_MEMORY
from supervisor.publish.services import Outcome
from supervisor.settings_file import load
from tests.fakes.sharers import Sharers
from tests.settings.texts import BACKEND, SECOND

SHORT_S = 0.1


@pytest.fixture
async def sharers() -> AsyncIterator[Sharers]:
    sharers = Sharers()
    await sharers.wakes_up()
    yield sharers
    await sharers.goes_to_sleep()


@pytest.mark.parametrize(("verb", "told"), [(Verb.START, "started"), (Verb.RESTART, "restarted")])
async def test_whoever_must_be_alone_is_started_once_the_other_has_been_stopped(
    sharers: Sharers, verb: Verb, told: str
) -> None:
    outcome = await sharers.asks(verb, "vision")

    message = f"{told}; code was stopped to make room"
    assert outcome == Outcome(outcome="done", message=message, stopped=("code",))
    assert sharers.done == ["stop code", f"{verb} vision"]
    assert (sharers.phase("code"), sharers.phase("vision") in WELL) == (Phase.STOPPED, True)
    assert sharers.phase("general") in WELL


async def test_what_made_way_was_stopped_by_the_operators_will_and_is_left_so(sharers: Sharers) -> None:
    await sharers.asks(Verb.START, "vision")
    turns = len(sharers.servers["vision"].lines)

    await sharers.until(lambda: len(sharers.servers["vision"].lines) > turns + 20)

    state = sharers.keepers["code"].state
    assert (state.phase, state.judgement.message) == (Phase.STOPPED, "stopped by the operator")
    assert (state.restarts, state.diagnosis, sharers.servers["code"].incidents) == ((), None, [])
    assert sharers.done == ["stop code", "start vision"]


async def test_whoever_makes_way_may_finish_what_it_has(sharers: Sharers) -> None:
    code = sharers.servers["code"]
    code.is_busy = True
    await sharers.until(lambda: sharers.phase("code") is Phase.BUSY)
    asking = asyncio.create_task(sharers.asks(Verb.START, "vision", drains=True))
    await sharers.until(lambda: sharers.phase("code") is Phase.DRAINING)
    await asyncio.sleep(SHORT_S)
    meanwhile = list(sharers.done)

    code.is_busy = False

    assert (await asking).outcome == "done"
    assert meanwhile == []
    assert sharers.done == ["stop code", "start vision"]


async def test_one_that_cannot_be_stopped_in_time_is_named_and_the_other_is_not_started(sharers: Sharers) -> None:
    sharers.servers["code"].held = []

    outcome = await sharers.asks(Verb.START, "vision", wait_s=SHORT_S)

    assert outcome == Outcome(
        outcome="failed", message=f"code is still stopping after {SHORT_S:g}s, so vision was not started"
    )
    assert (sharers.done, sharers.phase("vision")) == ([], Phase.STOPPED)


@pytest.mark.parametrize("asked", ["code", "vision"], ids=["its own stop", "who is to make way"])
async def test_whoever_waits_for_an_outcome_when_we_end_is_told_so(sharers: Sharers, asked: str) -> None:
    sharers.servers["code"].held = []
    verb = Verb.STOP if asked == "code" else Verb.START
    asking = asyncio.create_task(sharers.asks(verb, asked))
    await sharers.until(lambda: sharers.phase("code") is Phase.STOPPING)

    sharers.operator.end()
    outcome = await asking

    assert outcome.outcome == "failed"
    assert "was told to end" in outcome.message


async def test_one_that_cannot_be_stopped_at_all_is_named_with_the_reason(sharers: Sharers) -> None:
    sharers.servers["code"].refusal = Failed(reason="EngineRefused", message="stop failed: it is stuck")

    outcome = await sharers.asks(Verb.START, "vision")

    assert outcome.outcome == "failed"
    assert outcome.message.startswith("code could not be stopped (")
    assert outcome.message.endswith("), so vision was not started")
    assert sharers.phase("vision") is Phase.STOPPED


async def test_one_that_does_not_come_up_is_told_of_with_who_made_way(sharers: Sharers) -> None:
    full = Diagnosis(cause=Cause.OUT_OF_VRAM, says="it needs 9.0 GiB", cure="stop pid 77", helps_restart=False)
    sharers.servers["vision"].refusal = Failed(reason="NoRoom", message=WANTS_MEMORY, counts=False, diagnosis=full)

    outcome = await sharers.asks(Verb.START, "vision")

    assert outcome.outcome == "failed"
    assert "(it needs 9.0 GiB)" in outcome.message
    assert outcome.message.endswith("; code was stopped to make room")


async def test_where_nobody_has_to_make_way_nobody_is_spoken_of(sharers: Sharers) -> None:
    await sharers.asks(Verb.STOP, "code")

    outcome = await sharers.asks(Verb.START, "vision")

    assert outcome.outcome == "done"
    assert outcome.message.startswith("ready, first token")


async def test_one_that_would_be_started_again_by_us_makes_way_too(sharers: Sharers) -> None:
    code = sharers.servers["code"]
    code.held, code.is_running = [], False
    code.inspect()
    await sharers.until(lambda: bool(code.held))
    asking = asyncio.create_task(sharers.asks(Verb.START, "vision"))
    await asyncio.sleep(SHORT_S)

    restart, code.held = code.held[0], None
    code.finish(restart)

    assert (await asking).message == "started; code was stopped to make room"
    assert sharers.done == ["restart code", "stop code", "start vision"]


async def test_a_hold_keeps_nobody_from_making_way(sharers: Sharers) -> None:
    sharers.guard.hold(Hold(target="code", since=datetime.now(UTC)))

    assert (await sharers.asks(Verb.START, "vision")).outcome == "done"
    assert sharers.phase("code") is Phase.STOPPED


async def test_of_two_that_are_started_at_once_one_runs_in_the_end(sharers: Sharers) -> None:
    await sharers.asks(Verb.STOP, "code")
    sharers.done.clear()

    _, later = await asyncio.gather(sharers.asks(Verb.START, "code"), sharers.asks(Verb.START, "vision"))

    assert sharers.done == ["start code", "stop code", "start vision"]
    assert later.message == "started; code was stopped to make room"
    assert (sharers.phase("code"), sharers.phase("vision") in WELL) == (Phase.STOPPED, True)


async def test_one_that_is_watched_only_is_started_already_while_it_is_well_and_nothing_else_can_be_done_to_it(
    sharers: Sharers,
) -> None:
    general = sharers.keepers["general"]
    general.identity = replace(general.identity, restartable=False)

    outcomes = {verb: (await sharers.asks(verb, "general")).outcome for verb in Verb}

    assert outcomes == {Verb.START: "already", Verb.STOP: "failed", Verb.RESTART: "failed"}


async def test_a_stop_waits_for_nobodys_turn(sharers: Sharers) -> None:
    sharers.servers["code"].is_busy = True
    await sharers.until(lambda: sharers.phase("code") is Phase.BUSY)
    asking = asyncio.create_task(sharers.asks(Verb.START, "vision", drains=True))
    await sharers.until(lambda: sharers.phase("code") is Phase.DRAINING)

    stopped = await sharers.asks(Verb.STOP, "code")

    assert stopped.outcome == "done"
    assert (await asking).outcome == "done"


async def test_those_that_need_not_be_alone_stop_nobody(sharers: Sharers) -> None:
    assert (await sharers.asks(Verb.RESTART, "general")).outcome == "done"
    assert sharers.done == ["restart general"]


def test_those_are_meant_that_say_so_in_one_group(tmp_path: Path) -> None:
    alone, beside = 'gpu_group = "gpu0"\ngpu_exclusive = true\n', 'gpu_group = "gpu0"\n'
    settings = tmp_path / "settings.toml"
    others = (
        (SECOND.replace("code", name).replace("8093", port), more)
        for name, port, more in (
            ("vision", "8094", alone),
            ("planner", "8092", beside),
            ("poet", "8095", alone.replace("gpu0", "gpu1")),
        )
    )
    settings.write_text(BACKEND + alone + "".join(f"{text}{more}" for text, more in others))

    assert build.exclusive(load(settings)) == {
        "general": ("general", "vision"),
        "vision": ("general", "vision"),
        "poet": ("poet",),
    }
