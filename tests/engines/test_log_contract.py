"""What every engine promises whoever follows a log: on real containers, units and processes."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest

from supervisor.engines.base import Log, NewLife
from supervisor.errors import TargetMissing
from tests.engines.bench import OBEYS, PATIENCE_S, Bench, ended, start

COUNTS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
count = 0
while True:
    count += 1
    print("line", count, flush=True)
    time.sleep(0.05)
"""
STORM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
time.sleep(0.5)
for count in range(3000):
    print("line", count, "x" * 500)
print("done", flush=True)
while True:
    time.sleep(3600)
"""


class Reader:
    """Reads a log until it has seen what it waits for."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.text = ""

    async def until(self, wanted: str) -> str:
        """Return all that has come, once `wanted` is in it; a new life reads as (new life)."""
        async with asyncio.timeout(PATIENCE_S):
            while wanted not in self.text:
                await self.more()
        return self.text

    async def more(self) -> str:
        """Return all that has come, once there is more of it."""
        piece = await anext(self._log)
        self.text += "(new life)" if isinstance(piece, NewLife) else piece.decode()
        return self.text


@contextlib.asynccontextmanager
async def following(bench: Bench, name: str, *, max_bytes: int = 10_000) -> AsyncIterator[Reader]:
    """Follow a log until the end of the block."""
    async with contextlib.aclosing(bench.engine.follow_log(name, max_bytes=max_bytes)) as log:
        yield Reader(log)


def numbers(text: str) -> list[int]:
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ") and line.count(" ") >= 1]


async def test_what_was_printed_comes_first_and_then_every_line_once(bench: Bench) -> None:
    name = bench.make(COUNTS)
    await start(bench, name)

    async with following(bench, name) as reader:
        await reader.until("line 1\n")
        told = await reader.until("line 40\n")

    assert told.startswith("up\n")
    assert numbers(told)[:40] == list(range(1, 41))


async def test_the_end_of_what_was_printed_is_no_longer_than_asked_for(bench: Bench) -> None:
    name = bench.make("for i in range(5000): print('line', i)")
    await bench.engine.start(name)
    await ended(bench, name)

    async with following(bench, name, max_bytes=100) as reader:
        told = await reader.until("line 4999\n")

    assert len(told) == 100


async def test_a_restart_is_told_between_the_last_words_and_the_first(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)

    async with following(bench, name) as reader:
        await reader.until("up\n")
        await bench.engine.restart(name, grace_s=10)
        told = await reader.until("up\n(new life)up\n")

    assert told == "up\n(new life)up\n"


async def test_one_that_has_crashed_is_followed_into_its_next_life(bench: Bench) -> None:
    name = bench.make(OBEYS)
    await start(bench, name)

    async with following(bench, name) as reader:
        await reader.until("up\n")
        await bench.signal(name, signal.SIGKILL)
        await ended(bench, name)
        await bench.engine.start(name)
        told = await reader.until("up\n(new life)up\n")

    assert told == "up\n(new life)up\n"


async def test_a_storm_is_read_at_the_readers_pace_and_nothing_of_it_is_lost(bench: Bench) -> None:
    """It waits where it is written, and not in our memory."""
    name = bench.make(STORM)
    await start(bench, name)

    async with following(bench, name, max_bytes=0) as reader:
        await reader.more()  # its place in the log
        await bench.engine.restart(name, grace_s=10)
        await asyncio.sleep(0.5)
        told = await reader.until("(new life)")
        while "done\n" not in told.rpartition("up\n")[2]:
            told = await reader.more()

    assert numbers(told.replace("(new life)", "").rpartition("up\n")[2]) == list(range(3000))


async def test_a_missing_target_has_no_log_to_follow(bench: Bench) -> None:
    with pytest.raises(TargetMissing, match="nobody-has-this-name"):
        await anext(bench.engine.follow_log("nobody-has-this-name", max_bytes=10))
