"""What is made of NVIDIA's driver. Its answers come from a fake, which is held to the real bindings below."""

import inspect
from typing import Any

import pytest

from supervisor.probes.nvml import MOST_REMEMBERED, RENEW_EVERY_S, SAMPLED_EVERY_S, Gpus, GpuWork, library
from tests.fakes import nvml as fake
from tests.fakes.nvml import FakeNvml, Gpu, Sample

OURS, CHILD, THEIRS = 4121, 4122, 999
FAMILY = frozenset({OURS, CHILD})
NOW = 1_795_449_911.0
NOT_TOLD = [
    pytest.param(fake.NVMLError_NotSupported(), id="not supported"),
    pytest.param(fake.NVMLError_NoPermission(), id="no permission"),
    pytest.param(fake.NVMLLibraryMismatchError(), id="an old driver"),
]
FAULTS = [
    pytest.param(fake.NVMLError_GpuIsLost(), id="fell off the bus"),
    pytest.param(fake.NVMLError_ResetRequired(), id="must be reset"),
    pytest.param(fake.NVMLError_Uninitialized(), id="the driver was replaced"),
    pytest.param(fake.NVMLError_Unknown(), id="who knows"),
]


class Clocks:
    """Both clocks, set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW + self.now


def asking(driver: FakeNvml, clocks: Clocks | None = None) -> Gpus:
    clocks = clocks or Clocks()
    return Gpus(load=lambda: driver, monotonic=clocks.monotonic, clock=clocks.wall)


def sample(pid: int, percent: int, *, ago_s: float = 0.2) -> Sample:
    return Sample(pid=pid, timeStamp=int((NOW - ago_s) * 1e6), smUtil=percent)


def ask(*gpus: Gpu) -> GpuWork | None:
    return asking(FakeNvml(*gpus)).work(OURS, FAMILY)


def test_a_family_on_no_gpu_did_nothing_there_however_busy_others_are() -> None:
    busy = Gpu(compute=[THEIRS], samples=[sample(THEIRS, 90)], gpu=90)

    assert ask(busy) == GpuWork()


def test_samples_of_the_family_tell_its_share() -> None:
    shared = Gpu(compute=[OURS, THEIRS], samples=[sample(OURS, 40), sample(THEIRS, 50)], gpu=90)

    assert ask(shared) == GpuWork(share=0.4)


def test_a_child_counts_as_the_family() -> None:
    assert ask(Gpu(compute=[CHILD], samples=[sample(CHILD, 40)], gpu=40)) == GpuWork(share=0.4)


def test_the_shares_on_several_gpus_add_up_to_one_at_most() -> None:
    first = Gpu(compute=[OURS], samples=[sample(OURS, 25)], gpu=25)
    second = Gpu(compute=[CHILD], samples=[sample(CHILD, 50)], gpu=50)
    third = Gpu(compute=[OURS], samples=[sample(OURS, 100)], gpu=100)

    assert ask(first, second) == GpuWork(share=0.75)
    assert ask(first, second, third) == GpuWork(share=1.0)


@pytest.mark.parametrize("how", ["compute", "graphics", "mps"])
def test_it_does_not_matter_how_a_gpu_is_used(how: str) -> None:
    on: dict[str, Any] = {how: [OURS]}
    gpu = Gpu(**on, samples=[sample(OURS, 40)], gpu=40)

    assert ask(gpu) == GpuWork(share=0.4)


@pytest.mark.parametrize("refusal", NOT_TOLD)
def test_a_driver_that_tells_only_who_computes_is_believed_in_that(refusal: Any) -> None:
    gpu = Gpu(compute=[OURS], graphics=refusal, mps=refusal, samples=[sample(OURS, 40)], gpu=40)

    assert ask(gpu) == GpuWork(share=0.4)


def test_an_idle_gpu_is_idle() -> None:
    assert ask(Gpu(compute=[OURS, THEIRS], gpu=0)) == GpuWork(share=0.0)


def test_work_of_others_is_not_ours() -> None:
    shared = Gpu(compute=[OURS, THEIRS], samples=[sample(THEIRS, 90)], gpu=90)

    assert ask(shared) == GpuWork(share=0.0)


@pytest.mark.parametrize("refusal", [*NOT_TOLD, pytest.param(fake.NVMLError_NotFound(), id="no samples this soon")])
def test_without_samples_a_gpu_that_is_ours_alone_worked_for_us(refusal: Any) -> None:
    assert ask(Gpu(compute=[OURS, CHILD], samples=refusal, gpu=70)) == GpuWork(share=0.7)


@pytest.mark.parametrize("refusal", [*NOT_TOLD, pytest.param(fake.NVMLError_NotFound(), id="no samples this soon")])
def test_without_samples_nobody_can_tell_whom_a_shared_gpu_worked_for(refusal: Any) -> None:
    assert ask(Gpu(compute=[OURS, THEIRS], samples=refusal, gpu=70)) == GpuWork(is_unknown=True)


@pytest.mark.parametrize("refusal", NOT_TOLD)
def test_a_gpu_that_tells_nothing_but_who_is_on_it_is_unknown(refusal: Any) -> None:
    assert ask(Gpu(compute=[OURS], samples=refusal, gpu=refusal)) == GpuWork(is_unknown=True)


@pytest.mark.parametrize("refusal", NOT_TOLD)
@pytest.mark.parametrize(
    ("percent", "work"),
    [pytest.param(0, GpuWork(), id="idle"), pytest.param(5, GpuWork(is_unknown=True), id="busy, perhaps for us")],
)
def test_where_nobody_tells_who_is_on_a_gpu_only_an_idle_one_is_known(
    refusal: Any, percent: int, work: GpuWork
) -> None:
    assert ask(Gpu(compute=refusal, gpu=percent)) == work


def test_what_is_known_of_one_gpu_is_told_beside_what_is_unknown_of_another() -> None:
    known = Gpu(compute=[OURS], samples=[sample(OURS, 40)], gpu=40)
    unknown = Gpu(compute=[OURS, THEIRS], gpu=70)

    assert ask(known, unknown) == GpuWork(share=0.4, is_unknown=True)


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(sample(OURS, 90, ago_s=60.0), id="of long ago"),
        pytest.param(sample(OURS, 4_294_967_295), id="more than the whole"),
    ],
)
def test_samples_that_cannot_be_are_left_out(nonsense: Sample) -> None:
    assert ask(Gpu(compute=[OURS], samples=[nonsense], gpu=0)) == GpuWork(share=0.0)


def test_a_question_reaches_back_to_the_last_one_and_a_sampling_period_further() -> None:
    driver, clocks = FakeNvml(Gpu(compute=[OURS])), Clocks()
    gpus = asking(driver, clocks)

    gpus.work(OURS, FAMILY)
    clocks.now = 7.0
    gpus.work(OURS, FAMILY)
    clocks.now = 9.0
    gpus.work(OURS, FAMILY)

    asked = [NOW - SAMPLED_EVERY_S, NOW - SAMPLED_EVERY_S, NOW + 7.0 - SAMPLED_EVERY_S]
    assert driver.asked_since == [int(each * 1e6) for each in asked]


@pytest.mark.parametrize("fault", FAULTS)
def test_of_a_gpu_that_fails_nothing_is_known_for_those_who_were_on_it(fault: Any) -> None:
    gpu = Gpu(compute=[OURS], samples=[sample(OURS, 40)], gpu=40)
    gpus = asking(FakeNvml(gpu))
    gpus.work(OURS, FAMILY)
    gpus.work(THEIRS, frozenset({THEIRS}))

    gpu.break_down(fault)

    assert [gpus.work(OURS, FAMILY) for _ in range(3)] == 3 * [GpuWork(is_unknown=True)]
    assert gpus.work(THEIRS, frozenset({THEIRS})) == GpuWork()


def test_a_gpu_that_fails_leaves_the_others_to_be_asked() -> None:
    lost, healthy = Gpu(compute=[THEIRS]), Gpu(compute=[OURS], samples=[sample(OURS, 40)], gpu=40)

    lost.break_down(fake.NVMLError_GpuIsLost())

    assert ask(lost, healthy) == GpuWork(share=0.4)


def test_after_a_fault_the_driver_is_begun_anew_but_not_often() -> None:
    gpu, clocks = Gpu(compute=[OURS]), Clocks()
    driver = FakeNvml(gpu)
    gpus = asking(driver, clocks)
    gpus.work(OURS, FAMILY)
    driver.gpus = [Gpu(compute=[OURS], samples=[sample(OURS, 40, ago_s=-RENEW_EVERY_S)])]

    gpu.break_down(fake.NVMLError_GpuIsLost())
    for clocks.now in (0.0, 1.0, RENEW_EVERY_S - 1.0):
        gpus.work(OURS, FAMILY)
    before = (driver.began, driver.ended)
    clocks.now = RENEW_EVERY_S

    assert gpus.work(OURS, FAMILY) == GpuWork(share=0.4)
    assert (before, (driver.began, driver.ended)) == ((1, 0), (2, 1))


def test_a_driver_that_refuses_to_tell_of_memory_is_not_begun_anew_for_it() -> None:
    driver, clocks = FakeNvml(Gpu(memory=fake.NVMLError_NoPermission())), Clocks()
    gpus = asking(driver, clocks)

    for clocks.now in (0.0, RENEW_EVERY_S, 2 * RENEW_EVERY_S):
        gpus.memory()

    assert driver.began == 1


@pytest.mark.parametrize("refusal", [fake.NVMLError_LibraryNotFound(), fake.NVMLError_DriverNotLoaded(), None])
def test_without_a_driver_or_a_gpu_nobody_is_asked_again_for_long_but_then_once(refusal: Any) -> None:
    driver, clocks = FakeNvml(refusal=refusal), Clocks()
    gpus = asking(driver, clocks)

    first = [gpus.work(OURS, FAMILY), gpus.work(OURS, FAMILY), gpus.memory()]
    was_absent = gpus.is_absent
    driver.refusal, driver.gpus = None, [Gpu(compute=[OURS])]
    clocks.now = RENEW_EVERY_S

    assert (first, was_absent, driver.began) == ([None, None, None], True, 1)
    assert not gpus.is_absent
    assert gpus.work(OURS, FAMILY) == GpuWork(share=0.0)


def test_without_the_bindings_there_is_no_gpu_to_see() -> None:
    def load() -> Any:
        raise ModuleNotFoundError("No module named 'pynvml'")

    gpus = Gpus(load=load)

    assert (gpus.work(OURS, FAMILY), gpus.memory()) == (None, None)
    assert gpus.is_absent


def test_who_was_on_a_gpu_is_remembered_for_when_nobody_can_be_asked() -> None:
    gpu = Gpu(compute=[OURS])
    gpus = asking(FakeNvml(gpu))

    gpus.work(OURS, FAMILY)
    gpus.work(THEIRS, frozenset({THEIRS}))

    assert (gpus.was_on(OURS), gpus.was_on(THEIRS), gpus.was_on(1)) == (True, False, False)


def test_lives_that_have_ended_are_forgotten() -> None:
    gpus = asking(FakeNvml(Gpu(compute=[0, MOST_REMEMBERED])))

    for pid in range(MOST_REMEMBERED + 1):
        gpus.work(pid, frozenset({pid}))

    assert [gpus.was_on(pid) for pid in (0, MOST_REMEMBERED)] == [False, True]


def test_the_real_bindings_say_nothing_where_there_is_no_driver() -> None:
    # And where there is one, they say that a process which cannot exist is on no GPU.
    work = Gpus().work(2**22 + 1, frozenset({2**22 + 1}))

    assert work is None or work.share is None


REAL = library()
FUNCTIONS = sorted(each for each in vars(FakeNvml) if each.startswith("nvml"))
ERRORS = sorted(each for each in vars(FakeNvml) if each.startswith("NVML"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_fakes_functions_are_called_as_the_real_ones(name: str) -> None:
    ours = list(inspect.signature(getattr(FakeNvml(), name)).parameters)
    theirs = list(inspect.signature(getattr(REAL, name)).parameters)

    assert ours == theirs


@pytest.mark.parametrize("name", ERRORS)
def test_the_fakes_errors_are_in_the_real_ones_places(name: str) -> None:
    ours, theirs = getattr(FakeNvml, name), getattr(REAL, name)

    assert [each.__name__ for each in ours.__mro__] == [each.__name__ for each in theirs.__mro__]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (fake.User, REAL.c_nvmlProcessInfo_v3_t),
        (Sample, REAL.c_nvmlProcessUtilizationSample_t),
        (fake.Utilization, REAL.c_nvmlUtilization_t),
        (fake.Memory, REAL.c_nvmlMemory_t),
    ],
)
def test_the_fakes_structures_have_fields_of_the_real_ones(ours: type, theirs: Any) -> None:
    real = {name for name, _ in theirs._fields_}

    assert set(inspect.get_annotations(ours)) <= real
