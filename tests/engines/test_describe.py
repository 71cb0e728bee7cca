"""What engines tell of a target for the record: on real containers and real processes."""

import asyncio
import json
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.engines.base import Description
from supervisor.engines.docker import DockerEngine
from supervisor.engines.none import NoEngine
from supervisor.engines.process import Program
from supervisor.errors import EngineUnreachable
from testbed.container_servers import ContainerServers
from tests.engines.bench import EXITS, IGNORES, OBEYS, Bench, DockerBench, ProcessBench, become, ended, start

SECRET = "Zq7-hush"  # noqa: S105 - in no word but this
# One argument that holds a command line, as `sh -c` takes it.
KEEPS_A_SECRET = f"# llama-server --api-key {SECRET}\n{OBEYS}"
HOLDS_A_CHILD = (
    f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(9)'])\n{OBEYS}"
)
TIMEOUT_S = 0.5


def place_shown(bench: Bench, pid: int) -> str:
    """Return where the kernel shows us that a process waits; of others' processes it shows that to root alone."""
    place = (bench.proc / str(pid) / "wchan").read_text()
    return "" if place == "0" else place


async def described(bench: Bench, name: str, *, processes: int) -> Description:
    """Return the description once so many processes are in it."""

    async def find() -> Description | None:
        told = await bench.engine.describe(name)
        return told if len(told.processes) == processes else None

    told: Description = await become(f"{name} has {processes} processes", find)
    return told


async def asleep(bench: Bench, name: str) -> Description:
    """Return the description of one process once that sleeps."""

    async def find() -> Description | None:
        told = await described(bench, name, processes=1)
        return told if told.processes[0]["state"].startswith("S") else None

    told: Description = await become(f"{name} sleeps", find)
    return told


async def test_little_is_told_of_a_missing_target(bench: Bench) -> None:
    told = await bench.engine.describe("nobody-has-this-name")

    assert told.facts["state"] == "missing"
    assert (told.processes, told.is_detached) == ((), False)


async def test_a_target_that_was_never_started_has_facts_and_no_processes(bench: Bench) -> None:
    told = await bench.engine.describe(bench.make(OBEYS))

    assert told.facts["command"][-2] == "-c"
    assert not {"started_at", "exit_code"} & set(told.facts)
    assert told.processes == ()


