"""What keeps a target from being started on GPUs, and what a person can do about it."""

import pytest

from supervisor.core.cause import GIB
from supervisor.probes.base import GpuMemory, Holder
from supervisor.room import cure, held_by, obstacle

OURS, THEIRS = frozenset({7}), 8


def gpu(index: int = 0, *by: Holder, used: float = 0.0, are_known: bool = True) -> GpuMemory:
    return GpuMemory(
        index=index, used_bytes=int(used * GIB), total_bytes=12 * GIB, holders=by, holders_are_known=are_known
    )


def holder(pid: int, *, is_gone: bool = False) -> Holder:
    return Holder(pid=pid, name="" if is_gone else "server", used_bytes=4 * GIB, is_gone=is_gone)


@pytest.mark.parametrize(
    ("gpus", "kept", "needs", "expected"),
    [
        pytest.param((gpu(used=2),), (), 9, None, id="room"),
        pytest.param((gpu(used=9),), (), 9, "it needs 9.0 GiB; 9.0 GiB of 12.0 GiB on GPU 0", id="none"),
        pytest.param((gpu(used=9),), (), None, None, id="nobody knows what it needs"),
        pytest.param((gpu(0, used=9), gpu(1)), (), 9, None, id="it depends on where it goes"),
        pytest.param((gpu(0, used=9), gpu(1, used=0.5)), (), 20, "it needs 20.0 GiB; 9.0 GiB", id="only who has some"),
        pytest.param((), (), 9, None, id="nobody to ask"),
        pytest.param((), (gpu(0, holder(7), used=4),), 9, "4.0 GiB of 12.0 GiB on GPU 0", id="kept when last seen"),
        pytest.param(
            (gpu(used=4),), (gpu(0, holder(7), used=4),), None, "4.0 GiB of 12.0 GiB", id="kept, need unknown"
        ),
        pytest.param((gpu(used=4),), (gpu(0, holder(7), used=4),), 4, None, id="kept, and room beside it"),
    ],
)
def test_only_what_is_certain_is_an_obstacle(
    gpus: tuple[GpuMemory, ...], kept: tuple[GpuMemory, ...], needs: int | None, expected: str | None
) -> None:
    found = obstacle(gpus, kept=kept, pids=OURS, needs_bytes=None if needs is None else needs * GIB)

    assert (None if found is None else found.says[: len(expected or "")]) == expected


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ((gpu(0, holder(THEIRS)),), "stop what need not be on GPU 0 (pid 8)"),
        ((gpu(0, holder(9, is_gone=True)),), "reset GPU 0 (`nvidia-smi --gpu-reset -i 0`)"),
        ((gpu(2),), "reset GPU 2 (`nvidia-smi --gpu-reset -i 2`)"),
        ((gpu(0, are_known=False),), "stop what `nvidia-smi` shows on GPU 0"),
        (
            (gpu(0, holder(7), holder(THEIRS)),),
            "end what is left of it (`kill -9 7`), or stop what need not be on GPU 0 (pid 8),"
            " or reset GPU 0 (`nvidia-smi --gpu-reset -i 0`)",
        ),
        (
            (gpu(0, holder(8)), gpu(1, holder(9))),
            "stop what need not be on GPU 0 (pid 8), or stop what need not be on GPU 1 (pid 9)",
        ),
    ],
)
def test_the_cure_names_whom_to_end_and_what_to_reset(gpus: tuple[GpuMemory, ...], expected: str) -> None:
    assert cure(gpus, OURS) == expected


def test_only_our_own_processes_are_waited_for() -> None:
    ours, theirs = gpu(0, holder(THEIRS), holder(7)), gpu(1, holder(9, is_gone=True))

    assert held_by((ours, theirs), OURS) == (ours,)
