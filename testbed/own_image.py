"""The image of our Dockerfile, built on the local stand-in for the official Python image."""

from typing import Final

import docker

from testbed.base_image import ensure_base_image
from testbed.cache import REPOSITORY

TAG: Final = "benchai-testbed/supervisor"


def build(client: docker.DockerClient, tag: str = TAG) -> str:
    """Build it, quickly where nothing has changed since, and return its tag."""
    base = ensure_base_image(client)
    client.images.build(path=str(REPOSITORY), tag=tag, buildargs={"PYTHON_IMAGE": base}, rm=True)
    return tag
