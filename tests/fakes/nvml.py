"""NVIDIA's bindings as far as we use them: same names, same shapes, and GPUs that do as they are told."""

from collections.abc import Iterable
from dataclasses import dataclass, field


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
    """A process on a GPU."""

    pid: int


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


Told = NVMLError | NVMLLibraryMismatchError


@dataclass
class Gpu:
    """A GPU: who is on it and what it did, or why it does not tell."""

    compute: list[int] | Told = field(default_factory=list)
    graphics: list[int] | Told = field(default_factory=list)
    mps: list[int] | Told = field(default_factory=list)
    samples: list[Sample] | Told = field(default_factory=list)
    gpu: int | Told = 0

    def break_down(self, error: NVMLError) -> None:
        """Answer every question with `error`."""
        self.compute = self.graphics = self.mps = self.samples = self.gpu = error


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
        return self.gpus[index]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Gpu) -> list[User]:  # noqa: N802
        """Return who computes on it."""
        return _users(handle.compute)

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Gpu) -> list[User]:  # noqa: N802
        """Return who draws on it; Vulkan counts as that."""
        return _users(handle.graphics)

    def nvmlDeviceGetMPSComputeRunningProcesses(self, handle: Gpu) -> list[User]:  # noqa: N802
        """Return who shares it by MPS."""
        return _users(handle.mps)

    def nvmlDeviceGetProcessUtilization(self, handle: Gpu, timeStamp: int) -> list[Sample]:  # noqa: N802, N803
        """Return the samples since a moment; there being none is an error, as in the real one."""
        self.asked_since.append(timeStamp)
        if isinstance(handle.samples, Exception):
            raise handle.samples
        if not handle.samples:
            raise NVMLError_NotFound
        return handle.samples

    def nvmlDeviceGetUtilizationRates(self, handle: Gpu) -> Utilization:  # noqa: N802
        """Return what it did for everybody."""
        if isinstance(handle.gpu, Exception):
            raise handle.gpu
        return Utilization(gpu=handle.gpu)


def _users(told: Iterable[int] | Told) -> list[User]:
    if isinstance(told, Exception):
        raise told
    return [User(pid=pid) for pid in told]
