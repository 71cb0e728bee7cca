"""What the client does in a coroutine: the event loop goes on, whatever the supervisor does."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supervisor.client import Choice
from tests.fakes.clocks import Clocks
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import document, entry, out, publish
from tests.fakes.ear import wait_until
from tests.fakes.upstream import Upstream, hangs_up, silent

QUICK_S = 0.5
ENOUGH_S = 5.0


@pytest.fixture
def daemon(clocks: Clocks) -> Iterator[FakeDaemon]:
    with FakeDaemon(liveness=document(entry("code"), now_s=clocks.wall_s), now=clocks.wall) as daemon:
        yield daemon


async def longest_stall_s(until: asyncio.Task[Choice]) -> float:
    """Return how long the loop stood still at the longest."""
    longest_s, last = 0.0, time.monotonic()
    while not until.done():
        await asyncio.sleep(0.001)
        longest_s, last = max(longest_s, time.monotonic() - last), time.monotonic()
    return longest_s


async def test_a_coroutine_fetches_what_is_due_and_nothing_else(daemon: FakeDaemon, clocks: Clocks) -> None:
    liveness = clocks.client(daemon.url)
    assert (await liveness.pick_async("code")).backend is not None
    assert len(daemon.asked) == 1

    daemon.liveness = document(out("code"), now_s=clocks.wall_s, revision=2)
    clocks.pass_s(1.0)

    assert (await liveness.pick_async("code")).refuse
    assert (await liveness.snapshot_async()).retry_after("code") == 12.0
    assert len(daemon.asked) == 2


async def test_a_file_that_changed_is_read(tmp_path: Path, clocks: Clocks) -> None:
    path = tmp_path / "liveness.json"
    publish(path, document(entry("code"), now_s=clocks.wall_s))
    liveness = clocks.client(path)

    publish(path, document(out("code"), now_s=clocks.wall_s, revision=2))

    assert (await liveness.pick_async("code")).refuse


async def test_the_loop_goes_on_while_a_silent_supervisor_is_asked_and_so_does_everybody_else(clocks: Clocks) -> None:
    with Upstream(hangs_up) as upstream:
        liveness = clocks.client(upstream.url, timeout_s=QUICK_S)
        upstream.behave = silent
        clocks.pass_s(60.0)
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))  # and the first will have it

        first = asyncio.create_task(liveness.pick_async("code"))
        with ThreadPoolExecutor(1) as aside:
            await loop.run_in_executor(aside, wait_until, lambda: len(upstream.connections) == 2)
        began = time.monotonic()
        others = [await liveness.pick_async("code") for _ in range(100)]
        others_took_s = time.monotonic() - began
        stall_s = await longest_stall_s(first)

    assert not first.result().known
    assert not any(choice.known for choice in others)
    assert others_took_s < QUICK_S / 2
    assert stall_s < QUICK_S


async def test_where_all_threads_are_taken_nobody_waits_longer_than_for_the_supervisor(
    daemon: FakeDaemon, clocks: Clocks
) -> None:
    """A router may have given them all to requests that take minutes."""
    liveness = clocks.client(daemon.url, timeout_s=QUICK_S)
    clocks.pass_s(1.0)
    over = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    taken = asyncio.create_task(asyncio.to_thread(over.wait, ENOUGH_S))
    await asyncio.sleep(0)

    began = time.monotonic()
    choice = await liveness.pick_async("code")
    took_s = time.monotonic() - began
    over.set()
    await taken

    assert choice.known
    assert took_s < ENOUGH_S / 2
