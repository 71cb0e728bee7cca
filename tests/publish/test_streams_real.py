"""`GET /v1/events` of a daemon that runs: its own turns keep the document alive, and its end ends the streams."""

import asyncio
import time
from pathlib import Path

import httpx

from tests.publish.listening import listening
from tests.publish.running import running


async def test_a_running_daemons_turns_extend_the_documents_life_and_its_end_is_told_at_once(
    tmp_path: Path, model: Path
) -> None:
    with running(tmp_path, model) as daemon:
        async with (
            httpx.AsyncClient(base_url=daemon.address, trust_env=False, timeout=30) as client,
            listening(client) as ear,
        ):
            liveness, first = await ear.hear_next("liveness", "fresh")
            second = await ear.until("fresh")
            began = time.monotonic()
            ending = asyncio.create_task(asyncio.to_thread(daemon.stop))
            ended = await ear.has_ended()
            told_s = time.monotonic() - began
            await ending
        code = daemon.wait_end()

    assert liveness.data["epoch"] == first.data["epoch"] == second.data["epoch"]
    assert first.data["expires_at"] < second.data["expires_at"]
    assert ended
    assert told_s < 2.0
    assert code == 0
    assert "Exception" not in daemon.log(), daemon.log()
