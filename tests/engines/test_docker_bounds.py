"""The bounds on calls into an engine that takes connections and never answers; it takes no Docker to show them."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.engines.docker import DockerEngine
from supervisor.errors import EngineUnreachable

TIMEOUT_S = 0.5

STUCK_DAEMON = """
import asyncio, sys
from supervisor.engines.docker import DockerEngine
from supervisor.errors import EngineUnreachable

async def main():
    engine = DockerEngine(host=sys.argv[1], timeout_s=30, workers=2)
    watch = asyncio.create_task(anext(engine.watch()))
    look = asyncio.create_task(engine.inspect("general"))
    await asyncio.sleep(0.5)
    watch.cancel()
    look.cancel()
    await asyncio.gather(watch, look, return_exceptions=True)
    await engine.close()

asyncio.run(main())
"""


@pytest.fixture
def silent_host(tmp_path: Path) -> Iterator[str]:
    """The address of a socket that takes connections and leaves them at that, as a hung engine's does."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        listener.listen(100)
        yield f"unix://{tmp_path}/docker.sock"


async def refused(engine: DockerEngine, name: str) -> str:
    with pytest.raises(EngineUnreachable) as raised:
        await engine.inspect(name)
    return str(raised.value)


async def test_every_call_ends_in_time(silent_host: str) -> None:
    engine = DockerEngine(host=silent_host, timeout_s=TIMEOUT_S, workers=2)
    began = time.monotonic()

    message = await refused(engine, "general")

    assert time.monotonic() - began < TIMEOUT_S + 0.3
    assert "inspect general" in message
    await engine.close()


async def test_hung_calls_hold_no_more_threads_than_allowed_and_the_rest_is_told_so(silent_host: str) -> None:
    engine = DockerEngine(host=silent_host, timeout_s=TIMEOUT_S, workers=2)
    began = time.monotonic()

    messages = await asyncio.gather(*(refused(engine, f"target-{number}") for number in range(8)))

    assert time.monotonic() - began < TIMEOUT_S + 0.3
    assert sum(thread.name.startswith("docker-call") for thread in threading.enumerate()) <= 2
    assert any("all 2 threads" in message for message in messages)
    await engine.close()


async def test_a_process_ends_although_its_engine_hangs(silent_host: str) -> None:
    began = time.monotonic()

    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", STUCK_DAEMON, silent_host], timeout=20, capture_output=True, check=False
    )

    assert time.monotonic() - began < 10  # its client would have waited for 24 s
    assert (ended.returncode, ended.stderr) == (0, b"")


async def test_closing_ends_the_threads(silent_host: str) -> None:
    engine = DockerEngine(host=silent_host, timeout_s=TIMEOUT_S, workers=2)
    await refused(engine, "general")

    await engine.close()

    deadline = time.monotonic() + 5
    while any(thread.name.startswith("docker-call") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
