"""What is made of the memory of GPUs: as a driver tells it, and as people are told.

The driver is made up, behind the fake bindings and behind the real ones.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from supervisor.core.cause import GIB
from supervisor.probes.base import GpuMemory, Holder
from supervisor.probes.nvml import RENEW_EVERY_S, Gpus, library
from supervisor.probes.vram import MOST_NAMED, holders, room, still_held, who_holds
from tests.fakes import nvml as fake
from tests.fakes.nvml import CLibrary, FakeNvml, Gpu, Memory
from tests.probes.test_nvml import FAULTS, NOT_TOLD, OURS, THEIRS, Clocks, asking

REAL = library()
NO_HANDLE = fake.NVMLError_GpuIsLost("GPU is lost")
FULL = Memory(total=12 * GIB, used=9 * GIB)
REFUSALS = (NO_HANDLE, fake.NVMLError_NotSupported(), fake.NVMLError_NoPermission(), fake.NVMLError_Unknown())


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="DEBUG", format="{level} {message}")
    yield lines
    logger.remove(sink)


def named(proc: Path, names: dict[int, str]) -> Path:
    """Make up what the kernel tells of processes."""
    for pid, name in names.items():
        (proc / str(pid)).mkdir()
        (proc / str(pid) / "comm").write_text(f"{name}\n")
    return proc


def memory(index: int = 0, *by: Holder, used: float = 0.0, total: float = 12.0, **more: Any) -> GpuMemory:
    used_bytes, total_bytes = int(used * GIB), int(total * GIB)
    known = {"uuid": Gpu().uuid, "name": Gpu().name}
    return GpuMemory(index=index, used_bytes=used_bytes, total_bytes=total_bytes, holders=by, **known | more)


def lost(index: int = 0) -> GpuMemory:
    return GpuMemory(index=index, is_lost=True)


def holder(pid: int, name: str = "", used: float | None = None, *, is_gone: bool = False) -> Holder:
    return Holder(pid=pid, name=name, used_bytes=None if used is None else int(used * GIB), is_gone=is_gone)


def ask(*gpus: Gpu, proc: Path) -> tuple[GpuMemory, ...] | None:
    return asking(FakeNvml(*gpus)).memory(proc=proc)


def test_each_gpu_tells_what_is_used_and_by_whom_the_greatest_first(tmp_path: Path) -> None:
    first = Gpu(compute=[OURS], graphics=[THEIRS], memory=FULL, held={OURS: 2 * GIB, THEIRS: 6 * GIB})
    second = Gpu(memory=Memory(total=24 * GIB, used=GIB), uuid="GPU-2", name="NVIDIA L4")
    proc = named(tmp_path, {OURS: "llama-server", THEIRS: "python3"})

    told = ask(first, second, proc=proc)

    assert told == (
        memory(0, holder(THEIRS, "python3", 6), holder(OURS, "llama-server", 2), used=9),
        memory(1, used=1, total=24, uuid="GPU-2", name="NVIDIA L4"),
    )


def test_who_uses_a_gpu_in_two_ways_holds_its_memory_once(tmp_path: Path) -> None:
    gpu = Gpu(compute=[OURS], graphics=[OURS], held={OURS: 2 * GIB})

    assert ask(gpu, proc=tmp_path) == (memory(0, holder(OURS, used=2)),)


def test_who_is_on_several_parts_of_a_gpu_holds_the_sum(tmp_path: Path) -> None:
    gpu = Gpu(compute=[OURS, THEIRS, OURS], held={OURS: 2 * GIB, THEIRS: GIB})

    assert ask(gpu, proc=tmp_path) == (memory(0, holder(OURS, used=4), holder(THEIRS, used=1)),)


def test_a_holder_of_whom_the_driver_tells_no_bytes_is_a_holder(tmp_path: Path) -> None:
    assert ask(Gpu(compute=[OURS, OURS]), proc=tmp_path) == (memory(0, holder(OURS)),)


@pytest.mark.parametrize("refusal", NOT_TOLD)
def test_a_driver_that_never_tells_who_is_on_a_gpu_is_told_from_one_that_finds_nobody(
    tmp_path: Path, refusal: Any
) -> None:
    assert ask(Gpu(compute=refusal, memory=FULL), proc=tmp_path) == (memory(0, used=9, holders_are_known=False),)


@pytest.mark.parametrize("refusal", NOT_TOLD)
def test_a_gpu_without_a_name_has_memory_all_the_same(tmp_path: Path, refusal: Any) -> None:
    assert ask(Gpu(uuid=refusal, name=refusal), proc=tmp_path) == (memory(0, uuid="", name=""),)


def test_a_gpu_that_fell_off_the_bus_is_told_as_lost_beside_the_others(tmp_path: Path, lines: list[str]) -> None:
    first, second = Gpu(compute=[OURS]), Gpu()
    gpus = asking(FakeNvml(first, second))
    first.break_down(NO_HANDLE)

    told = [gpus.memory(proc=tmp_path) for _ in range(3)]

    assert told == 3 * [(lost(0), memory(1))]
    assert lines == ["WARNING gpu: GPU 0 cannot be asked: GPU is lost\n"]


@pytest.mark.parametrize("others", [[], [Gpu()]])
def test_it_is_lost_still_once_the_driver_was_begun_anew(tmp_path: Path, others: list[Gpu]) -> None:
    gpu, clocks = Gpu(), Clocks()
    gpus = asking(driver := FakeNvml(gpu, *others), clocks)
    gpu.break_down(NO_HANDLE)
    gpus.memory(proc=tmp_path)
    gpu.handle = NO_HANDLE
    clocks.now = RENEW_EVERY_S

    told = gpus.memory(proc=tmp_path)

    assert told == (lost(0), *(memory(1) for _ in others))
    assert (driver.began, driver.ended) == (2, 1)


def test_a_gpu_that_comes_back_is_lost_no_more(tmp_path: Path) -> None:
    gpu, clocks = Gpu(handle=NO_HANDLE), Clocks()
    gpus = asking(driver := FakeNvml(gpu), clocks)
    before = gpus.memory(proc=tmp_path)
    gpu.handle = None
    clocks.now = RENEW_EVERY_S

    after = gpus.memory(proc=tmp_path)

    assert (before, after) == ((lost(0),), (memory(0),))
    assert (driver.began, driver.ended) == (2, 1)


def test_a_gpu_that_has_no_memory_of_its_own_is_left_out_without_a_word(tmp_path: Path, lines: list[str]) -> None:
    assert ask(Gpu(memory=fake.NVMLError_NotSupported()), Gpu(), proc=tmp_path) == (memory(1),)
    assert lines == []


@pytest.mark.parametrize("refusal", [*NOT_TOLD[1:], *FAULTS[1:]])
def test_a_gpu_that_refuses_or_fails_is_left_out_and_the_log_says_so_once(
    tmp_path: Path, refusal: Any, lines: list[str]
) -> None:
    gpus = asking(FakeNvml(Gpu(memory=refusal), Gpu()))

    told = [gpus.memory(proc=tmp_path) for _ in range(3)]

    assert told == 3 * [(memory(1),)]
    assert [line.partition("GPU 0")[0] for line in lines] == ["WARNING gpu: "]


def test_a_process_has_the_name_that_the_kernel_gives_it() -> None:
    (found,) = holders({os.getpid(): GIB})

    assert found == holder(os.getpid(), Path("/proc/self/comm").read_text().strip(), 1)


def test_where_all_processes_are_seen_one_that_is_not_is_gone(tmp_path: Path) -> None:
    proc = named(tmp_path, {2: "kthreadd", THEIRS: "python3"})

    assert holders({OURS: 2, THEIRS: 1}, proc=proc) == (
        Holder(pid=OURS, used_bytes=2, is_gone=True),
        Holder(pid=THEIRS, name="python3", used_bytes=1),
    )


@pytest.mark.parametrize("names", [{}, {2: "llama-server"}], ids=["hidden", "numbers of our own"])
def test_where_others_may_be_hidden_nobody_is_said_to_be_gone(tmp_path: Path, names: dict[int, str]) -> None:
    assert holders({OURS: 1}, proc=named(tmp_path, names)) == (Holder(pid=OURS, used_bytes=1),)


def test_a_process_that_is_there_and_not_told_of_is_not_gone(tmp_path: Path) -> None:
    proc = named(tmp_path, {2: "kthreadd"})
    (proc / str(OURS) / "comm").mkdir(parents=True)  # a file that cannot be read, for root neither

    assert holders({OURS: 1}, proc=proc) == (Holder(pid=OURS, used_bytes=1),)


def test_a_name_is_shown_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    proc = named(tmp_path, {OURS: "a\x1b[2Jb\nc"})

    assert holders({OURS: 1}, proc=proc) == (Holder(pid=OURS, name="a [2Jb c", used_bytes=1),)


def test_memory_is_held_still_by_those_who_were_ended_and_by_those_who_are_gone() -> None:
    ours, theirs = memory(0, holder(OURS, "llama-server")), memory(1, holder(THEIRS, "python3"))
    nobodys = memory(2, holder(7, is_gone=True))

    gpus = (ours, theirs, nobodys, memory(3, used=9), lost(4))

    assert still_held(gpus, pids=frozenset({OURS})) == (ours, nobodys)
    assert still_held(gpus, pids=frozenset()) == (nobodys,)


@pytest.mark.parametrize(
    ("gpus", "index", "expected"),
    [
        pytest.param((memory(used=4),), 0, True, id="exactly"),
        pytest.param((memory(used=4.1),), 0, False, id="a little too little"),
        pytest.param((memory(0, used=11), memory(1)), 1, True, id="on the one it is meant for"),
        pytest.param((memory(0, used=11), memory(1)), 0, False, id="not on the one it is meant for"),
        pytest.param((memory(0),), 1, None, id="it is meant for one that does not tell"),
        pytest.param((lost(0), memory(1)), 0, False, id="it is meant for a lost one"),
        pytest.param((memory(0), memory(1)), None, True, id="wherever it goes"),
        pytest.param((memory(0, used=11), memory(1)), None, None, id="it depends on where it goes"),
        pytest.param((memory(0, used=6), memory(1, used=6)), None, None, id="only if it spreads"),
        pytest.param((memory(0, used=9), memory(1, used=9)), None, False, id="not on all of them together"),
        pytest.param((lost(0),), None, False, id="all are lost"),
        pytest.param((memory(used=13),), None, False, id="more is used than there is"),
        pytest.param((), None, None, id="none tells"),
        pytest.param(None, None, None, id="nobody to ask"),
        pytest.param(None, 0, None, id="nobody to ask of the one it is meant for"),
    ],
)
def test_there_is_room_or_none_or_nobody_can_tell(
    gpus: tuple[GpuMemory, ...] | None, index: int | None, expected: bool | None
) -> None:
    assert room(gpus, needs_bytes=8 * GIB, index=index) is expected


LLAMA = holder(OURS, "llama-server", 9.8)


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (memory(0, LLAMA, used=10.2), ": 9.8 GiB by llama-server (pid 4121)"),  # the rest is the driver's own
        (memory(0, LLAMA, used=11.2), ": 9.8 GiB by llama-server (pid 4121), 1.4 GiB by nobody that can be seen"),
        (memory(0, used=11.2), "11.2 GiB of 12.0 GiB on GPU 0 are held: 11.2 GiB by nobody that can be seen"),
        (memory(0, used=0.4), "410 MiB of 12.0 GiB on GPU 0 are held"),
        (memory(0, holder(7, "vllm", 9.8)), ": 9.8 GiB by vllm (pid 7, which should be gone)"),
        (memory(0, holder(7, "", 9.8, is_gone=True)), ": 9.8 GiB by a process that is gone (pid 7)"),
        (memory(0, holder(8, "", 9.8)), ": 9.8 GiB by a process that cannot be seen (pid 8)"),
        (memory(0, LLAMA, holder(8, "Xorg"), used=11.2), "(pid 4121), an unknown part by Xorg (pid 8)"),
        (memory(0, holders_are_known=False), " on GPU 0 are held, and the driver does not tell by whom"),
        (lost(0), "GPU 0 is lost"),
    ],
)
def test_people_are_told_who_holds_a_gpus_memory(gpu: GpuMemory, expected: str) -> None:
    assert who_holds((gpu,), gone=frozenset({7})).endswith(expected)


def test_people_are_told_of_each_gpu_in_turn_and_of_the_greatest_holders() -> None:
    crowd = memory(1, *(holder(pid, "worker", 1) for pid in range(MOST_NAMED + 2)), used=6)

    told = who_holds((memory(0, LLAMA, used=10), crowd), gone=frozenset())

    first, second = told.split("; ")
    assert first.startswith("10.0 GiB of 12.0 GiB on GPU 0")
    assert second.startswith("6.0 GiB of 12.0 GiB on GPU 1 are held: 1.0 GiB by worker (pid 0), ")
    assert second.endswith(f"1.0 GiB by worker (pid {MOST_NAMED - 1}), the rest by 2 more")


NUMBERS = {type(REAL.NVMLError(number)).__name__: number for number in range(1, 1000)}


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Gpus]:
    """Return what asks the real bindings, whose C library is made up."""

    def make(*gpus: Gpu, lacks: str = "") -> Gpus:
        monkeypatch.setattr(REAL, "nvmlLib", CLibrary(FakeNvml(*gpus), numbers=NUMBERS, lacks=lacks))
        monkeypatch.setattr(REAL, "_nvmlLib_refcount", 0)
        monkeypatch.setattr(REAL, "_nvmlGetFunctionPointer_cache", {})
        return Gpus()

    return make


@pytest.mark.parametrize(
    "gpu",
    [
        pytest.param(Gpu(memory=FULL), id="nobody on it"),
        pytest.param(Gpu(compute=[OURS, THEIRS], graphics=[OURS], memory=FULL, held={OURS: 6 * GIB}), id="two on it"),
        pytest.param(Gpu(handle=NO_HANDLE), id="without a handle"),
        *(pytest.param(Gpu(compute=told, memory=FULL), id=f"no users: {told!r}") for told in REFUSALS),
        *(pytest.param(Gpu(memory=told), id=f"no memory: {told!r}") for told in REFUSALS),
        *(pytest.param(Gpu(uuid=told, name=told), id=f"no name: {told!r}") for told in REFUSALS),
    ],
)
def test_the_real_bindings_tell_what_the_fake_tells(gpu: Gpu, real: Callable[..., Gpus], tmp_path: Path) -> None:
    assert real(Gpu(), gpu).memory(proc=tmp_path) == ask(Gpu(), gpu, proc=tmp_path)


def test_the_real_bindings_over_an_old_driver_tell_what_there_is(real: Callable[..., Gpus], tmp_path: Path) -> None:
    gpus = real(Gpu(compute=[OURS], memory=FULL), lacks="RunningProcesses_v3")

    assert gpus.memory(proc=tmp_path) == (memory(0, used=9, holders_are_known=False),)
