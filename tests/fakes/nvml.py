"""NVIDIA's bindings as far as we use them: same names, same shapes, and GPUs that do as they are told."""

from collections.abc import Callable, Mapping
from ctypes import POINTER, c_void_p, cast
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")
GIB = 1024**3
NOT_AVAILABLE = 2**64 - 1  # what their C library says for bytes that it does not know


class NVMLError(Exception):
    """Something is wrong with the driver."""


class NVMLError_LibraryNotFound(NVMLError): ...  # noqa: N801 - their names, as all below


class NVMLError_DriverNotLoaded(NVMLError): ...  # noqa: N801


class NVMLError_Uninitialized(NVMLError): ...  # noqa: N801


class NVMLError_GpuIsLost(NVMLError): ...  # noqa: N801


class NVMLError_ResetRequired(NVMLError): ...  # noqa: N801


class NVMLError_Unknown(NVMLError): ...  # noqa: N801


class NVMLError_NotFound(NVMLError): ...  # noqa: N801


class NVMLError_NotSupported(NVMLError): ...  # noqa: N801


class NVMLError_NoPermission(NVMLError): ...  # noqa: N801


class NVMLError_FunctionNotFound(NVMLError): ...  # noqa: N801


class NVMLLibraryMismatchError(Exception):
    """The driver is older than the bindings."""


@dataclass(frozen=True)
class User:
    """A process on a GPU, and the bytes that it holds there; None where the driver does not tell."""

    pid: int
    usedGpuMemory: int | None = None  # noqa: N815 - their name


@dataclass(frozen=True)
class Sample:
    """What a GPU did for a process; microseconds since the epoch, and percent."""

    pid: int
    timeStamp: int  # noqa: N815 - their name
    smUtil: int  # noqa: N815


@dataclass(frozen=True)
class Utilization:
    """What a GPU did for all of them, in percent."""

    gpu: int


@dataclass(frozen=True)
class Memory:
    """A GPU's memory, in bytes."""

    total: int
    used: int


Told = NVMLError | NVMLLibraryMismatchError


@dataclass
class Gpu:
    """A GPU: who is on it, what it did and what they hold of it, or why it does not tell.

    `held` has the bytes by process; `handle` is why not even a handle of it can be had.
    """

    compute: list[int] | Told = field(default_factory=list)
    graphics: list[int] | Told = field(default_factory=list)
    mps: list[int] | Told = field(default_factory=list)
    samples: list[Sample] | Told = field(default_factory=list)
    gpu: int | Told = 0
    memory: Memory | Told = Memory(total=12 * GIB, used=0)
    held: dict[int, int] = field(default_factory=dict)
    uuid: str | Told = "GPU-5f0c4a8e"
    name: str | Told = "NVIDIA GeForce RTX 3060"
    handle: NVMLError | None = None

    def break_down(self, error: NVMLError) -> None:
        """Answer every question with `error`."""
        self.compute = self.graphics = self.mps = self.samples = self.gpu = error
        self.memory = self.uuid = self.name = error


class FakeNvml:
    """The module; it records what it was asked. `refusal` is why it cannot begin."""

    NVMLError = NVMLError
    NVMLError_LibraryNotFound = NVMLError_LibraryNotFound
    NVMLError_DriverNotLoaded = NVMLError_DriverNotLoaded
    NVMLError_Uninitialized = NVMLError_Uninitialized
    NVMLError_GpuIsLost = NVMLError_GpuIsLost
    NVMLError_ResetRequired = NVMLError_ResetRequired
    NVMLError_Unknown = NVMLError_Unknown
    NVMLError_NotFound = NVMLError_NotFound
    NVMLError_NotSupported = NVMLError_NotSupported
    NVMLError_NoPermission = NVMLError_NoPermission
    NVMLError_FunctionNotFound = NVMLError_FunctionNotFound
    NVMLLibraryMismatchError = NVMLLibraryMismatchError

    def __init__(self, *gpus: Gpu, refusal: Told | None = None) -> None:
        self.gpus = list(gpus)
        self.refusal = refusal
        self.began = 0
        self.ended = 0
        self.asked_since: list[int] = []

    def nvmlInit(self) -> None:  # noqa: N802 - their names, as all below
        """Begin."""
        self.began += 1
        if self.refusal is not None:
            raise self.refusal

    def nvmlShutdown(self) -> None:  # noqa: N802
        """End."""
        self.ended += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """Return how many GPUs there are."""
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:  # noqa: N802
        """Return what stands for a GPU."""
        gpu = self.gpus[index]
        if gpu.handle is not None:
            raise gpu.handle
        return gpu

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Gpu) -> list[User]:  # noqa: N802
        """Return who computes on it."""
        return _users(handle, handle.compute)

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Gpu) -> list[User]:  # noqa: N802
        """Return who draws on it; Vulkan counts as that."""
        return _users(handle, handle.graphics)

    def nvmlDeviceGetMPSComputeRunningProcesses(self, handle: Gpu) -> list[User]:  # noqa: N802
        """Return who shares it by MPS."""
        return _users(handle, handle.mps)

    def nvmlDeviceGetProcessUtilization(self, handle: Gpu, timeStamp: int) -> list[Sample]:  # noqa: N802, N803
        """Return the samples since a moment; there being none is an error, as in the real one."""
        self.asked_since.append(timeStamp)
        if not (samples := _told(handle.samples)):
            raise NVMLError_NotFound
        return samples

    def nvmlDeviceGetUtilizationRates(self, handle: Gpu) -> Utilization:  # noqa: N802
        """Return what it did for everybody."""
        return Utilization(gpu=_told(handle.gpu))

    def nvmlDeviceGetMemoryInfo(self, handle: Gpu, version: int | None = None) -> Memory:  # noqa: ARG002, N802
        """Return how much memory it has, and how much of that is used."""
        return _told(handle.memory)

    def nvmlDeviceGetUUID(self, handle: Gpu) -> str:  # noqa: N802
        """Return by which name it is known for ever."""
        return _told(handle.uuid)

    def nvmlDeviceGetName(self, handle: Gpu) -> str:  # noqa: N802
        """Return of which make it is."""
        return _told(handle.name)


