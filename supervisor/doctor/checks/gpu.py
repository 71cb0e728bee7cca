"""GPUs and their driver, as NVIDIA's library tells; on a machine without one, nothing."""

from collections.abc import Callable, Iterator
from typing import Any

from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, ok, warning
from supervisor.probes.nvml import library

DEVICES = ("dev/nvidiactl", "dev/nvidia0", "proc/driver/nvidia/version")
HOT_C = 90
SEE_KERNEL = "dmesg | grep -i -e xid -e nvrm | tail"
ECC_UNCORRECTED, ECC_VOLATILE = 1, 0  # NVML's words
PENDING = 1


def look(around: Around, *, load: Callable[[], Any] = library) -> Iterator[Finding]:
    """Look at every GPU."""
    has_gpu = any((around.root / each).exists() for each in DEVICES)
    try:
        nvml = load()
        nvml.nvmlInit()
    except ImportError:
        return
    except Exception as problem:  # noqa: BLE001 - the library's errors are made when it is loaded
        yield from _no_driver(str(problem), has_gpu=has_gpu)
        return
    try:
        yield from _gpus(nvml)
    finally:
        nvml.nvmlShutdown()


def _no_driver(problem: str, *, has_gpu: bool) -> Iterator[Finding]:
    if "mismatch" in problem.lower():
        cure = "the driver was updated under a running kernel module: load the new one, or reboot"
        yield error(f"the GPU's driver does not fit its library: {problem}", cure=cure, command="reboot")
    elif has_gpu:
        cure = "see whether the driver is installed and loaded"
        yield warning(f"there is a GPU, and its driver does not tell of it: {problem}", cure=cure, command="nvidia-smi")


def _gpus(nvml: Any) -> Iterator[Finding]:
    driver = _told(nvml, nvml.nvmlSystemGetDriverVersion)
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            device = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as problem:
            cure = "the GPU fell off the bus: only a reboot brings it back"
            yield error(f"GPU {index} is lost: {problem}", cure=cure, command=SEE_KERNEL)
            continue
        name = _told(nvml, nvml.nvmlDeviceGetName, device) or "unnamed"
        found = list(_gpu(nvml, f"GPU {index} ({name})", device))
        yield from found or [ok(f"GPU {index} ({name}) is well, driver {driver or 'unknown'}")]


def _gpu(nvml: Any, name: str, device: Any) -> Iterator[Finding]:
    if _told(nvml, nvml.nvmlDeviceGetMemoryInfo, device) is None:
        cure = "see what the kernel says of it; a GPU that does not answer needs a reset or a reboot"
        yield error(f"{name} does not answer", cure=cure, command=SEE_KERNEL)
        return
    broken = _told(nvml, nvml.nvmlDeviceGetTotalEccErrors, device, ECC_UNCORRECTED, ECC_VOLATILE)
    if broken:
        cure = "reset it when nobody uses it, and have it replaced should they come back"
        yield error(f"{name}: {broken} memory errors that could not be corrected", cure=cure, command=SEE_KERNEL)
    rows = _told(nvml, nvml.nvmlDeviceGetRemappedRows, device)
    if rows and rows[2]:
        cure = "restart the machine, or reset the GPU: until then errors come back"
        yield warning(f"{name}: broken memory waits to be remapped", cure=cure, command="nvidia-smi -q -d ROW_REMAPPER")
    if rows and rows[3]:
        yield error(f"{name}: broken memory could not be remapped", cure="have it replaced", command=SEE_KERNEL)
    if _told(nvml, nvml.nvmlDeviceGetRetiredPagesPendingStatus, device) == PENDING:
        cure = "restart the machine, or reset the GPU"
        yield warning(
            f"{name}: broken memory waits to be retired", cure=cure, command="nvidia-smi -q -d PAGE_RETIREMENT"
        )
    heat = _told(nvml, nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU)
    if heat is not None and heat >= HOT_C:
        yield warning(
            f"{name} is {heat} °C hot: it slows down", cure="see to its cooling", command="nvidia-smi -q -d TEMPERATURE"
        )


def _told(nvml: Any, ask: Callable[..., Any], *about: Any) -> Any:
    """Return what the driver tells; None where it does not, or cannot of this GPU."""
    try:
        return ask(*about)
    except (nvml.NVMLError, nvml.NVMLLibraryMismatchError):
        return None
