"""Say what keeps a target from being started on a GPU, and what a person can do about it. Asks nobody."""

from collections.abc import Iterable, Mapping
from typing import Any

from supervisor.core.cause import Cause, Diagnosis, shortened, size
from supervisor.core.cause_signs import MEND_THE_GPU
from supervisor.core.diagnose import FULL_SHARE
from supervisor.probes.base import GpuMemory
from supervisor.probes.vram import DRIVERS_OWN_BYTES, MOST_NAMED, room, who_holds

ASK_FOR_LESS = "ask for less: a smaller model, context or -ngl"


def obstacle(
    gpus: tuple[GpuMemory, ...], *, kept: tuple[GpuMemory, ...], pids: frozenset[int], needs_bytes: int | None
) -> Diagnosis | None:
    """Return what speaks against starting a target now, if anything certainly does.

    `kept` are the GPUs whose memory `pids`, its last life, has not given back. Where that leaves room, it is no
    obstacle; where nobody knows what the target needs, nothing else is.
    """
    has_room = None if needs_bytes is None else room(gpus, needs_bytes=needs_bytes, index=None)
    if has_room:
        return None
    if kept:
        return _out_of_vram(who_holds(kept, gone=pids), cure(kept, pids))
    if needs_bytes is None or has_room is None:
        return None
    if all(gpu.is_lost for gpu in gpus):
        says = who_holds(gpus, gone=pids)
        return Diagnosis(cause=Cause.GPU_LOST, says=shortened(says), cure=MEND_THE_GPU, helps_restart=False)
    full = tuple(gpu for gpu in gpus if gpu.used_bytes >= DRIVERS_OWN_BYTES) or gpus
    says = f"it needs {size(needs_bytes)}; {who_holds(full, gone=pids)}"
    return _out_of_vram(says, f"{cure(full, pids)}, or {ASK_FOR_LESS}")


def its_gpu(gpus: tuple[GpuMemory, ...], facts: Mapping[str, Any]) -> GpuMemory | None:
    """Return the GPU whose memory tells something of a target that is on one; `facts` are how it was made.

    Where it was given one alone, or there is but one, that is it. Of several nobody knows which is its own: they tell
    something once all of them are full, and then it is the emptiest.
    """
    given = _given(gpus, facts)
    emptiest = min((gpu for gpu in given if not gpu.is_lost), key=_used_share, default=None)
    if emptiest is None or (len(given) > 1 and _used_share(emptiest) < FULL_SHARE):
        return None
    return emptiest


def held_by(gpus: Iterable[GpuMemory], pids: frozenset[int]) -> tuple[GpuMemory, ...]:
    """Return the GPUs of which one of `pids` holds memory."""
    return tuple(gpu for gpu in gpus if any(holder.pid in pids for holder in gpu.holders))


def cure(gpus: Iterable[GpuMemory], pids: frozenset[int]) -> str:
    """Return what frees the memory of `gpus`; `pids` are those who ought not to hold any more of it."""
    return ", or ".join(step for gpu in gpus for step in _steps(gpu, pids))


def _given(gpus: tuple[GpuMemory, ...], facts: Mapping[str, Any]) -> tuple[GpuMemory, ...]:
    """Return those that it was given by name or number; all of them where that is not said, or not of all."""
    asked = [each.get("ids") for each in facts.get("gpus", ())]
    if not asked or not all(asked):
        return gpus
    names = {str(name) for ids in asked for name in ids}
    found = tuple(gpu for gpu in gpus if names & {str(gpu.index), gpu.uuid})
    return found if len(found) == len(names) else gpus


def _used_share(gpu: GpuMemory) -> float:
    return gpu.used_bytes / max(1, gpu.total_bytes)


def _steps(gpu: GpuMemory, pids: frozenset[int]) -> list[str]:
    if not gpu.holders_are_known:
        return [f"stop what `nvidia-smi` shows on GPU {gpu.index}"]
    living = [each.pid for each in gpu.holders if not each.is_gone]
    left = " ".join(str(pid) for pid in living if pid in pids)
    others = ", ".join(str(pid) for pid in living[:MOST_NAMED] if pid not in pids)
    steps = []
    if left:
        steps.append(f"end what is left of it (`kill -9 {left}`)")
    if others:
        steps.append(f"stop what need not be on GPU {gpu.index} (pid {others})")
    if left or len(living) < len(gpu.holders) or not living:  # the driver itself keeps some of it
        steps.append(f"reset GPU {gpu.index} (`nvidia-smi --gpu-reset -i {gpu.index}`)")
    return steps


def _out_of_vram(says: str, cure: str) -> Diagnosis:
    return Diagnosis(cause=Cause.OUT_OF_VRAM, says=shortened(says), cure=cure, helps_restart=False)
