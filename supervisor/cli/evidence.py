"""Sum up what was seen before something was done: who said what, what ran, what it waited in, its last words.

Pure. Of a bundle any key may be missing: what could not be asked in time is not in it.
"""

from collections.abc import Iterator
from typing import Any

from supervisor.cli.text import clean, hanging
from supervisor.cli.times import moment
from supervisor.cli.why_story import statements
from supervisor.core.durations import took

LAST_LINES = 20  # of a log; all there are come with `export`
MOST_OF_A_LINE = 300  # characters
MOST_PROCESSES = 20
MOST_COUNTS = 4  # of one process
MIB, GIB = 1 << 20, 1 << 30
LABELS = {"cpu_s": "cpu", "memory_bytes": "memory"}

Bundle = dict[str, Any]


def bundles(evidence: Any, *, width: int) -> list[str]:
    """Return the lines about every bundle, a blank one between two."""
    found = _dicts(evidence)
    if not found:
        return ["No evidence was kept of it."]
    told: list[str] = []
    for each in found:
        told += ["", *_bundle(each, width=width)] if told else _bundle(each, width=width)
    return told


def _bundle(bundle: Bundle, *, width: int) -> list[str]:
    return [
        *hanging("", _head(bundle), width=width),
        *statements(_dicts(bundle.get("statements")), width=width, indent="  "),
        *_processes(bundle, width=width),
        *(line for gpu in _dicts(bundle.get("gpu")) for line in hanging("  ", _gpu(gpu), width=width)),
        *(line for each in _gaps(bundle) for line in hanging("  ", each, width=width)),
        *_log(bundle),
    ]


def _head(bundle: Bundle) -> str:
    taken = moment(bundle.get("taken_at"))
    at = "" if taken is None else f" at {taken.strftime('%b %d %H:%M:%S')}"
    verdict, instance = clean(bundle.get("verdict")), clean(bundle.get("instance"))
    life = f" (instance {instance})" if instance else ""
    return f"Evidence of {clean(bundle.get('target'))}{at}: {verdict or 'not judged'}{life}"


def _processes(bundle: Bundle, *, width: int) -> Iterator[str]:
    found = _dicts(bundle.get("processes"))
    if found:
        yield "  processes:"
    for each in found[:MOST_PROCESSES]:
        yield from hanging("    ", _process(each), width=width)
    if len(found) > MOST_PROCESSES:
        yield f"    and {len(found) - MOST_PROCESSES} more"


def _process(process: Bundle) -> str:
    """Return a process in a line, whatever its engine tells of it."""
    who = f"{clean(process.get('pid'))} {clean(process.get('name'))}".strip()
    rest = {key: value for key, value in process.items() if key not in ("pid", "name") and value not in (None, "")}
    return ", ".join([who, *(f"{_label(key)} {_value(key, value)}" for key, value in rest.items())])


def _gpu(gpu: Bundle) -> str:
    who = f"GPU {clean(str(gpu.get('index', '?')))} {clean(gpu.get('name'))}".strip()
    if gpu.get("is_lost"):
        return f"{who}: lost"
    used, total = gpu.get("used_bytes"), gpu.get("total_bytes")
    memory = f"{_size(used)} of {_size(total)} used"
    holders = ", ".join(_holder(each) for each in _dicts(gpu.get("holders")))
    return f"{who}: {memory}, by {holders}" if holders else f"{who}: {memory}"


def _holder(holder: Bundle) -> str:
    name = clean(holder.get("name")) or ("a process that is gone" if holder.get("is_gone") else "?")
    size = "" if holder.get("used_bytes") is None else f" {_size(holder['used_bytes'])}"
    return f"{name} ({clean(holder.get('pid'))}){size}"


def _gaps(bundle: Bundle) -> Iterator[str]:
    """Yield what is not in it, and why."""
    errors = bundle.get("errors")
    for error in errors if isinstance(errors, list) else []:
        yield f"not all could be asked: {clean(error)}"
    if bundle.get("cut"):
        yield clean(bundle["cut"])


def _log(bundle: Bundle) -> Iterator[str]:
    log = bundle.get("log")
    if not isinstance(log, str):
        return
    printed = log.rstrip().splitlines()
    if not printed:
        yield "  it had printed nothing"
        return
    last = printed[-LAST_LINES:]
    kept = "" if len(last) == len(printed) else f", of {len(printed)} that were kept"
    yield f"  the last lines it printed{kept}:"
    for line in last:
        yield f"    | {clean(line[:MOST_OF_A_LINE])}".rstrip()


def _label(key: str) -> str:
    return LABELS.get(key, clean(key).replace("_", " "))


def _value(key: str, value: Any) -> str:
    if isinstance(value, dict):  # such as how many threads wait where
        told = [f"{clean(str(number))} x {clean(what)}" for what, number in value.items()]
        return f"({', '.join(told[:MOST_COUNTS])}{', …' if len(told) > MOST_COUNTS else ''})"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and key.endswith("_bytes"):
        return _size(value)
    return took(value) if is_number and key.endswith("_s") else clean(str(value))


def _size(size_bytes: Any) -> str:
    if not isinstance(size_bytes, int | float):
        return "?"
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{size_bytes / MIB:.0f} MiB"


def _dicts(found: Any) -> list[Bundle]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
