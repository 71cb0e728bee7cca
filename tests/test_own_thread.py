"""The thread for calls that may hang."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.own_thread import OwnThread

ENOUGH_S = 10.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hanging call waits for, opened at the latest at the end."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_what_is_done_there_comes_back_one_after_the_other_from_one_thread() -> None:
    thread, order = OwnThread("own"), []

    def note(number: int) -> int:
        order.append(number)
        return threading.get_ident()

    idents = await asyncio.gather(*(thread.do(lambda number=number: note(number)) for number in range(5)))  # type: ignore[misc]

    thread.close()
    assert order == [0, 1, 2, 3, 4]
    assert len(set(idents)) == 1
    assert idents[0] != threading.get_ident()


async def test_what_goes_wrong_there_comes_back_too_and_the_next_call_is_served() -> None:
    thread = OwnThread("own")

    with pytest.raises(ZeroDivisionError):
        await thread.do(lambda: 1 // 0)
    after = await thread.do(lambda: "served")

    thread.close()
    assert after == "served"


async def test_a_call_given_up_before_its_turn_is_never_begun(gate: threading.Event) -> None:
    thread, begun = OwnThread("own"), []
    hanging = asyncio.create_task(thread.do(gate.wait))
    await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await thread.do(lambda: begun.append("given up"))
    gate.set()
    await hanging
    await thread.do(lambda: begun.append("wanted"))

    thread.close()
    assert begun == ["wanted"]


async def test_nothing_piles_up_behind_a_call_that_hangs(gate: threading.Event) -> None:
    thread, kept = OwnThread("own"), weakref.WeakSet[threading.Event]()
    hanging = asyncio.create_task(thread.do(gate.wait))
    await asyncio.sleep(0)

    async def give_up() -> None:
        wanted = threading.Event()
        kept.add(wanted)
        async with asyncio.timeout(0):
            await thread.do(wanted.set)

    await asyncio.gather(*(give_up() for _ in range(100)), return_exceptions=True)
    await asyncio.sleep(0.01)  # the loop lets go of what it held
    gc.collect()
    left = len(kept)

    gate.set()
    await hanging
    thread.close()
    assert left == 0


async def test_nothing_more_is_taken_while_a_call_is_overdue_and_everything_is_once_it_is_over(
    gate: threading.Event,
) -> None:
    thread, begun = OwnThread("own", overdue_after_s=0.1), []
    hanging = asyncio.create_task(thread.do(gate.wait))
    await asyncio.sleep(0.2)

    with pytest.raises(TimeoutError, match=r"not tried: an earlier call \(own\) has hung") as raised:
        async with asyncio.timeout(0.01):
            await thread.do(lambda: begun.append("too late"))
    gate.set()
    await hanging
    await thread.do(lambda: begun.append("wanted"))

    thread.close()
    assert raised.value.strerror  # as any other error of the disk has
    assert begun == ["wanted"]


async def test_a_call_that_was_late_does_not_make_the_next_one_late(gate: threading.Event) -> None:
    thread = OwnThread("own", overdue_after_s=0.05)
    threading.Timer(0.1, gate.set).start()

    for _ in range(20):
        assert await thread.do(gate.wait)

    thread.close()


async def test_closing_waits_for_what_was_given_and_for_the_last_word(gate: threading.Event) -> None:
    thread, done = OwnThread("own"), []
    hanging = asyncio.create_task(thread.do(gate.wait))
    await asyncio.sleep(0)
    threading.Timer(0.05, gate.set).start()

    thread.close(last=lambda: done.append("last"), wait_s=ENOUGH_S)

    assert done == ["last"]
    assert await hanging


async def test_closing_waits_no_longer_than_it_was_told_to(gate: threading.Event) -> None:
    thread = OwnThread("own")
    hanging = asyncio.create_task(thread.do(gate.wait))
    await asyncio.sleep(0)

    began = time.monotonic()
    thread.close(wait_s=0.1)
    took_s = time.monotonic() - began

    assert 0.1 <= took_s < 2
    gate.set()
    assert await hanging


HANGING = """
import asyncio, sys
from supervisor.own_thread import OwnThread

async def main() -> None:
    thread = OwnThread("hangs")
    try:
        async with asyncio.timeout(0.1):
            await thread.do(lambda: open(sys.argv[1], "wb"))
    except TimeoutError:
        print("given up")
    thread.close(wait_s=0.1)

asyncio.run(main())
print("ended")
"""


def test_a_call_that_hangs_does_not_keep_the_program_from_ending(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it for writing waits for a reader
    command = [sys.executable, "-c", HANGING, str(tmp_path / "pipe")]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "given up\nended\n", "")