async def test_a_running_target_is_told_with_its_processes_and_what_they_wait_for(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    seen = await bench.engine.inspect(name)

    told = await asleep(bench, name)

    (process,) = told.processes
    assert (told.facts["state"], told.facts["started_at"]) == ("running", seen.started_at)
    assert process["pid"] == seen.pid
    assert process["name"].startswith("python")
    assert process["cpu_s"] >= 0
    assert process["memory_bytes"] > 1_000_000
    assert process["waits_in"] == place_shown(bench, process["pid"])
    assert sum(process["threads"].values()) == 1


async def test_what_a_target_forked_is_told_too(bench: Bench) -> None:
    name = bench.make(HOLDS_A_CHILD)
    await start(bench, name)

    told = await described(bench, name, processes=2)

    assert len({process["pid"] for process in told.processes}) == 2


async def test_a_frozen_target_is_told_to_be_stopped(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)
    await bench.signal(name, signal.SIGSTOP)

    async def is_stopped() -> bool:
        (process,) = (await bench.engine.describe(name)).processes
        return bool(process["state"].startswith("T"))

    assert await become(f"{name} is stopped", is_stopped)


async def test_an_ended_target_is_told_with_its_exit_code(bench: Bench) -> None:
    name = bench.make(EXITS)
    await bench.engine.start(name)
    seen = await ended(bench, name)

    told = await bench.engine.describe(name)

    assert (told.facts["state"], told.facts["exit_code"]) == ("exited", 3)
    assert told.facts["ended_at"] == seen.ended_at
    assert told.processes == ()


async def test_a_start_that_was_refused_is_told_in_the_words_of_the_system(bench: Bench) -> None:
    name = bench.make_unstartable()
    await asyncio.gather(bench.engine.start(name), return_exceptions=True)

    told = await bench.engine.describe(name)

    assert "no such file" in told.facts["error"].lower()


async def test_a_secret_in_the_command_is_not_told(bench: Bench) -> None:
    name = bench.make(KEEPS_A_SECRET)
    await start(bench, name)

    told = await described(bench, name, processes=1)

    assert SECRET not in json.dumps([told.facts, told.processes])


async def test_facts_stay_as_they_are_while_nothing_changes(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)

    told = [await bench.engine.describe(name) for _ in range(2)]

    assert told[0].facts == told[1].facts


async def test_a_target_can_be_described_while_an_act_is_under_way(bench: Bench) -> None:
    name = bench.make(IGNORES)
    await start(bench, name)
    stop = asyncio.create_task(bench.engine.stop(name, grace_s=2))
    await asyncio.sleep(0.3)

    told = await bench.engine.describe(name)

    assert not stop.done()
    assert len(told.processes) == 1
    await stop


async def test_a_real_server_is_told_with_its_threads_and_without_a_value_of_its_environment(
    servers: ContainerServers, containers: DockerBench, model: Path
) -> None:
    name = f"describe-{uuid.uuid4().hex[:8]}"
    environment = {"LLAMA_ARG_ALIAS": SECRET, "HF_TOKEN": SECRET}
    servers.run(name, model, "-np", "2", memory="1g", environment=environment)

    told = await asleep(containers, name)

    (server,) = told.processes
    assert told.facts["command"][-4:] == ["-m", f"/models/{model.name}", "-np", "2"]
    assert {"LLAMA_ARG_ALIAS", "HF_TOKEN"} < set(told.facts["environment"])
    assert told.facts["limits"]["memory_bytes"] == 1 << 30
    assert told.facts["ports"][0]["container"] == "8080/tcp"
    assert (told.facts["mounts"][0]["destination"], told.facts["mounts"][0]["mode"]) == ("/models", "ro")
    assert told.facts["networks"] == ["bridge"]
    assert sum(server["threads"].values()) > 2
    assert server["waits_in"] == place_shown(containers, server["pid"])
    assert not told.is_detached
    assert SECRET not in json.dumps([told.facts, told.processes])


async def test_a_running_container_that_was_disconnected_is_told_to_be_detached(containers: DockerBench) -> None:
    network = containers.client.networks.create(f"describe-{uuid.uuid4().hex[:8]}")
    try:
        name = containers.make(OBEYS, network_mode=network.name)
        await start(containers, name)
        before = await containers.engine.describe(name)
        network.disconnect(name)

        after = await containers.engine.describe(name)

        assert (before.is_detached, after.is_detached) == (False, True)
        assert before.facts["networks"] == [network.name]
        containers.remove(name)
    finally:
        network.remove()


async def test_a_container_that_was_made_for_no_network_is_not_detached(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    await start(containers, name)

    assert not (await containers.engine.describe(name)).is_detached


async def test_a_container_that_its_engine_restarts_again_and_again_can_be_described(containers: DockerBench) -> None:
    name = containers.make(EXITS, restart_policy={"Name": "always"})
    await containers.engine.start(name)

    async def was_restarted() -> bool:
        return int((await containers.engine.describe(name)).facts["restarts_by_engine"]) >= 3

    assert await become(f"{name} was restarted", was_restarted)


async def test_of_a_programs_environment_the_names_are_told(programs: ProcessBench) -> None:
    command = ("llama-server", "--port", "8091")
    name = programs.add(Program(command=command, environment={"HF_TOKEN": SECRET}, cwd=Path("/")))

    told = await programs.engine.describe(name)

    assert told.facts == {
        "engine": "process",
        "state": "never started",
        "command": ["llama-server", "--port", "8091"],
        "working_dir": "/",
        "environment": ["HF_TOKEN"],
    }


async def test_no_engine_has_nothing_to_tell() -> None:
    assert await NoEngine().describe("router") == Description()
    assert await NoEngine().circumstances("router") == {}


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[DockerEngine]:
    """An engine that takes connections and leaves it at that."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        listener.listen(100)
        engine = DockerEngine(host=f"unix://{tmp_path}/docker.sock", timeout_s=TIMEOUT_S, workers=2)
        yield engine
        await engine.close()


async def test_an_engine_that_hangs_is_waited_for_no_longer_than_told(silent: DockerEngine) -> None:
    began = time.monotonic()

    with pytest.raises(EngineUnreachable, match="describe general"):
        await silent.describe("general")
    with pytest.raises(EngineUnreachable, match="general depends on"):
        await silent.circumstances("general")

    assert time.monotonic() - began < 2 * TIMEOUT_S + 0.6


async def test_an_engine_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    engine = DockerEngine(host=f"unix://{tmp_path}/no.sock", timeout_s=TIMEOUT_S, workers=1)

    with pytest.raises(EngineUnreachable, match="no such socket"):
        await engine.describe("general")
    with pytest.raises(EngineUnreachable, match="no such socket"):
        await engine.circumstances("general")

    await engine.close()
