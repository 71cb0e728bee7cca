"""Each cause that can be made here, on real servers, containers and programs, read through our own engines."""

import asyncio
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound
from docker.types import DeviceRequest, Mount

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.diagnose import diagnose
from supervisor.core.observations import EngineSeen, Life
from supervisor.core.verdict import Judgement, Verdict
from supervisor.engines.docker import DockerEngine
from supervisor.errors import EngineRefused, EngineUnreachable, SupervisorError, TargetMissing
from testbed.clients import LOOPBACK, free_port
from testbed.container_servers import ContainerServers
from testbed.image import PYTHON, SCRIPTS
from tests.engines.bench import CRASHES, OBEYS, Bench, DockerBench, ProcessBench, become, ended, start

LOG_BYTES = 8192
SETTLED_S = 0.3  # on a loaded machine an engine may tell of an end before it has written the last lines
DOWN = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited")
CUT_BYTES = 100_000  # of a model of three times that


@pytest.fixture
def name() -> str:
    return f"causes-{uuid.uuid4().hex[:8]}"


def harmed(model: Path, copy: Path, *, harm: str) -> None:
    """Copy a model, and do it harm on the way."""
    whole = model.read_bytes()
    match harm:
        case "cut off":
            copy.write_bytes(whole[:CUT_BYTES])
        case "corrupt header":
            copy.write_bytes(whole[:8] + b"\xff" * 64)
        case "no model at all":
            copy.write_bytes(b"no model")
        case "empty":
            copy.touch()
        case _:
            copy.write_bytes(whole)


async def told_of(bench: Bench, name: str, *, engine_error: str = "", is_detached: bool = False) -> Diagnosis:
    """Return what we make of a target as it is now."""
    return diagnose(
        judgement=DOWN,
        engine=await bench.engine.inspect(name),
        engine_error=engine_error,
        log_tail=await bench.engine.log_tail(name, max_bytes=LOG_BYTES),
        is_detached=is_detached,
    )


async def told_at_the_end(bench: Bench, name: str) -> Diagnosis:
    """Return what we make of a target that has ended, once its last words have reached its log."""
    await ended(bench, name)
    before = None
    while before != (now := await bench.engine.log_tail(name, max_bytes=LOG_BYTES)):
        before = now
        await asyncio.sleep(SETTLED_S)
    return await told_of(bench, name)


async def refusal(bench: Bench, name: str) -> str:
    """Start what cannot be started, and return why not."""
    with pytest.raises((EngineRefused, TargetMissing)) as refused:
        await bench.engine.start(name)
    return str(refused.value)


async def test_a_missing_model(servers: ContainerServers, containers: DockerBench, tmp_path: Path, name: str) -> None:
    servers.run(name, tmp_path / "gone.gguf", ready=False)

    told = await told_at_the_end(containers, name)

    assert (told.cause, told.helps_restart) == (Cause.MODEL_MISSING, False)
    assert told.says == "the model file does not exist: /models/gone.gguf"


@pytest.mark.parametrize("harm", ["cut off", "corrupt header", "no model at all", "empty"])
async def test_a_model_that_cannot_be_used(
    servers: ContainerServers, containers: DockerBench, model: Path, tmp_path: Path, name: str, harm: str
) -> None:
    harmed(model, tmp_path / "bad.gguf", harm=harm)
    servers.run(name, tmp_path / "bad.gguf", ready=False)

    told = await told_at_the_end(containers, name)

    assert (told.cause, told.helps_restart) == (Cause.MODEL_CORRUPT, False)
    assert told.says.endswith(": /models/bad.gguf")


async def test_a_bad_flag(servers: ContainerServers, containers: DockerBench, model: Path, name: str) -> None:
    servers.run(name, model, "--no-such-flag", ready=False)

    told = await told_at_the_end(containers, name)

    assert (told.cause, told.helps_restart) == (Cause.BAD_FLAG, False)
    assert told.says == "the server does not know the flag --no-such-flag"


async def test_a_command_that_is_not_in_the_image(containers: DockerBench) -> None:
    name = containers.make_unstartable()

    told = await told_of(containers, name, engine_error=await refusal(containers, name))

    assert (told.cause, told.helps_restart) == (Cause.BAD_FLAG, False)
    assert told.says == "there is no program /no/such/program in its image"
    assert await told_of(containers, name) == told  # the engine keeps its words


