"""What this host knows of a target's processes: whether they wait for a disk, what they do on a GPU and hold of it.

Asks the kernel and the GPU driver, in threads that a driver may keep for ever; decides nothing.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from loguru import logger

from supervisor.own_thread import OwnThread
from supervisor.probes.base import GpuMemory, HostWork
from supervisor.probes.kernel import PROC, Family, look
from supervisor.probes.nvml import Gpus, GpuWork
from supervisor.probes.vram import still_held

T = TypeVar("T")

LIMIT_S = 1.0  # a healthy driver answers within milliseconds; one whose GPU fell off the bus, never
NVIDIA_FILES = ("/dev/nvidia", "/dev/dxg")  # the latter is how Windows lends its own


class Host:
    """Asks about processes by the numbers that an engine gives; one for all targets."""

    def __init__(
        self,
        *,
        gpus: Gpus | None = None,
        proc: Path = PROC,
        kernel_limit_s: float = LIMIT_S,
        driver_limit_s: float = LIMIT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nobody yet."""
        self._gpus = gpus or Gpus()
        self._proc = proc
        self._kernel_limit_s = kernel_limit_s
        self._driver_limit_s = driver_limit_s
        self._monotonic = monotonic
        self._kernel_thread = OwnThread("host-kernel")
        self._driver_thread = OwnThread("host-gpu")
        self._driver_asked_at: float | None = None  # None: it owes us no answer
        self._is_silent = False

    async def work(self, pid: int, *, may_have_gpu: bool = True) -> HostWork:
        """Return what `pid` and its children did since the last question; nothing where we do not see such a process.

        At most both limits pass. What nobody can tell is told as such, and never as idleness.
        """
        try:
            async with asyncio.timeout(self._kernel_limit_s):
                family = await self._kernel_thread.do(partial(look, pid, may_have_gpu=may_have_gpu, proc=self._proc))
        except TimeoutError:  # ours is the fault, not the target's
            return HostWork(gpu_is_unknown=True)
        if not family.pids:
            return HostWork()
        gpu = await self._gpu_work(pid, family)
        return HostWork(gpu_share=gpu.share, gpu_is_unknown=gpu.is_unknown, waits_for_disk=family.waits_for_disk)

    async def memory(self) -> tuple[GpuMemory, ...] | None:
        """Return the memory of this host's GPUs; None where nobody can be asked, or the driver does not answer."""
        if self._is_stuck():
            return None
        return await self._ask_driver(partial(self._gpus.memory, proc=self._proc))

    async def given_back(self, pids: frozenset[int], *, within_s: float, poll_s: float = 0.25) -> tuple[GpuMemory, ...]:
        """Wait until none of `pids`, which have ended, holds memory of a GPU, nor any process that is gone.

        Return the GPUs on which one does after `within_s` (and one more question to the driver), as they were last
        seen. There are none where all was given back, and none where nobody can tell: `memory` is then None, or does
        not know the holders.
        """
        until = self._monotonic() + within_s
        held: tuple[GpuMemory, ...] = ()
        while True:
            gpus = await self.memory()
            if gpus is None and self._gpus.is_absent:
                return ()
            if gpus is not None and not (held := still_held(gpus, pids=pids)):
                return ()
            if (left_s := until - self._monotonic()) <= 0:
                return held
            await asyncio.sleep(min(poll_s, left_s))

    def close(self) -> None:
        """Let the threads go; one that a driver holds is left to it."""
        self._kernel_thread.close()
        self._driver_thread.close()

    async def _gpu_work(self, pid: int, family: Family) -> GpuWork:
        nobody = self._gpus.is_absent or self._is_stuck()
        gpu = None if nobody else await self._ask_driver(partial(self._gpus.work, pid, family.pids))
        if gpu is None:
            return GpuWork(is_unknown=bool(family.gpu_files) or self._gpus.was_on(pid))
        if gpu.share is None and any(not file.startswith(NVIDIA_FILES) for file in family.gpu_files):
            return GpuWork(is_unknown=True)  # on a GPU that is none of this driver's
        return gpu

    async def _ask_driver(self, question: Callable[[], T | None]) -> T | None:
        """Ask in our turn; None where nobody can be asked, or none answers in time."""
        try:
            async with asyncio.timeout(self._driver_limit_s):
                answer = await self._driver_thread.do(partial(self._ask, question))
        except TimeoutError:
            if not self._is_silent:
                logger.warning(
                    "gpu: the driver has not answered for {:g}s; nobody is judged by it", self._driver_limit_s
                )
            self._is_silent = True
            return None
        if self._is_silent:
            logger.info("gpu: the driver answers again")
        self._is_silent = False
        return answer

    def _ask(self, question: Callable[[], T]) -> T:
        self._driver_asked_at = self._monotonic()
        try:
            return question()
        finally:
            self._driver_asked_at = None

    def _is_stuck(self) -> bool:
        """Whether a question is under way that ought to have been answered: no second one is put behind it."""
        asked_at = self._driver_asked_at
        return asked_at is not None and self._monotonic() - asked_at >= self._driver_limit_s
