"""What does the daemon cost while nothing happens, and what do the servers it watches have to bear?

Four idle backends, beside Debian's supervisord with four programs and a bare interpreter, at the same time.
"""

import contextlib
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from rich.table import Table

from bench import debian_supervisor
from bench.report import Limit, Report, finite, table
from bench.watch import Watch, our_liveness
from bench.world import PREFIX, Options, our_stack
from testbed.engine import Found
from testbed.stack import MODELS, Stack

WARM_UP_S: Final = 45.0
LOOK_EVERY_S: Final = 0.1
MIB: Final = 2**20
# llama.cpp numbers all that it has to do, a look at its counters and each further token too, and logs the numbers of
# completions: so they tell how much else there was in between.
_COMPLETION: Final = re.compile(
    r"^(\d+)\.(\d+)\.(\d+)\.\d+ I slot launch_slot_: .*\| task (\d+) \|[^|]*$"  # minutes, seconds, ms; number
    r"(?:.*\n)*?.*print_timing: .*\|\s+eval time = .* / +(\d+) tokens",
    re.MULTILINE,
)
_TRANSITION: Final = re.compile(r"\w+ → \w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process takes."""

    rss_mib: float
    pss_mib: float
    uss_mib: float
    threads: int
    files: int
    cpu_share: float  # of one core


@dataclass(frozen=True, slots=True, kw_only=True)
class Burden:
    """What one server had to bear from us."""

    requests_per_min: float
    canaries_per_min: float
    prompt_tokens_per_canary: float
    answer_tokens_per_canary: float
    tokens_per_h: float


def run(found: Found, options: Options) -> Report:
    """Measure, and see that nothing was done."""
    with our_stack(found) as stack, debian_supervisor.supervisord(list(MODELS)) as theirs, _bare() as bare:
        version = theirs.installed.version()
        processes = {"ours": stack.pid, "supervisord": theirs.pid, "bare": bare}
        with Watch(our_liveness(stack), every_s=LOOK_EVERY_S) as watch:
            time.sleep(WARM_UP_S)
            transitions_before = _transitions(stack)
            began = time.monotonic()
            costs = _costs(processes, options.seconds)
            until = time.monotonic()
            burdens = {name: _burden(stack, name) for name in MODELS}
            told_out = sum(watch.spells_out(name, since=began, until=until)[0] for name in MODELS)
        transitions = _transitions(stack)[len(transitions_before) :]
        restarts = sum(target["restarts"] for target in stack.status()["targets"])
    return Report(
        name="rest",
        tables=[_cost_table(costs, version), _burden_table(burdens)],
        results={
            "seconds": options.seconds,
            "supervisord_version": version,
            "costs": {who: asdict(cost) for who, cost in costs.items()},
            "ratios_to_supervisord": _ratios(costs),
            "per_server": {name: asdict(burden) for name, burden in burdens.items()},
            "restarts": restarts,
            "transitions": transitions,
            "told_not_routable": told_out,
        },
        limits=[
            Limit(what="restarts at rest", measured=restarts, limit=0),
            Limit(what="times a server at rest was called not routable", measured=told_out, limit=0),
            Limit(what="transitions at rest", measured=len(transitions), limit=0),
        ],
        notes=[f"watched for {options.seconds:.0f} s after {WARM_UP_S:.0f} s; CPU is of one core, all threads"],
    )


@contextlib.contextmanager
def _bare() -> Iterator[int]:
    """Run an interpreter that only sleeps: the floor of any Python daemon."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(86400)"], start_new_session=True)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _costs(processes: dict[str, int], seconds: float) -> dict[str, Cost]:
    """Look at every process before and after `seconds` of rest."""
    known = {who: psutil.Process(pid) for who, pid in processes.items()}
    before = {who: _spent_s(process) for who, process in known.items()}
    time.sleep(seconds)
    return {who: _cost(process, (_spent_s(process) - before[who]) / seconds) for who, process in known.items()}


def _spent_s(process: psutil.Process) -> float:
    """Return the CPU time of all threads to the nanosecond; the usual clock ticks are too coarse for supervisord."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int(Path(task, "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _cost(process: psutil.Process, cpu_share: float) -> Cost:
    memory = process.memory_full_info()
    return Cost(
        rss_mib=round(memory.rss / MIB, 1),
        pss_mib=round(memory.pss / MIB, 1),
        uss_mib=round(memory.uss / MIB, 1),
        threads=process.num_threads(),
        files=process.num_fds(),
        cpu_share=round(cpu_share, 6),
    )


def _transitions(stack: Stack) -> list[str]:
    return [line.split(" ", 2)[2].strip() for line in stack.log().splitlines() if _TRANSITION.search(line)]


def _burden(stack: Stack, name: str) -> Burden:
    """Read from the server's log and counters what it had to do; nobody but us has asked anything of it."""
    assert stack.servers is not None, "there is an engine, so the servers are containers"  # noqa: S101
    seen = [tuple(map(int, match)) for match in _COMPLETION.findall(stack.servers.log(PREFIX + name))]
    prompt, answer = (tokens / len(seen) if seen else math.nan for tokens in _tokens(stack, name))
    requests, canaries = _rates(seen[1:])  # the first comes in the midst of the start, when we look more often
    return Burden(
        requests_per_min=round(requests, 1),
        canaries_per_min=round(canaries, 2),
        prompt_tokens_per_canary=round(prompt, 1),
        answer_tokens_per_canary=round(answer, 1),
        tokens_per_h=round((prompt + answer) * canaries * 60),
    )


def _rates(seen: list[tuple[int, ...]]) -> tuple[float, float]:
    """Return how many requests, and how many completions of them, a minute the server's own numbering shows."""
    at_min = [minutes + seconds / 60 + ms / 60_000 for minutes, seconds, ms, _, _ in seen]
    numbers = seen[-1][3] - seen[0][3] - sum(tokens for *_, tokens in seen[:-1])
    over_min = at_min[-1] - at_min[0]
    return numbers / over_min, (len(seen) - 1) / over_min


def _tokens(stack: Stack, name: str) -> tuple[float, float]:
    """Return how many tokens of prompts and of answers the server has counted."""
    text = httpx.get(f"{stack.url(name)}/metrics", timeout=10.0, trust_env=False).raise_for_status().text
    values = dict(re.findall(r"^llamacpp:(\w+) (\S+)$", text, re.MULTILINE))
    return float(values["prompt_tokens_total"]), float(values["tokens_predicted_total"])


def _ratios(costs: dict[str, Cost]) -> dict[str, float | None]:
    ours, theirs = asdict(costs["ours"]), asdict(costs["supervisord"])
    return {key: finite(ours[key] / theirs[key]) if theirs[key] else None for key in ours}


def _cost_table(costs: dict[str, Cost], version: str) -> Table:
    names = {
        "ours": "benchai-supervisord, 4 backends",
        "supervisord": f"supervisord {version}, 4 programs",
        "bare": "a Python that sleeps",
    }
    rows = [
        [
            names[who],
            f"{cost.rss_mib:.1f}",
            f"{cost.pss_mib:.1f}",
            f"{cost.cpu_share:.3%}",
            str(cost.threads),
            str(cost.files),
        ]
        for who, cost in costs.items()
    ]
    ratio: dict[str, Any] = _ratios(costs)
    figures = ("rss_mib", "pss_mib", "cpu_share", "threads", "files")
    rows.append(["ours / supervisord", *("-" if ratio[key] is None else f"{ratio[key]:.1f}" for key in figures)])
    return table("at rest", "", "RSS MiB", "PSS MiB", "CPU of a core", "threads", "files", rows=rows)


def _burden_table(burdens: dict[str, Burden]) -> Table:
    rows = [
        [
            name,
            f"{each.requests_per_min:.1f}",
            f"{each.canaries_per_min:.2f}",
            f"{each.prompt_tokens_per_canary:.0f} + {each.answer_tokens_per_canary:.0f}",
            f"{each.tokens_per_h:.0f}",
        ]
        for name, each in burdens.items()
    ]
    columns = ("requests/min", "of them canaries", "tokens of a canary: prompt + answer", "tokens/h")
    return table("what each idle server saw of us", "", *columns, rows=rows)
