"""Is `benchai-supervisorctl status` as quick as `supervisorctl status`? People and scripts call both in a hurry."""

import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import debian_supervisor
from bench.report import Limit, Report, Spread, finite, table
from bench.world import Options, our_stack
from testbed.engine import Found
from testbed.stack import MODELS

WARM_UP_RUNS: Final = 3  # compiles what is imported, and reads it into memory
RUNS: Final = 30
OURS, THEIRS = "benchai-supervisorctl status", "supervisorctl status"
OUR_FLOOR, THEIR_FLOOR = "our interpreter, doing nothing", "Debian's interpreter, doing nothing"
DEBIANS: Final = "/usr/bin/python3"  # what Debian's supervisorctl runs on


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run, in which environment (None: ours)."""

    words: list[str]
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one run took: until its end, and of the CPU."""

    wall_s: float
    cpu_s: float


def run(found: Found, options: Options) -> Report:  # noqa: ARG001 - every benchmark takes the same
    """Run the commands in turn, so that whatever else the machine does hits all of them alike."""
    with our_stack(found) as stack, debian_supervisor.supervisord(list(MODELS)) as theirs:
        commands = {
            OURS: Command(words=[*_our_command(), "--server", f"unix://{stack.socket}", "status"]),
            THEIRS: Command(words=theirs.status(), environment=theirs.installed.environment),
            OUR_FLOOR: Command(words=[sys.executable, "-c", "pass"]),
            THEIR_FLOOR: Command(words=[DEBIANS, "-c", "pass"], environment=theirs.installed.environment),
        }
        for _ in range(WARM_UP_RUNS):
            for command in commands.values():
                _time(command)
        took = {name: [] for name in commands}  # type: dict[str, list[Took]]
        for _ in range(RUNS):
            for name, command in commands.items():
                took[name].append(_time(command))
        version = theirs.installed.version()
    wall = {name: Spread.of(each.wall_s for each in runs) for name, runs in took.items()}
    cpu = {name: Spread.of(each.cpu_s for each in runs) for name, runs in took.items()}
    ratio = wall[OURS].median / wall[THEIRS].median
    rows = [
        [name, str(RUNS), wall[name].text(digits=0, scale=1e3), cpu[name].text(digits=0, scale=1e3)] for name in took
    ]
    title = f"milliseconds: median (min - max); supervisor is Debian's {version}"
    return Report(
        name="cli",
        tables=[table(title, "", "runs", "until its end", "CPU", rows=rows)],
        results={
            "supervisord_version": version,
            "ratio_of_medians": finite(ratio),
            "ratio_of_cpu_medians": finite(cpu[OURS].median / cpu[THEIRS].median),
            "wall_s": {name: spread.figures() for name, spread in wall.items()},
            "cpu_s": {name: spread.figures() for name, spread in cpu.items()},
            "samples_wall_s": {name: [finite(value) for value in spread.values] for name, spread in wall.items()},
        },
        limits=[Limit(what=f"{OURS} / {THEIRS}, medians", measured=ratio, limit=1.0)],
        notes=[f"{OURS} takes {ratio:.2f} of what {THEIRS} takes"],
    )


def _our_command() -> list[str]:
    """Return the installed command, or the module where there is none."""
    installed = Path(sys.prefix, "bin", "benchai-supervisorctl")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "supervisor.cli"]


def _time(command: Command) -> Took:
    cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        command.words, env=command.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
    )
    wall_s = time.perf_counter() - began
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall_s=wall_s, cpu_s=cpu.ru_utime - cpu_before.ru_utime + cpu.ru_stime - cpu_before.ru_stime)
