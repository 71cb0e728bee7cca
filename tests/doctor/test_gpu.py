"""GPUs: nothing where there is none, and what the driver tells where there is; what it says is on a fake of it."""

from pathlib import Path
from typing import Any

import pytest

from supervisor.doctor.checks.gpu import look
from supervisor.doctor.finding import Finding
from supervisor.probes.nvml import library
from tests.doctor.patient import around, words
from tests.fakes.nvml import FakeNvml as Driver
from tests.fakes.nvml import Gpu, NVMLError, NVMLError_GpuIsLost, NVMLError_NotSupported


class FakeNvml(Driver):
    """The module, with what is asked of a GPU's health."""

    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *gpus: Gpu, refusal: NVMLError | None = None, **health: Any) -> None:
        super().__init__(*gpus, refusal=refusal)
        self._health = health

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802 - their names, as all below
        return "580.95"

    def nvmlDeviceGetTotalEccErrors(self, _: Gpu, kind: int, counter: int) -> int:  # noqa: N802
        assert (kind, counter) == (1, 0)  # those that could not be corrected, since it was last loaded
        return int(self._told("ecc", NVMLError_NotSupported()))

    def nvmlDeviceGetRemappedRows(self, _: Gpu) -> tuple[int, int, bool, bool]:  # noqa: N802
        told: tuple[int, int, bool, bool] = self._told("rows", NVMLError_NotSupported())
        return told

    def nvmlDeviceGetRetiredPagesPendingStatus(self, _: Gpu) -> int:  # noqa: N802
        return int(self._told("retired", NVMLError_NotSupported()))

    def nvmlDeviceGetTemperature(self, _: Gpu, sensor: int) -> int:  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return int(self._told("heat", 61))

    def _told(self, key: str, usual: Any) -> Any:
        value = self._health.get(key, usual)
        if isinstance(value, NVMLError):
            raise value
        return value


def seen(folder: Path, driver: Any, *, root: Path | None = None) -> list[Finding]:
    """Return what is found with a driver."""
    return list(look(around(folder, root=root or folder), load=lambda: driver))


def test_on_a_machine_without_a_gpu_nothing_is_said(tmp_path: Path) -> None:
    assert seen(tmp_path, FakeNvml(refusal=NVMLError("NVML Shared Library Not Found"))) == []


def test_on_this_machine_the_real_library_is_asked(tmp_path: Path) -> None:
    told = list(look(around(tmp_path), load=library))

    assert all("GPU" in each.seen for each in told)


def test_a_gpu_whose_driver_does_not_tell_of_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()

    (only,) = seen(tmp_path, FakeNvml(refusal=NVMLError("Driver Not Loaded")))

    assert words([only]) == ["warning -: there is a GPU, and its driver does not tell of it: Driver Not Loaded"]


def test_a_driver_that_was_updated_under_the_kernel_wants_a_reboot(tmp_path: Path) -> None:
    (only,) = seen(tmp_path, FakeNvml(refusal=NVMLError("Driver/library version mismatch")))

    assert (only.severity, only.command) == ("error", "reboot")


def test_a_gpu_that_is_well_is_told_with_its_driver_and_let_go(tmp_path: Path) -> None:
    driver = FakeNvml(Gpu(), ecc=0, rows=(0, 0, False, False), retired=0)

    assert words(seen(tmp_path, driver)) == ["ok -: GPU 0 (NVIDIA GeForce RTX 3060) is well, driver 580.95"]
    assert driver.ended == 1


@pytest.mark.parametrize(
    ("health", "told"),
    [
        ({"ecc": 3}, "error -: {}: 3 memory errors that could not be corrected"),
        ({"rows": (1, 0, True, False)}, "warning -: {}: broken memory waits to be remapped"),
        ({"rows": (1, 1, False, True)}, "error -: {}: broken memory could not be remapped"),
        ({"retired": 1}, "warning -: {}: broken memory waits to be retired"),
        ({"heat": 96}, "warning -: {} is 96 °C hot: it slows down"),
    ],
)
def test_what_is_wrong_with_a_gpu_is_told(tmp_path: Path, health: dict[str, Any], told: str) -> None:
    assert words(seen(tmp_path, FakeNvml(Gpu(), **health))) == [told.format("GPU 0 (NVIDIA GeForce RTX 3060)")]


def test_one_that_fell_off_the_bus_and_one_that_does_not_answer_are_told_and_the_others_are_looked_at(
    tmp_path: Path,
) -> None:
    silent = Gpu(memory=NVMLError_GpuIsLost("GPU is lost"))

    told = words(seen(tmp_path, FakeNvml(Gpu(handle=NVMLError_GpuIsLost("GPU is lost")), silent, Gpu())))

    assert told == [
        "error -: GPU 0 is lost: GPU is lost",
        "error -: GPU 1 (NVIDIA GeForce RTX 3060) does not answer",
        "ok -: GPU 2 (NVIDIA GeForce RTX 3060) is well, driver 580.95",
    ]
