"""What the stack's tests themselves stand on: finding a Compose, and a base image like the official one."""

from pathlib import Path

import docker
import pytest

from testbed.base_image import ensure_base_image
from testbed.compose import version_of


@pytest.fixture
def stand_in(engine: docker.DockerClient) -> str:
    return ensure_base_image(engine)


def in_container(engine: docker.DockerClient, image: str, *command: str) -> str:
    return bytes(engine.containers.run(image, list(command), remove=True)).decode()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param("v2.26.1", "2.26.1", id="plugin"),
        pytest.param("2.26.1-4", "2.26.1-4", id="debian"),
        pytest.param("5.0.0", "5.0.0", id="newer"),
        pytest.param("1.29.2", None, id="too-old"),
        pytest.param("unknown command", None, id="no-compose-at-all"),
    ],
)
def test_a_compose_will_do_from_version_2_on(tmp_path: Path, said: str, expected: str | None) -> None:
    program = tmp_path / "compose"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)

    assert version_of([str(program)]) == expected


def test_a_compose_that_fails_or_is_missing_will_not_do(tmp_path: Path) -> None:
    failing = tmp_path / "compose"
    failing.write_text("#!/bin/sh\necho 2.26.1\nexit 1\n")
    failing.chmod(0o755)

    assert version_of([str(failing)]) is None
    assert version_of([str(tmp_path / "missing")]) is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_stand_in_is_made_once_and_has_the_official_images_python(
    engine: docker.DockerClient, stand_in: str
) -> None:
    version = in_container(engine, stand_in, "python", "-c", "import sys, venv; print(*sys.version_info[:2])")

    assert version == "3 11\n"
    assert ensure_base_image(engine) == stand_in


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_stand_ins_pip_is_told_of_nothing_that_lies_on_this_machine(
    engine: docker.DockerClient, stand_in: str
) -> None:
    told = in_container(engine, stand_in, "cat", "/etc/pip.conf")

    assert "cert = /etc/ssl/certs/ca-certificates.crt" in told
    assert "file:" not in told
    assert "find-links" not in told