class CLibrary:
    """The driver's C library as the real bindings call it, with the GPUs of a fake behind it.

    It leaves its answers where a pointer says and returns an error's number, which `numbers` has by name. Of an old
    driver, functions whose names hold `lacks` are missing.
    """

    def __init__(self, driver: FakeNvml, *, numbers: Mapping[str, int], lacks: str = "") -> None:
        self._driver = driver
        self._numbers = numbers
        self._lacks = lacks

    def __getattr__(self, name: str) -> Any:
        if self._lacks and self._lacks in name:
            raise AttributeError(name)
        if name.removesuffix("_v3").endswith("RunningProcesses"):
            return partial(self._users, name.removesuffix("_v3"))
        return {
            "nvmlInitWithFlags": lambda _flags: 0,
            "nvmlDeviceGetCount_v2": self._count,
            "nvmlDeviceGetHandleByIndex_v2": self._handle,
            "nvmlDeviceGetMemoryInfo": self._memory,
            "nvmlDeviceGetUUID": partial(self._text, "nvmlDeviceGetUUID"),
            "nvmlDeviceGetName": partial(self._text, "nvmlDeviceGetName"),
        }[name]

    def _count(self, count: Any) -> int:
        count._obj.value = self._driver.nvmlDeviceGetCount()
        return 0

    def _handle(self, index: Any, device: Any) -> int:
        def store(_gpu: Gpu) -> None:
            cast(device, POINTER(c_void_p))[0] = index.value + 1  # any pointer will do but a null one

        return self._answer(lambda: self._driver.nvmlDeviceGetHandleByIndex(index.value), store)

    def _memory(self, device: Any, memory: Any) -> int:
        def store(told: Memory) -> None:
            memory._obj.total, memory._obj.used = told.total, told.used

        return self._answer(lambda: self._driver.nvmlDeviceGetMemoryInfo(self._gpu(device)), store)

    def _text(self, name: str, device: Any, text: Any, _size: Any) -> int:
        def store(told: str) -> None:
            text.value = told.encode()

        return self._answer(lambda: getattr(self._driver, name)(self._gpu(device)), store)

    def _users(self, name: str, device: Any, count: Any, users: Any) -> int:
        """Say that there is too little space for them as long as there is none, as theirs does."""
        told: list[User] = []
        if error := self._answer(lambda: getattr(self._driver, name)(self._gpu(device)), told.extend):
            return error
        count._obj.value = len(told)
        if told and users is None:
            return self._numbers["NVMLError_InsufficientSize"]
        for place, user in zip(users or (), told, strict=False):
            place.pid = user.pid
            place.usedGpuMemory = NOT_AVAILABLE if user.usedGpuMemory is None else user.usedGpuMemory
        return 0

    def _gpu(self, device: Any) -> Gpu:
        return self._driver.gpus[(cast(device, c_void_p).value or 0) - 1]

    def _answer(self, ask: Callable[[], Any], store: Callable[[Any], None]) -> int:
        try:
            store(ask())
        except NVMLError as error:
            return self._numbers[type(error).__name__]
        return 0


def _users(gpu: Gpu, told: list[int] | Told) -> list[User]:
    return [User(pid=pid, usedGpuMemory=gpu.held.get(pid)) for pid in _told(told)]


def _told(told: T | Told) -> T:
    if isinstance(told, Exception):
        raise told
    return told
