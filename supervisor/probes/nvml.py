"""What NVIDIA's driver tells of its GPUs and who is on them. Blocks, perhaps for ever: to be asked in its own thread.

The driver knows processes by their numbers on the host, those in containers too. A supervisor that sees other numbers
(in a container without the host's) finds nobody.
"""

import importlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from supervisor.probes.base import GpuMemory
from supervisor.probes.kernel import PROC
from supervisor.probes.vram import holders

RENEW_EVERY_S = 300.0  # a driver may be loaded later, and a GPU may be reset
# The driver takes a sample of each process every sixth of a second to every second: a shorter look back may miss one.
SAMPLED_EVERY_S = 1.0
MOST_REMEMBERED = 1024
WHOLE = 100  # the driver counts in percent


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuWork:
    """What processes did on GPUs: `share` of one GPU's time, None where they are on none."""

    share: float | None = None
    is_unknown: bool = False  # of one GPU at least nobody can tell what they do there


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    at: float  # wall time
    devices: frozenset[int]  # that they were on


def library() -> Any:
    """Return NVIDIA's own bindings. They are large and rarely needed, and their C library is loaded later still."""
    return importlib.import_module("pynvml")


class Gpus:
    """Asks the driver about processes, and goes without where there is none."""

    def __init__(
        self,
        *,
        load: Callable[[], Any] = library,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Touch nothing yet. The driver stamps its samples with wall time, hence `clock`."""
        self._load = load
        self._monotonic = monotonic
        self._clock = clock
        self._nvml: Any = None
        self._devices: dict[int, Any] = {}
        self._lost: frozenset[int] = frozenset()  # of which not even a handle can be had
        self._renew_at = -float("inf")
        self._complaints: set[str] = set()
        self._asked: dict[int, _Asked] = {}

    @property
    def is_absent(self) -> bool:
        """Whether there is nobody to ask, and no reason to look again yet."""
        return not self._devices and self._monotonic() < self._renew_at

    def was_on(self, pid: int) -> bool:
        """Return whether the family of `pid` was on a GPU when last asked about; asks nobody."""
        asked = self._asked.get(pid)
        return asked is not None and bool(asked.devices)

    def work(self, pid: int, family: frozenset[int]) -> GpuWork | None:
        """Return what `family`, that of `pid`, did on GPUs since the last question about it; None: nobody to ask."""
        self._renew()
        if not self._devices:
            return None
        now = self._clock()
        before = self._asked.get(pid, _Asked(at=now, devices=frozenset()))
        works: list[GpuWork] = []
        on: set[int] = set()
        for index, device in self._devices.items():
            try:
                users = self._users(device)
                if users is None:  # idle is idle, whoever is on it
                    works.append(GpuWork(is_unknown=self._rate(device) != 0))
                elif users.keys() & family:
                    on.add(index)
                    works.append(self._work_on(device, users, family, since=before.at - SAMPLED_EVERY_S))
            except self._nvml.NVMLError as error:
                self._complain(f"GPU {index} cannot be asked: {error}", level="WARNING")
                if index in on | before.devices:
                    on.add(index)
                    works.append(GpuWork(is_unknown=True))
        self._remember(pid, _Asked(at=now, devices=frozenset(on)))
        shares = [work.share for work in works if work.share is not None]
        share = min(1.0, sum(shares)) if shares else None
        return GpuWork(share=share, is_unknown=any(work.is_unknown for work in works))

    def memory(self, *, proc: Path = PROC) -> tuple[GpuMemory, ...] | None:
        """Return the memory of each GPU that tells, and each that is lost; None: nobody to ask."""
        self._renew()
        if not self._devices and not self._lost:
            return None
        found = [GpuMemory(index=index, is_lost=True) for index in self._lost]
        for index, device in self._devices.items():
            try:
                found.append(self._memory_of(index, device, proc=proc))
            except self._nvml.NVMLError_NotSupported:  # its memory is the machine's own
                continue
            except self._not_told() as error:
                self._say_once(f"GPU {index} does not tell of its memory: {error}", level="WARNING")
            except self._nvml.NVMLError as error:
                self._complain(f"GPU {index} cannot be asked: {error}", level="WARNING")
                if isinstance(error, self._nvml.NVMLError_GpuIsLost):
                    found.append(GpuMemory(index=index, is_lost=True))
        return tuple(sorted(found, key=lambda gpu: gpu.index))

    def _memory_of(self, index: int, device: Any, *, proc: Path) -> GpuMemory:
        nvml = self._nvml
        memory = nvml.nvmlDeviceGetMemoryInfo(device)
        users = self._users(device)
        return GpuMemory(
            index=index,
            uuid=self._text(nvml.nvmlDeviceGetUUID, device),
            name=self._text(nvml.nvmlDeviceGetName, device),
            used_bytes=memory.used,
            total_bytes=memory.total,
            holders=holders(users or {}, proc=proc),
            holders_are_known=users is not None,
        )

    def _text(self, ask: Callable[[Any], str], device: Any) -> str:
        try:
            return ask(device)
        except self._not_told():
            return ""

    def _work_on(self, device: Any, users: Iterable[int], family: frozenset[int], *, since: float) -> GpuWork:
        """Return what `family`, which is among the users of a GPU, did there."""
        samples = self._samples(device, since=since)
        ours = [share for pid, share in samples.items() if pid in family]
        if ours:
            return GpuWork(share=sum(ours))
        # No sample of ours: idle, or a driver that does not tell who worked, or not this soon.
        rate = self._rate(device)
        if rate is not None and (rate == 0 or family.issuperset(users)):
            return GpuWork(share=rate)
        if samples:  # it did tell, of others
            return GpuWork(share=0.0)
        return GpuWork(is_unknown=True)

    def _users(self, device: Any) -> dict[int, int | None] | None:
        """Return the processes on a GPU, whatever they use it by, and the bytes that each holds, None where not told.

        None instead of all of it where the driver does not tell (WSL, MIG).
        """
        nvml = self._nvml
        try:
            users = _held(nvml.nvmlDeviceGetComputeRunningProcesses(device))
        except self._not_told():
            return None
        for ask in (nvml.nvmlDeviceGetGraphicsRunningProcesses, nvml.nvmlDeviceGetMPSComputeRunningProcesses):
            try:
                users = _held(ask(device)) | users  # who is on two lists holds the same by both
            except self._not_told():
                continue
        return users

    def _samples(self, device: Any, *, since: float) -> dict[int, float]:
        """Return the share of each process that a GPU worked for; the driver tells of nobody where it worked for none.

        Its list may hold old samples and impossible ones (nvtop, issue 110).
        """
        since_us = max(0, int(since * 1e6))
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(device, since_us)
        except (self._nvml.NVMLError_NotFound, *self._not_told()):
            return {}
        shares: dict[int, float] = {}
        for each in samples:
            if each.timeStamp > since_us and each.smUtil <= WHOLE:
                shares[each.pid] = max(shares.get(each.pid, 0.0), each.smUtil / WHOLE)
        return shares

    def _rate(self, device: Any) -> float | None:
        """Return the share of the last moments in which a GPU worked, for anybody; None where it does not tell."""
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(device).gpu) / WHOLE
        except self._not_told():
            return None

    def _not_told(self) -> tuple[type[Exception], ...]:
        """Return how the driver says that it never tells, as against that something is wrong with it."""
        nvml = self._nvml
        return (
            nvml.NVMLError_NotSupported,
            nvml.NVMLError_NoPermission,
            nvml.NVMLError_FunctionNotFound,
            nvml.NVMLLibraryMismatchError,  # what the bindings make of the former; no NVMLError
        )

    def _renew(self) -> None:
        """Find the GPUs, the first time, and again where none was found or one failed since, but not often."""
        if self._monotonic() < self._renew_at:
            return
        self._renew_at = self._monotonic() + RENEW_EVERY_S
        if self._nvml is None:
            try:
                self._nvml = self._load()
            except ImportError as error:
                self._complain(f"no GPU to see: {error}", level="DEBUG")
                return
        try:
            if self._devices or self._lost:
                self._devices, self._lost = {}, frozenset()
                self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            logger.debug("gpu: the driver cannot be let go; asking it anew all the same")
        self._find()

    def _find(self) -> None:
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            self._complain(f"no GPU to see: {error}", level="DEBUG")
            return
        failed = False
        for index in range(count):
            try:
                self._devices[index] = nvml.nvmlDeviceGetHandleByIndex(index)
            except nvml.NVMLError as error:
                failed = True
                if isinstance(error, nvml.NVMLError_GpuIsLost):
                    self._lost |= {index}
                self._complain(f"GPU {index} cannot be asked: {error}", level="DEBUG")
        if self._devices and not failed:
            self._renew_at = float("inf")
            self._complaints.clear()

    def _complain(self, what: str, *, level: str) -> None:
        self._renew_at = min(self._renew_at, self._monotonic() + RENEW_EVERY_S)
        self._say_once(what, level=level)

    def _say_once(self, what: str, *, level: str) -> None:
        if what not in self._complaints:  # once, not every second
            logger.log(level, "gpu: {}", what)
            self._complaints.add(what)

    def _remember(self, pid: int, asked: _Asked) -> None:
        self._asked.pop(pid, None)  # so that the order is that of the questions
        self._asked[pid] = asked
        while len(self._asked) > MOST_REMEMBERED:
            del self._asked[next(iter(self._asked))]  # the one that was asked about longest ago


def _held(processes: Iterable[Any]) -> dict[int, int | None]:
    """Return the bytes that each process holds; one on several parts of a GPU (MIG) is listed once for each."""
    held: dict[int, int | None] = {}
    for each in processes:
        before, more = held.get(each.pid), each.usedGpuMemory
        held[each.pid] = more if before is None else before + (more or 0)
    return held
