"""Have every check look, side by side, and wait for none longer than told: what hangs is itself a finding."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, Severity, error, warning

LIMIT_S = 12.0
Look = Callable[[Around], Iterable[Finding]]
ORDER = list(Severity)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, the worst first, each with the check that found it; and who looked."""

    findings: tuple[tuple[str, Finding], ...]
    checks: tuple[str, ...]

    @property
    def is_in_the_way(self) -> bool:
        """Whether anything is."""
        return any(found.severity.is_in_the_way for _, found in self.findings)


def examine(around: Around, checks: Mapping[str, Look], *, limit_s: float = LIMIT_S) -> Report:
    """Return what all checks find; one that is not done after `limit_s` is told of, and left behind."""
    done: SimpleQueue[tuple[str, list[Finding]]] = SimpleQueue()
    for name, look in checks.items():
        Thread(target=_look, args=(name, look, around, done), name=f"doctor {name}", daemon=True).start()
    found: dict[str, list[Finding]] = {}
    until = time.monotonic() + limit_s
    while len(found) < len(checks):
        try:
            name, findings = done.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            break
        found[name] = findings
    for name in checks:
        found.setdefault(name, [_late(limit_s)])
    return Report(_sorted(checks, found, around.names), tuple(checks))


def of_problems(problems: Iterable[str]) -> Report:
    """Return what can be said where the settings cannot be used: that, and nothing about anything else."""
    found = [("settings", _problem(each)) for each in problems]
    return Report(tuple(found), ("settings",))


def _problem(problem: str) -> Finding:
    if "(Permission denied)" in problem:
        return error(problem, cure="run the doctor as root, or as a user who may read it; nothing else was looked at")
    cure = "mend that first; nothing else was looked at"
    return error(problem, cure=cure, command="benchai-supervisorctl check-config")


def _look(name: str, look: Look, around: Around, done: "SimpleQueue[tuple[str, list[Finding]]]") -> None:
    try:
        done.put((name, list(look(around))))
    except Exception as fault:  # noqa: BLE001 - a fault of one check must not cost the others' words
        seen = f"this check failed by our own fault: {type(fault).__name__}: {fault}"
        done.put((name, [warning(seen, cure="report it, with these words; the other checks are not concerned")]))


def _late(limit_s: float) -> Finding:
    cure = "something that it asks hangs; what the other checks found may say what"
    return warning(f"no answer within {limit_s:g} s", cure=cure)


def _sorted(
    checks: Iterable[str], found: Mapping[str, Sequence[Finding]], names: frozenset[str]
) -> tuple[tuple[str, Finding], ...]:
    told = [(name, each) for name in checks for each in found[name]]
    wanted = [(name, each) for name, each in told if not names or each.target is None or each.target in names]
    return tuple(sorted(wanted, key=lambda each: ORDER.index(each[1].severity)))
