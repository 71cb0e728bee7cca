"""Circumstances differ once somebody has cured a target, and not before: on real containers and real processes."""

import asyncio
import contextlib
import io
import os
import shutil
import socket
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound
from docker.models.networks import Network
from docker.types import Mount

from supervisor.errors import EngineRefused, TargetMissing
from testbed.clients import LOOPBACK, free_port
from testbed.container_servers import ContainerServers
from tests.engines.bench import EXITS, OBEYS, Bench, DockerBench, changed, ended, start, steady

CUT_BYTES = 100_000  # of a model of three times that


@pytest.fixture
def network(containers: DockerBench) -> Iterator[Network]:
    network = containers.client.networks.create(f"circumstances-{uuid.uuid4().hex[:8]}")
    yield network
    for container in containers.client.networks.get(network.id or "").containers:
        network.disconnect(container, force=True)
    network.remove()


@pytest.fixture
def empty_image(containers: DockerBench) -> Iterator[str]:
    """An image of its own with nothing in it, so that it can be taken away."""
    repository, tag = "benchai-testbed/circumstances", uuid.uuid4().hex[:8]
    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w").close()
    containers.client.api.import_image_from_data(archive.getvalue(), repository=repository, tag=tag)
    yield f"{repository}:{tag}"
    with contextlib.suppress(ImageNotFound):
        containers.client.images.remove(f"{repository}:{tag}", force=True)


async def test_they_stay_the_same_before_during_and_after_a_life(bench: Bench) -> None:
    name = bench.make(OBEYS)
    before = await steady(bench, name)
    await start(bench, name)
    during = await steady(bench, name)
    await bench.engine.stop(name, grace_s=10)

    after = await steady(bench, name)

    assert before
    assert changed(before, during) == changed(during, after) == {}


async def test_a_missing_target_stays_missing(bench: Bench) -> None:
    assert list((await steady(bench, "nobody-has-this-name")).values()) == ["missing"]


async def test_a_crash_and_a_restart_change_nothing(bench: Bench) -> None:
    name = bench.make(EXITS)
    before = await steady(bench, name)
    for _ in range(2):
        await bench.engine.restart(name, grace_s=1)
        await ended(bench, name)

    assert changed(before, await steady(bench, name)) == {}


async def test_a_missing_model_that_appears_in_a_container_is_a_change(
    servers: ContainerServers, containers: DockerBench, model: Path, tmp_path: Path
) -> None:
    name, late = f"circumstances-{uuid.uuid4().hex[:8]}", tmp_path / "late.gguf"
    servers.run(name, late, ready=False)
    await ended(containers, name)
    before = await steady(containers, name)

    shutil.copy(model, late)
    whole = await steady(containers, name)
    os.truncate(late, CUT_BYTES)
    cut = await steady(containers, name)
    late.chmod(0o600)

    assert before["/models/late.gguf"] == "missing"
    assert cut["/models/late.gguf"].startswith(f"{CUT_BYTES} bytes, ")
    assert list(changed(before, whole)) == list(changed(whole, cut)) == ["/models/late.gguf"]
    assert list(changed(cut, await steady(containers, name))) == ["/models/late.gguf"]


async def test_a_port_that_is_freed_is_a_change(containers: DockerBench) -> None:
    port = free_port()
    name = containers.make(OBEYS, network_mode="bridge", ports={"80/tcp": (LOOPBACK, port)})
    with socket.create_server((LOOPBACK, port)):
        with pytest.raises(EngineRefused):
            await containers.engine.start(name)
        before = await steady(containers, name)

    after = await steady(containers, name)

    assert changed(before, after)[f"port {port}"] == ("taken", "free")


async def test_a_port_that_another_container_had_is_a_change_and_ones_own_is_none(containers: DockerBench) -> None:
    port = free_port()
    published: dict[str, Any] = {"network_mode": "bridge", "ports": {"80/tcp": (LOOPBACK, port)}}
    other, name = containers.make(OBEYS, **published), containers.make(OBEYS, **published)
    await containers.engine.start(other)
    own, before = await steady(containers, other), await steady(containers, name)

    containers.remove(other)

    assert (own[f"port {port}"], before[f"port {port}"]) == ("its own", "taken")
    assert changed(before, await steady(containers, name)) == {f"port {port}": ("taken", "free")}


async def test_looking_at_a_port_leaves_it_to_the_container(containers: DockerBench) -> None:
    name = containers.make(OBEYS, network_mode="bridge", ports={"80/tcp": (LOOPBACK, free_port())})
    looks = asyncio.create_task(look_at_it_all_the_time(containers, name))

    await containers.engine.start(name)
    looks.cancel()

    await asyncio.gather(looks, return_exceptions=True)
    assert (await containers.engine.inspect(name)).pid