async def test_a_port_that_is_taken_inside(
    servers: ContainerServers, containers: DockerBench, model: Path, name: str
) -> None:
    servers.run(name, model)
    command = [PYTHON, f"{SCRIPTS}/llama_server.py", "-m", f"/models/{model.name}"]
    second = containers.make_command(command, network_mode=f"container:{name}", volumes=[f"{model.parent}:/models:ro"])
    await containers.engine.start(second)

    told = await told_at_the_end(containers, second)

    assert (told.cause, told.helps_restart) == (Cause.PORT_TAKEN, False)
    assert "0.0.0.0 port 8080" in told.says


async def test_a_port_that_another_container_has(containers: DockerBench) -> None:
    port = free_port()
    published: dict[str, Any] = {"network_mode": "bridge", "ports": {"80/tcp": (LOOPBACK, port)}}
    await containers.engine.start(containers.make(OBEYS, **published))
    name = containers.make(OBEYS, **published)

    told = await told_of(containers, name, engine_error=await refusal(containers, name))

    assert (told.cause, told.helps_restart) == (Cause.PORT_TAKEN, False)
    assert f"{LOOPBACK}:{port} is taken" in told.says


async def test_too_little_memory(servers: ContainerServers, containers: DockerBench, model: Path, name: str) -> None:
    servers.run(name, model, "-c", "65536", memory="16m", ready=False)

    told = await told_at_the_end(containers, name)

    assert (told.cause, told.signal) == (Cause.OOM_KILLED, "SIGKILL")
    assert "memory" in told.cure


async def test_a_fault_of_its_own(containers: DockerBench) -> None:
    name = containers.make(CRASHES)
    await containers.engine.start(name)

    told = await told_at_the_end(containers, name)

    assert (told.cause, told.says, told.helps_restart) == (Cause.CRASHED, "exited with SIGSEGV (139)", True)


async def test_a_segmentation_fault_of_a_server_at_work(
    servers: ContainerServers, containers: DockerBench, model: Path, name: str
) -> None:
    servers.run(name, model, pid_mode="host")  # the first process of a space of its own is deaf to it
    await containers.signal(name, signal.SIGSEGV)

    told = await told_at_the_end(containers, name)

    assert (told.cause, told.signal) == (Cause.CRASHED, "SIGSEGV")


async def test_a_kill_from_outside(servers: ContainerServers, containers: DockerBench, model: Path, name: str) -> None:
    servers.run(name, model)
    await containers.signal(name, signal.SIGKILL)

    told = await told_at_the_end(containers, name)

    assert (told.cause, told.signal, told.helps_restart) == (Cause.KILLED_FROM_OUTSIDE, "SIGKILL", True)


async def test_a_polite_kill_from_outside(
    servers: ContainerServers, containers: DockerBench, model: Path, name: str
) -> None:
    servers.run(name, model)
    await containers.signal(name, signal.SIGTERM)

    seen = await ended(containers, name)

    assert seen.exit_code == 0
    assert (await told_of(containers, name)).cause is Cause.KILLED_FROM_OUTSIDE


async def test_a_missing_image(containers: DockerBench) -> None:
    with pytest.raises(ImageNotFound) as refused:
        containers.client.containers.create("benchai-testbed/none:gone")

    told = diagnose(judgement=DOWN, engine=EngineSeen(life=Life.MISSING), engine_error=str(refused.value), log_tail="")

    assert (told.cause, told.helps_restart) == (Cause.IMAGE_MISSING, False)
    assert told.says == "there is no image benchai-testbed/none:gone"


async def test_a_network_that_is_gone(containers: DockerBench, name: str) -> None:
    network = containers.client.networks.create(name)
    try:
        target = containers.make(OBEYS, network_mode=name)
    finally:
        network.remove()

    told = await told_of(containers, target, engine_error=await refusal(containers, target))

    assert (told.cause, told.helps_restart) == (Cause.NETWORK_DETACHED, False)
    assert told.says == f"its network {name} does not exist"


