"""What the host says of a target: real processes, and a driver that is made up, since there may be no GPU here."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from supervisor.probes.base import GpuMemory, HostWork
from supervisor.probes.host import Host
from supervisor.probes.nvml import Gpus
from tests.fakes.nvml import FakeNvml, Gpu, NVMLError_GpuIsLost, NVMLError_LibraryNotFound, Sample, User
from tests.probes.families import Families
from tests.probes.test_kernel import NOBODY, write

SHORT_S = 0.1
PATIENCE_S = 20.0


@pytest.fixture
def families() -> Iterator[Families]:
    with Families() as families:
        yield families


@contextlib.contextmanager
def asking(driver: Any = None, **more: Any) -> Iterator[Host]:
    """A host whose driver is `driver`; the real one without."""
    limits = {"kernel_limit_s": PATIENCE_S, "driver_limit_s": PATIENCE_S}
    host = Host(gpus=Gpus() if driver is None else Gpus(load=lambda: driver), **limits | more)
    try:
        yield host
    finally:
        host.close()


async def until(host: Host, pid: int, expected: HostWork) -> None:
    """Ask until the answer is as expected: on a machine in a hurry a short limit may be over before its time."""
    deadline = time.monotonic() + PATIENCE_S
    while (seen := await host.work(pid)) != expected:
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g}s: {seen}"


def holding(proc: Path, pid: int, file: str) -> int:
    """Make up a process that holds a file open."""
    files = write(proc, pid) / "fd"
    files.mkdir()
    (files / "3").symlink_to(file)
    return pid


class StuckNvml(FakeNvml):
    """A driver that answers nothing until it is let go; with `answers`, only after it gave so many."""

    def __init__(self, *gpus: Gpu, answers: int | None = None) -> None:
        super().__init__(*gpus)
        self.free = threading.Event()
        self.free.set()
        self.questions = 0
        self.answers = answers

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Gpu) -> list[User]:  # noqa: N802 - their name
        """Return who computes on it, when it is free to."""
        if self.questions == self.answers:
            self.free.clear()
        self.questions += 1
        self.free.wait()
        return super().nvmlDeviceGetComputeRunningProcesses(handle)


async def test_a_process_that_sleeps_on_no_gpu_did_nothing(families: Families) -> None:
    pid, *_ = families.of_three()

    with asking() as host:
        assert await host.work(pid) == HostWork()


async def test_a_thread_that_waits_for_a_disk_is_told(families: Families) -> None:
    pid = families.with_a_thread_that_no_signal_reaches()

    with asking() as host:
        await until(host, pid, HostWork(waits_for_disk=True))


async def test_of_a_process_that_we_do_not_see_nothing_is_said() -> None:
    driver = FakeNvml(Gpu(compute=[NOBODY], gpu=50))

    with asking(driver) as host:
        assert await host.work(NOBODY) == HostWork()


async def test_what_a_grandchild_does_on_a_gpu_is_the_targets_work(families: Families) -> None:
    pid, _, grandchild = families.of_three()
    samples = [Sample(pid=grandchild, timeStamp=int(time.time() * 1e6), smUtil=40)]

    with asking(FakeNvml(Gpu(compute=[grandchild], samples=samples, gpu=40))) as host:
        assert await host.work(pid) == HostWork(gpu_share=0.4)


async def test_without_a_driver_nothing_is_said_and_the_log_says_so_once(families: Families) -> None:
    pid, *_ = families.of_three()
    lines: list[str] = []
    sink = logger.add(lines.append, level="DEBUG", format="{level} {message}")
    try:
        with asking(FakeNvml(refusal=NVMLError_LibraryNotFound("no such library"))) as host:
            works = {await host.work(pid) for _ in range(5)}
    finally:
        logger.remove(sink)

    assert works == {HostWork()}
    assert lines == ["DEBUG gpu: no GPU to see: no such library\n"]


@pytest.mark.parametrize("file", ["/dev/nvidia0", "/dev/dxg", "/dev/kfd", "/dev/dri/renderD128"])
async def test_who_holds_a_gpu_that_we_have_no_driver_for_is_unknown(tmp_path: Path, file: str) -> None:
    pid = holding(tmp_path, 7, file)

    with asking(FakeNvml(refusal=NVMLError_LibraryNotFound()), proc=tmp_path) as host:
        assert await host.work(pid) == HostWork(gpu_is_unknown=True)


@pytest.mark.parametrize(
    ("file", "work"),
    [
        pytest.param("/dev/nvidia0", HostWork(), id="the driver would know"),
        pytest.param("/dev/kfd", HostWork(gpu_is_unknown=True), id="of another make"),
    ],
)
async def test_a_driver_speaks_for_its_own_gpus_only(tmp_path: Path, file: str, work: HostWork) -> None:
    pid = holding(tmp_path, 7, file)

    with asking(FakeNvml(Gpu()), proc=tmp_path) as host:
        assert await host.work(pid) == work


async def test_while_a_driver_is_stuck_everybody_is_answered_and_it_is_asked_no_more(families: Families) -> None:
    (pid, *_), (other, *_) = families.of_three(), families.of_three()
    driver = StuckNvml(Gpu(compute=[pid]))
    with asking(driver, driver_limit_s=SHORT_S) as host:
        await until(host, pid, HostWork(gpu_share=0.0))
        await until(host, other, HostWork())
        driver.free.clear()
        asked = driver.questions
        first = await host.work(pid)
        await asyncio.sleep(SHORT_S)

        later = [await host.work(each) for each in (pid, other, pid, other)]

        driver.free.set()
    assert first == HostWork(gpu_is_unknown=True)
    assert later == 2 * [HostWork(gpu_is_unknown=True), HostWork()]
    assert driver.questions == asked + 1


async def test_a_driver_that_comes_round_is_asked_again(families: Families) -> None:
    pid, *_ = families.of_three()
    driver = StuckNvml(Gpu(compute=[pid]))
    with asking(driver, driver_limit_s=SHORT_S) as host:
        await until(host, pid, HostWork(gpu_share=0.0))
        driver.free.clear()
        stuck = await host.work(pid)

        driver.free.set()

        await until(host, pid, HostWork(gpu_share=0.0))
    assert stuck == HostWork(gpu_is_unknown=True)


async def test_a_stuck_driver_does_not_hold_up_the_end(families: Families) -> None:
    pid, *_ = families.of_three()
    driver = StuckNvml(Gpu(compute=[pid]))
    driver.free.clear()
    host = Host(gpus=Gpus(load=lambda: driver), driver_limit_s=SHORT_S)
    await host.work(pid)

    host.close()

    assert not driver.free.is_set()
    driver.free.set()


async def test_many_questions_at_once_are_all_answered(families: Families) -> None:
    pids = families.of_three()

    with asking(FakeNvml(Gpu(compute=list(pids)))) as host:
        works = await asyncio.gather(*(host.work(pid) for pid in pids for _ in range(10)))

    assert set(works) == {HostWork(gpu_share=0.0)}


async def test_our_own_slowness_is_never_taken_for_idleness(families: Families) -> None:
    pid, *_ = families.of_three()

    with asking(kernel_limit_s=0.0) as host:
        assert await host.work(pid) == HostWork(gpu_is_unknown=True)


async def indexes(host: Host, *pids: int, within_s: float) -> list[int]:
    """Return the GPUs that were not given back."""
    return [gpu.index for gpu in await host.given_back(frozenset(pids), within_s=within_s, poll_s=SHORT_S / 10)]


async def test_the_real_driver_tells_of_memory_or_there_is_none() -> None:
    with asking() as host:
        gpus = await host.memory()

    assert gpus is None or all(gpu.used_bytes <= gpu.total_bytes for gpu in gpus)


async def test_a_lost_gpu_is_told_as_such_and_counts_as_given_back() -> None:
    gpu = Gpu(compute=[NOBODY])
    gpu.break_down(NVMLError_GpuIsLost())

    with asking(FakeNvml(gpu)) as host:
        assert await host.memory() == (GpuMemory(index=0, is_lost=True),)
        assert await host.given_back(frozenset({NOBODY}), within_s=PATIENCE_S) == ()


async def test_without_a_driver_there_is_no_memory_to_wait_for() -> None:
    with asking(FakeNvml(refusal=NVMLError_LibraryNotFound())) as host:
        assert await host.memory() is None
        assert await indexes(host, 7, within_s=PATIENCE_S) == []


async def test_memory_is_waited_for_until_it_is_given_back_whatever_others_hold(families: Families) -> None:
    ours, theirs, _ = families.of_three()
    users = [ours, theirs]
    with asking(FakeNvml(Gpu(), Gpu(compute=users))) as host:
        before = await indexes(host, ours, within_s=0.0)
        asyncio.get_running_loop().call_later(SHORT_S, users.remove, ours)

        after = await indexes(host, ours, within_s=PATIENCE_S)

    assert (before, after) == ([1], [])


async def test_memory_that_is_never_given_back_is_told_when_the_time_is_over(families: Families) -> None:
    ours, *_ = families.of_three()
    with asking(FakeNvml(Gpu(compute=[ours]), Gpu())) as host:
        began = time.monotonic()

        held = await indexes(host, ours, within_s=SHORT_S)

    assert held == [0]
    assert time.monotonic() - began >= SHORT_S


async def test_memory_held_for_a_process_that_is_gone_is_not_given_back(tmp_path: Path) -> None:
    for pid, name in ((2, "kthreadd"), (8, "python3")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(name)

    with asking(FakeNvml(Gpu(compute=[8]), Gpu(compute=[7])), proc=tmp_path) as host:
        assert await indexes(host, within_s=SHORT_S) == [1]


async def test_a_driver_that_never_answers_holds_nobody_up_and_claims_nothing(families: Families) -> None:
    ours, *_ = families.of_three()
    driver = StuckNvml(Gpu(compute=[ours]))
    driver.free.clear()
    with asking(driver, driver_limit_s=SHORT_S) as host:
        held = await indexes(host, ours, within_s=2 * SHORT_S)
        told = [await host.memory(), await host.memory()]

        driver.free.set()
    assert (held, told) == ([], [None, None])
    assert driver.questions == 1


async def test_what_a_driver_said_last_counts_once_it_is_stuck(families: Families) -> None:
    ours, *_ = families.of_three()
    driver = StuckNvml(Gpu(compute=[ours]), answers=1)
    with asking(driver, driver_limit_s=5 * SHORT_S) as host:
        held = await indexes(host, ours, within_s=5 * SHORT_S)
        now = await host.memory()

        driver.free.set()
    assert (held, now) == ([0], None)


async def test_a_driver_that_comes_round_is_believed_in_what_was_given_back() -> None:
    driver = StuckNvml(Gpu())
    driver.free.clear()
    with asking(driver, driver_limit_s=SHORT_S) as host:
        began = time.monotonic()
        asyncio.get_running_loop().call_later(3 * SHORT_S, driver.free.set)

        held = await indexes(host, NOBODY, within_s=PATIENCE_S)

    assert held == []
    assert 3 * SHORT_S <= time.monotonic() - began < PATIENCE_S
