"""What files of the kernel tell of a unit's control group: what it burned, and its processes; both versions. Blocking.

The kernel answers for these files itself, so that no disk can hold a reader up.
"""

from itertools import islice
from pathlib import Path

MOUNT = Path("sys/fs/cgroup")
# The one hierarchy of version 2 comes first; where both versions are in use, systemd's own tree has every process.
TREES = ("", "unified", "systemd")
CPU_TREES = ("cpuacct", "cpu,cpuacct", "cpu")
INIT = "/init.scope"  # where systemd itself is
MOST_PROCESSES = 256


def cpu_s(group: str, *, root: Path) -> float | None:
    """Return the CPU seconds that a control group has burned; None where no file tells."""
    for tree in TREES:
        for line in _lines(_of(group, tree, root) / "cpu.stat"):
            name, _, value = line.partition(" ")
            if name == "usage_usec" and value.isdecimal():
                return int(value) / 1e6
    for tree in CPU_TREES:
        for line in _lines(_of(group, tree, root) / "cpuacct.usage"):
            if line.isdecimal():
                return int(line) / 1e9
    return None


def pids(group: str, *, proc: Path) -> list[int]:
    """Return the processes of a control group and of those below it, by the numbers that `proc` has.

    Those in the group's own file would be ours, which are others where systemd runs in a container.
    """
    if not group.strip("/"):
        return []  # the root of all: it has no group of its own
    # Of several trees systemd's own is the one in which it has a place for itself.
    trees = _groups_of(proc / "1")
    tree = next((tree for tree, path in trees.items() if path.endswith(INIT)), None)
    if tree is None:
        return []
    top = f"{trees[tree].removesuffix(INIT)}{group}/"
    numbers = (int(path.name) for path in proc.iterdir() if path.name.isdecimal())
    found = (pid for pid in numbers if f"{_groups_of(proc / str(pid)).get(tree)}/".startswith(top))
    return list(islice(found, MOST_PROCESSES))


def _groups_of(process: Path) -> dict[str, str]:
    """Return where a process is, by tree; nowhere where it is gone."""
    lines = (line.split(":", 2) for line in _lines(process / "cgroup"))
    return {parts[1]: parts[2] for parts in lines if len(parts) > 2}


def _of(group: str, tree: str, root: Path) -> Path:
    return root / MOUNT / tree / group.lstrip("/")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
