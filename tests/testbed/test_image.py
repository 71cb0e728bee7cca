"""The image of the model server."""

import uuid
from pathlib import Path

import docker
import httpx

from testbed.clients import chat
from testbed.container_servers import ContainerServers
from testbed.image import content_hash, ensure_image, tag_as


def test_an_unchanged_image_is_reused(engine: docker.DockerClient, image: str) -> None:
    made = engine.images.get(image).id

    assert ensure_image(engine) == image
    assert engine.images.get(image).id == made


def test_the_tag_names_the_content(image: str) -> None:
    assert image.endswith(content_hash())


def test_the_image_answers_under_another_name_with_an_unchanged_command_line(
    engine: docker.DockerClient, image: str, model: Path
) -> None:
    name = f"testbed-{uuid.uuid4().hex[:8]}"
    tag_as(engine, image, f"{name}/llama.cpp:server")

    try:
        with ContainerServers(engine, f"{name}/llama.cpp:server") as servers:
            url = servers.run(name, model, "-c", "4096", "-np", "1", "--alias", "general", "--jinja", "-ngl", "99")
            alias, said = httpx.get(f"{url}/v1/models").json()["data"][0]["id"], chat(url)
    finally:
        engine.images.remove(f"{name}/llama.cpp:server")

    assert alias == "general"
    assert said


def test_the_image_is_small(engine: docker.DockerClient, image: str) -> None:
    size = engine.images.get(image).attrs["Size"]

    assert size < 200_000_000  # about 65 MB, and two thirds more where `strip` is missing


def test_a_container_stops_at_once_when_healthy_and_only_by_force_when_frozen(
    servers: ContainerServers, model: Path
) -> None:
    healthy, frozen = (f"testbed-{uuid.uuid4().hex[:8]}" for _ in range(2))
    servers.run(healthy, model)
    servers.run(frozen, model)

    servers.container(healthy).stop(timeout=10)
    with servers.freeze(frozen):
        servers.container(frozen).stop(timeout=2)

    assert servers.container(healthy).attrs["State"]["ExitCode"] == 0
    assert servers.container(frozen).attrs["State"]["ExitCode"] == 137
