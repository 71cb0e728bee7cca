"""`python -m bench [NAME...]`: run benchmarks, all of them unless named; status 0 only if every bar was passed."""

import argparse
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Final

import httpx
from docker.errors import DockerException

from bench import cli, client, harm, recovery, rest, routers, verdicts
from bench.report import Report
from bench.world import Options, about
from testbed.debian import NotToBeHad
from testbed.engine import Found, engine

BENCHMARKS: Final[dict[str, Callable[[Found, Options], Report]]] = {
    "recovery": recovery.run,
    "rest": rest.run,
    "cli": cli.run,
    "client": client.run,
    "routers": routers.run,
    "harm": harm.run,
    "verdicts": verdicts.run,
}
# What may go wrong around us; anything else is a mistake in the benchmark and ends all of them.
TROUBLE: Final = (OSError, RuntimeError, subprocess.SubprocessError, httpx.HTTPError, DockerException, NotToBeHad)


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"{', '.join(BENCHMARKS)}; none: all of them")
    parser.add_argument("--runs", type=int, default=5, help="recovery, verdicts: rounds (%(default)s)")
    parser.add_argument("--peer-runs", type=int, default=3, help="recovery: the same for the peer (%(default)s)")
    parser.add_argument("--seconds", type=float, default=120.0, help="rest, harm: how long it is watched (%(default)s)")
    parser.add_argument("--seed", type=int, default=20261123, help="of all that is random (%(default)s)")
    asked = parser.parse_args()
    if strangers := set(asked.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {', '.join(sorted(strangers))}: there are {', '.join(BENCHMARKS)}")
    options = Options(runs=asked.runs, peer_runs=asked.peer_runs, seconds=asked.seconds, seed=asked.seed)
    with engine() as found:
        if found.host is None:
            print(f"bar: fail: nothing was measured: {found.reason}")
            return 1
        passed = [_run(name, found, options) for name in asked.names or BENCHMARKS]  # a failed one stops no other
    return 0 if all(passed) else 1


def _run(name: str, found: Found, options: Options) -> bool:
    print(f"\n{name}:", flush=True)
    circumstances = about(found)
    try:
        report = BENCHMARKS[name](found, options)
    except TROUBLE as trouble:
        traceback.print_exc()
        print(f"bar: fail: not measured to the end: {type(trouble).__name__}: {trouble}", flush=True)
        return False
    path = report.write(circumstances)
    print(f"figures: bench/results/{path.name}", flush=True)
    report.show()
    return report.passed


if __name__ == "__main__":
    sys.exit(main())
