"""How late our own loop is."""

import asyncio
import time

from supervisor.pulse import BEAT_S, Pulse


class Clock:
    """A clock that we turn."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_beats_in_time_is_not_late() -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)

    for _ in range(8):
        clock.now += BEAT_S
        pulse.beat()

    assert pulse.late_s(since=100.0) == 0.0


def test_standing_still_is_remembered_for_who_asks_about_that_time() -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)
    clock.now += 3.0 + BEAT_S
    pulse.beat()
    after = clock.now
    clock.now += BEAT_S
    pulse.beat()

    assert pulse.late_s(since=100.0) == 3.0
    assert pulse.late_s(since=after) == 0.0


def test_a_loop_that_has_not_beaten_yet_is_late_already() -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)

    clock.now += 2.0 + BEAT_S

    assert pulse.late_s(since=101.0) == 2.0


async def test_a_real_loop_that_is_blocked_is_late() -> None:
    pulse = Pulse()
    beating = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    began = time.monotonic()

    time.sleep(1.0)  # noqa: ASYNC251 - the fault that is meant
    await asyncio.sleep(0.01)

    assert pulse.late_s(since=began) >= 0.5
    beating.cancel()
