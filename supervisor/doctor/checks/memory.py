"""The machine's memory: next to none left, and the kernel will choose a model server to kill."""

from collections.abc import Iterator

from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, note, ok, warning

KIB_PER_MIB = 1024
SCARCE_SHARE, SCARCE_MIB = 0.03, 512
SWAPPED_SHARE = 0.9


def look(around: Around) -> Iterator[Finding]:
    """Look at what the kernel tells."""
    try:
        lines = (around.proc / "meminfo").read_text().splitlines()
    except OSError as problem:
        yield note(f"memory was not seen: {problem.strerror}")
        return
    told = {key: int(value.split()[0]) // KIB_PER_MIB for key, _, value in (line.partition(":") for line in lines)}
    free, whole = told.get("MemAvailable", 0), told.get("MemTotal", 1)
    swap, left = told.get("SwapTotal", 0), told.get("SwapFree", 0)
    found = list(_scarce(free, whole))
    if swap and left < (1 - SWAPPED_SHARE) * swap:
        seen = f"{swap - left} of {swap} MiB of swap are in use: a model that is swapped out answers as if it hung"
        cure = "see who uses it, or lock the models in memory (--mlock)"
        found.append(note(seen, cure=cure, command="ps -eo pid,rss,comm --sort -rss | head"))
    yield from found or [ok(f"{free} of {whole} MiB are available")]


def _scarce(free: int, whole: int) -> Iterator[Finding]:
    if free < SCARCE_MIB and free < SCARCE_SHARE * whole:
        seen = f"only {free} of {whole} MiB of memory are available: the kernel will soon kill somebody"
        cure = "run fewer or smaller models, or bound the containers (docker update --memory)"
        yield warning(seen, cure=cure, command="ps -eo pid,rss,comm --sort -rss | head")