async def test_a_running_container_that_was_disconnected(containers: DockerBench, name: str) -> None:
    network = containers.client.networks.create(name)
    try:
        target = containers.make(OBEYS, network_mode=name)
        await start(containers, target)
        network.disconnect(target)
        inspected = containers.client.api.inspect_container(target)

        told = await told_of(containers, target, is_detached=not inspected["NetworkSettings"]["Networks"])

        assert (told.cause, told.helps_restart) == (Cause.NETWORK_DETACHED, False)
    finally:
        network.remove()


async def test_a_network_that_was_another_containers(containers: DockerBench) -> None:
    owner = containers.make(OBEYS)
    await start(containers, owner)
    name = containers.make(OBEYS, network_mode=f"container:{owner}")
    containers.remove(owner)

    told = await told_of(containers, name, engine_error=await refusal(containers, name))

    assert (told.cause, told.helps_restart) == (Cause.NETWORK_DETACHED, False)


async def test_a_mounted_directory_that_is_gone(containers: DockerBench, tmp_path: Path) -> None:
    directory = tmp_path / "models"
    directory.mkdir()
    name = containers.make(OBEYS, mounts=[Mount("/models", str(directory), type="bind")])
    directory.rmdir()

    told = await told_of(containers, name, engine_error=await refusal(containers, name))

    assert (told.cause, told.helps_restart) == (Cause.MODEL_MISSING, False)
    assert str(directory)[:60] in told.says


async def test_a_gpu_that_the_engine_cannot_give(containers: DockerBench) -> None:
    # By a name that no driver has, since there may be GPUs here.
    gpu = DeviceRequest(driver="no-such-driver", count=-1, capabilities=[["gpu"]])
    name = containers.make(OBEYS, device_requests=[gpu])

    told = await told_of(containers, name, engine_error=await refusal(containers, name))

    assert (told.cause, told.helps_restart) == (Cause.GPU_LOST, False)


async def test_a_device_that_is_not_there(containers: DockerBench) -> None:
    name = containers.make(OBEYS, devices=["/dev/nvidia99:/dev/nvidia99"])

    told = await told_of(containers, name, engine_error=await refusal(containers, name))

    assert (told.cause, told.says) == (Cause.GPU_LOST, "there is no /dev/nvidia99")


async def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    engine = DockerEngine(host=f"unix://{tmp_path}/no.sock", timeout_s=5.0, workers=1)
    try:
        with pytest.raises(EngineUnreachable) as unreachable:
            await engine.inspect("general")
    finally:
        await engine.close()

    told = diagnose(judgement=DOWN, engine=None, engine_error=str(unreachable.value), log_tail="")

    assert (told.cause, told.helps_restart) == (Cause.ENGINE_LOST, False)


async def test_a_program_that_crashes(programs: ProcessBench) -> None:
    name = programs.make(CRASHES)
    await programs.engine.start(name)

    told = await told_at_the_end(programs, name)

    assert (told.cause, told.signal) == (Cause.CRASHED, "SIGSEGV")


async def test_a_program_that_is_not_there(programs: ProcessBench) -> None:
    name = programs.make_unstartable()
    with pytest.raises(SupervisorError) as refused:
        await programs.engine.start(name)

    told = await told_of(programs, name, engine_error=str(refused.value))

    assert (told.cause, told.helps_restart) == (Cause.BAD_FLAG, False)
    assert told.says == "its program /no/such/program cannot be run"


async def test_an_earlier_failure_does_not_explain_a_later_crash(
    servers: ContainerServers, containers: DockerBench, model: Path, tmp_path: Path, name: str
) -> None:
    servers.run(name, tmp_path / "late.gguf", ready=False, pid_mode="host")
    await ended(containers, name)
    harmed(model, tmp_path / "late.gguf", harm="none")
    await containers.engine.start(name)

    async def listens() -> bool:
        return "listening" in await containers.engine.log_tail(name, max_bytes=LOG_BYTES)

    await become(f"{name} listens", listens)
    await containers.signal(name, signal.SIGSEGV)

    told = await told_at_the_end(containers, name)

    assert (told.cause, told.signal) == (Cause.CRASHED, "SIGSEGV")