async def look_at_it_all_the_time(containers: DockerBench, name: str) -> None:
    while True:
        await containers.engine.circumstances(name)


async def test_an_image_that_was_removed_and_is_back_is_a_change(containers: DockerBench, empty_image: str) -> None:
    images = containers.client.images
    image_id, saved = images.get(empty_image).id, b"".join(images.get(empty_image).save(named=empty_image))
    name = containers.make_command(["/no/such/program"], image=empty_image)
    before = await steady(containers, name)
    images.remove(empty_image, force=True)
    without = await steady(containers, name)
    images.load(saved)

    after = await steady(containers, name)

    assert changed(before, without) == {"image": (image_id, "missing")}
    assert after == before


async def test_a_container_that_is_made_anew_is_a_change(containers: DockerBench) -> None:
    name = containers.make(OBEYS)
    before = await steady(containers, name)
    containers.remove(name)
    missing = await steady(containers, name)
    containers.make(OBEYS, name=name)

    after = await steady(containers, name)

    assert missing == {"container": "missing"}
    assert list(changed(before, after)) == ["container"]


async def test_a_network_that_is_joined_again_is_a_change(containers: DockerBench, network: Network) -> None:
    name = containers.make(OBEYS, network_mode=network.name)
    await start(containers, name)
    before = await steady(containers, name)
    network.disconnect(name)
    detached = await steady(containers, name)
    network.connect(name)

    after = await steady(containers, name)

    key = f"network {network.name}"
    assert changed(before, detached) == {key: ("there, joined", "there, detached")}
    assert after == before


async def test_a_network_that_is_made_again_is_a_change(containers: DockerBench) -> None:
    own = f"circumstances-{uuid.uuid4().hex[:8]}"
    first = containers.client.networks.create(own)
    name = containers.make(OBEYS, network_mode=own)
    first.remove()
    before = await steady(containers, name)
    second = containers.client.networks.create(own)

    after = await steady(containers, name)

    second.remove()
    assert list(changed(before, after)) == [f"network {own}"]
    assert before[f"network {own}"].startswith("missing")


async def test_a_network_that_was_made_anew_must_be_joined_again(containers: DockerBench) -> None:
    own = f"circumstances-{uuid.uuid4().hex[:8]}"
    first = containers.client.networks.create(own)
    name = containers.make(OBEYS, network_mode=own)
    await start(containers, name)
    await containers.engine.stop(name, grace_s=10)
    first.remove()
    missing = await steady(containers, name)
    second = containers.client.networks.create(own)
    anew = await steady(containers, name)
    with pytest.raises(TargetMissing, match="network"):
        await containers.engine.start(name)
    second.disconnect(name, force=True)
    second.connect(name)

    joined = await steady(containers, name)

    containers.remove(name)
    second.remove()
    words = [told[f"network {own}"] for told in (missing, anew, joined)]
    assert words == ["missing, joined", "there anew, and not joined since", "there, joined"]


async def test_the_container_whose_network_it_shares_is_a_circumstance(containers: DockerBench) -> None:
    owner = containers.make(OBEYS)
    name = containers.make(OBEYS, network_mode=f"container:{owner}")
    before = await steady(containers, name)
    await containers.engine.start(owner)
    during = await steady(containers, name)
    containers.remove(owner)

    after = await steady(containers, name)

    (key,) = changed(before, during)
    assert key.startswith("container ")
    assert (before[key], during[key], after[key]) == ("created", "running", "missing")


async def test_a_mounted_directory_that_is_back_is_a_change(containers: DockerBench, tmp_path: Path) -> None:
    directory = tmp_path / "models"
    directory.mkdir()
    name = containers.make(OBEYS, mounts=[Mount("/models", str(directory), type="bind")])
    directory.rmdir()
    before = await steady(containers, name)
    directory.mkdir()

    assert changed(before, await steady(containers, name)) == {f"mount {directory}": ("missing", "there")}


async def test_more_memory_is_a_change(containers: DockerBench) -> None:
    name = containers.make(OBEYS, mem_limit="64m", memswap_limit="128m")
    before = await steady(containers, name)

    containers.client.containers.get(name).update(mem_limit="96m", memswap_limit="192m")

    assert list(changed(before, await steady(containers, name))) == ["memory"]


async def test_a_device_that_is_not_there_is_a_circumstance(containers: DockerBench) -> None:
    name = containers.make(OBEYS, devices=["/dev/nvidia99:/dev/nvidia99", "/dev/null:/dev/null"])

    told = await steady(containers, name)

    assert (told["device /dev/nvidia99"], told["device /dev/null"]) == ("missing", "there")
