"""Whose doing a stop is that a new daemon finds: its predecessor's, or an operator's."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.observations import Life
from supervisor.engines.docker import DockerEngine
from supervisor.engines.docker_ends import CALL_ECHO_S
from tests.engines.fake_docker import FakeDocker
from tests.engines.inspections import ID, exited, inspection

ENDED_AT = datetime.fromisoformat(exited()["FinishedAt"]).timestamp()
STARTED_AT = datetime.fromisoformat(inspection()["State"]["StartedAt"][:23] + "Z").timestamp()
NO_POLICY = {"RestartPolicy": {"Name": "no"}}
LATER = "2026-11-23T12:59:59.5Z"


def event(action: str, at: float, **attributes: str) -> Mapping[str, Any]:
    actor = {"ID": ID, "Attributes": {"name": "general", **attributes}}
    return {"Type": "container", "Action": action, "Actor": actor, "timeNano": int(at * 1e9)}


def stop_at(at: float) -> list[Mapping[str, Any]]:
    return [event("kill", at - 0.1, signal="15"), event("die", at, exitCode="143"), event("stop", at + 0.1)]


STARTED = event("start", STARTED_AT)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeDocker]:
    """An engine whose container was stopped: by its word alone, nobody knows by whom."""
    with FakeDocker(tmp_path) as fake:
        fake.container = inspection(State=exited(ExitCode=143), HostConfig=NO_POLICY)
        fake.events = [STARTED, *stop_at(ENDED_AT)]
        yield fake


@pytest.fixture
async def engine(fake: FakeDocker) -> AsyncIterator[DockerEngine]:
    """The engine of a daemon that has done nothing yet; its clock is the engine's."""
    engine = DockerEngine(host=fake.host, timeout_s=5.0, workers=2, clock=lambda: ENDED_AT + 1800.0)
    yield engine
    await engine.close()


async def is_by_operator(engine: DockerEngine) -> bool:
    return (await engine.inspect("general")).stopped_by_operator


async def test_a_stop_that_nobody_of_us_began_is_the_operators(engine: DockerEngine) -> None:
    assert await is_by_operator(engine)


@pytest.mark.parametrize("over_at", [None, ENDED_AT, ENDED_AT - CALL_ECHO_S + 1], ids=["cut short", "over", "echo"])
async def test_a_stop_of_our_predecessors_is_ours_and_stays_so(engine: DockerEngine, over_at: float | None) -> None:
    engine.mark_ours("general", over_at=over_at)

    assert [await is_by_operator(engine) for _ in range(2)] == [False, False]


async def test_a_stop_long_after_our_predecessors_act_is_the_operators(engine: DockerEngine) -> None:
    engine.mark_ours("general", over_at=ENDED_AT - CALL_ECHO_S - 1)

    assert await is_by_operator(engine)


@pytest.mark.parametrize("over_at", [None, ENDED_AT])
async def test_what_runs_when_it_is_first_seen_is_the_operators_once_he_stops_it(
    fake: FakeDocker, engine: DockerEngine, over_at: float | None
) -> None:
    stopped, fake.container, fake.events = fake.container, inspection(HostConfig=NO_POLICY), [STARTED]
    engine.mark_ours("general", over_at=over_at)
    running = await engine.inspect("general")

    fake.container, fake.events = stopped, [STARTED, *stop_at(ENDED_AT)]

    assert (running.life, running.stopped_by_operator) == (Life.RUNNING, False)
    assert await is_by_operator(engine)


async def test_what_is_on_its_way_out_by_a_call_that_was_cut_short_is_ours_when_it_has_gone(
    fake: FakeDocker, engine: DockerEngine
) -> None:
    fake.container = inspection(HostConfig=NO_POLICY)
    told_at = datetime.fromisoformat(LATER).timestamp()
    fake.events = [STARTED, event("kill", told_at, signal="15")]
    engine.mark_ours("general")
    leaving = await is_by_operator(engine)

    fake.container = inspection(State=exited(FinishedAt=LATER, ExitCode=143), HostConfig=NO_POLICY)
    fake.events = [STARTED, *stop_at(told_at + 0.5)]

    assert [leaving, await is_by_operator(engine)] == [False, False]


async def test_a_mark_does_not_outlive_its_container(fake: FakeDocker, engine: DockerEngine) -> None:
    stopped, fake.container = fake.container, None
    engine.mark_ours("general")
    gone = await engine.inspect("general")

    fake.container = stopped

    assert gone.life is Life.MISSING
    assert await is_by_operator(engine)


async def test_a_restart_that_was_refused_half_way_is_no_stop_by_hand(fake: FakeDocker, engine: DockerEngine) -> None:
    fake.container = inspection(State=exited(ExitCode=143, Error="port is already allocated"), HostConfig=NO_POLICY)

    assert not await is_by_operator(engine)
