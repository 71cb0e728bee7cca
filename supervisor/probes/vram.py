"""What is made of a GPU's memory: who holds it, whether it was given back, whether there is room.

Knows no driver (`nvml.py` asks it); decides nothing.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from supervisor.core.cause import GIB, cleaned, size
from supervisor.probes.base import GpuMemory, Holder
from supervisor.probes.kernel import PROC

MOST_OF_A_NAME = 64  # characters; the kernel's own limit for a program is 15
MOST_NAMED = 4  # on one GPU; a sentence is to be read
# A driver counts as used what it keeps for itself, some hundreds of MiB: that is held by nobody, and no riddle.
DRIVERS_OWN_BYTES = GIB
# The kernel's own first thread has this number on the host, and in no container that has numbers of its own. Where it
# cannot be seen, neither may others, so that nobody can be said to be gone.
SEEN_ON_HOSTS = (2, "kthreadd")


def holders(users: Mapping[int, int | None], *, proc: Path = PROC) -> tuple[Holder, ...]:
    """Return who the users of a GPU are, whose numbers and bytes the driver told."""
    pid, name = SEEN_ON_HOSTS
    sees_all = _name(pid, proc=proc) == name
    names = {each: _name(each, proc=proc) for each in users}
    found = (
        Holder(pid=each, name=names[each] or "", used_bytes=used, is_gone=sees_all and names[each] is None)
        for each, used in users.items()
    )
    return tuple(sorted(found, key=lambda holder: (-(holder.used_bytes or 0), holder.pid)))


def still_held(gpus: Iterable[GpuMemory], *, pids: frozenset[int]) -> tuple[GpuMemory, ...]:
    """Return the GPUs on which one of `pids`, or a process that is gone, holds memory."""
    return tuple(gpu for gpu in gpus if any(holder.is_gone or holder.pid in pids for holder in gpu.holders))


def room(gpus: tuple[GpuMemory, ...] | None, *, needs_bytes: int, index: int | None) -> bool | None:
    """Return whether `needs_bytes` are free on GPU `index`; None where nobody can tell. On a lost GPU nothing is.

    Without an index it may be any of `gpus` or all together: True where each has room, False where all of them have
    not.
    """
    free = [gpu.free_bytes for gpu in gpus or () if index in (None, gpu.index)]
    if not free:
        return None
    if needs_bytes <= min(free):
        return True
    return False if needs_bytes > sum(free) else None


def who_holds(gpus: Iterable[GpuMemory], *, gone: frozenset[int]) -> str:
    """Return who holds the memory of `gpus`, in words for people; `gone` are those who ought not to any more."""
    return "; ".join(_told(gpu, gone=gone) for gpu in gpus)


def _told(gpu: GpuMemory, *, gone: frozenset[int]) -> str:
    if gpu.is_lost:
        return f"GPU {gpu.index} is lost"
    told = f"{size(gpu.used_bytes)} of {size(gpu.total_bytes)} on GPU {gpu.index} are held"
    if not gpu.holders_are_known:
        return f"{told}, and the driver does not tell by whom"
    parts = [f"{_part(each)} by {_who(each, gone=gone)}" for each in gpu.holders[:MOST_NAMED]]
    if len(gpu.holders) > MOST_NAMED:
        parts.append(f"the rest by {len(gpu.holders) - MOST_NAMED} more")
    unseen_bytes = gpu.used_bytes - sum(each.used_bytes or 0 for each in gpu.holders)
    if unseen_bytes >= DRIVERS_OWN_BYTES and all(each.used_bytes is not None for each in gpu.holders):
        parts.append(f"{size(unseen_bytes)} by nobody that can be seen")
    return f"{told}: {', '.join(parts)}" if parts else told


def _part(holder: Holder) -> str:
    return "an unknown part" if holder.used_bytes is None else size(holder.used_bytes)


def _who(holder: Holder, *, gone: frozenset[int]) -> str:
    if holder.is_gone:
        return f"a process that is gone (pid {holder.pid})"
    note = ", which should be gone" if holder.pid in gone else ""
    return f"{holder.name or 'a process that cannot be seen'} (pid {holder.pid}{note})"


def _name(pid: int, *, proc: Path) -> str | None:
    """Return the kernel's name for a process, empty where it will not tell; None where it knows no such one."""
    try:
        comm = (proc / str(pid) / "comm").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return ""
    return cleaned(comm, most=MOST_OF_A_NAME)
