"""What every benchmark runs on: an engine, our stack of four model servers and the daemon, and facts about it all."""

import contextlib
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import docker
import psutil

import supervisor
from testbed import tiny_model
from testbed.engine import Found, version_of
from testbed.stack import Plan, Stack

PREFIX: Final = "bench-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asks for."""

    runs: int
    peer_runs: int
    seconds: float
    seed: int


@contextlib.contextmanager
def client_of(found: Found) -> Iterator[docker.DockerClient]:
    """Return a client for one thread."""
    with contextlib.closing(found.client()) as client:
        yield client


@contextlib.contextmanager
def our_stack(found: Found, *, models: Mapping[str, Path] | None = None) -> Iterator[Stack]:
    """Start four model servers in containers and our daemon beside them, with default settings."""
    with (
        client_of(found) as client,
        tempfile.TemporaryDirectory(prefix=PREFIX) as folder,
        Stack(
            Path(folder),
            tiny_model.ensure(),
            Plan(prefix=PREFIX, router=None, models=models),
            client=client,
        ) as stack,
    ):
        stack.start_servers()
        stack.start_daemon()
        yield stack


def about(found: Found) -> dict[str, Any]:
    """Return what a reader must know to judge the figures: day, machine, versions; no names, no paths."""
    return {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "benchai-supervisor": supervisor.__version__,
            "python": platform.python_version(),
            "docker engine": version_of(found.host) if found.host else None,
            "llama.cpp (xllamacpp)": metadata.version("xllamacpp"),
        },
    }
