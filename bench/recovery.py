"""How fast is a fault told to routers and cured, is what is merely busy left alone, and how does the usual way compare?

Every fault is real, on llama.cpp's own server in a container, with default settings; the peer goes through the same
on containers of its own at the same time.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from rich.table import Table

from bench import busy, peer
from bench.busy import Spell
from bench.ordeal import Fault, Ordeal, Subject, suffer
from bench.report import Limit, Report, Spread, finite, keep_log, table
from bench.users import Work
from bench.watch import Watch, our_liveness
from bench.world import PREFIX, Options, our_stack
from testbed import tiny_model
from testbed.clients import wait_until
from testbed.engine import Found
from testbed.stack import MODELS, Stack

TOLD_S: Final = 5.0  # the bar, both for medians
AGAIN_S: Final = 20.0
SPELLS: Final = 5
PER_DAEMON: Final = len(MODELS) * len(Fault)  # more, and the backoff between restarts of one target would be measured
SETTLE_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bystanders:
    """What became of the servers to which nothing was done, while something was done to another."""

    told_out: int = 0
    restarts: int = 0


def run(found: Found, options: Options) -> Report:
    """Measure, and hold the figures against the bar."""
    with ThreadPoolExecutor() as pool:
        ours, theirs, bystanders, gap_s = _faults(found, options, pool)
    spells = busy.spells(found, options)
    our_spells = [spell for spell in spells if spell.who == "ours"]
    return Report(
        name="recovery",
        tables=[_fault_table(ours, theirs), _busy_table(spells)],
        results={
            "seed": options.seed,
            "ours": _figures(ours),
            "peer": _figures(theirs),
            "bystanders": asdict(bystanders),
            "longest_gap_between_looks_s": finite(gap_s),
            "busy": [asdict(spell) for spell in spells],
        },
        limits=[
            *_speed_limits(ours),
            Limit(what="restarts of servers to which nothing was done", measured=bystanders.restarts, limit=0),
            Limit(what="restarts of busy servers", measured=sum(each.restarts for each in our_spells), limit=0),
            Limit(what="answers lost by busy servers", measured=sum(bool(e.problem) for e in our_spells), limit=0),
            Limit(
                what=f"busy spells of {busy.AT_LEAST_S:.0f} s and more",
                measured=sum(each.took_s >= busy.AT_LEAST_S for each in our_spells),
                limit=SPELLS,
                at_least=True,
            ),
        ],
        notes=[
            f"servers to which nothing was done meanwhile: {bystanders.restarts} restarts,"
            f" called not routable {bystanders.told_out} times",
            "the peer's killed server is brought back by Docker's restart policy; autoheal has no part in it",
        ],
    )


def _faults(
    found: Found, options: Options, pool: ThreadPoolExecutor
) -> tuple[list[Ordeal], list[Ordeal], Bystanders, float]:
    """Go through all faults, ours one at a time, the peer's beside them, one at a time of each kind."""
    with our_stack(found) as stack, peer.Autoheal(found) as care:
        theirs = [pool.submit(_peer_ordeals, found, care, fault, options) for fault in Fault]
        with Watch(our_liveness(stack)) as watch:
            ours, bystanders = _our_ordeals(stack, watch, options)
        keep_log("recovery-daemon.log", stack.log())
        return ours, [each for future in theirs for each in future.result()], bystanders, watch.longest_gap_s


def _our_ordeals(stack: Stack, watch: Watch, options: Options) -> tuple[list[Ordeal], Bystanders]:
    assert stack.servers is not None, "there is an engine, so the servers are containers"  # noqa: S101
    chance = random.Random(options.seed)  # noqa: S311 - repeatable, not secret
    names, ordeals, others = list(MODELS), [], Bystanders()
    for number, fault in enumerate(fault for _ in range(options.runs) for fault in Fault):
        if number and number % PER_DAEMON == 0:
            _begin_anew(stack)
        waited_s = _wait_a_while(stack, chance)
        name = names[number % len(names)]
        subject = Subject(container=PREFIX + name, url=stack.url(name), name=name)
        began = time.monotonic()
        ordeals.append(suffer(stack.servers, subject, watch, fault, waited_s=waited_s))
        others = _with(others, watch, (other for other in names if other != name), since=began)
        _say("ours", ordeals[-1])
    return ordeals, others


def _wait_a_while(stack: Stack, chance: random.Random) -> float:
    """Wait until all are well, then a random part of our tick, so that faults fall anywhere between two looks."""
    wait_until(stack.is_up, "every backend ready", within_s=SETTLE_S)
    waited_s = chance.uniform(0.0, 2.0)
    time.sleep(waited_s)
    return waited_s


def _begin_anew(stack: Stack) -> None:
    """Give the servers a daemon that remembers no restarts."""
    stack.stop()
    shutil.rmtree(stack.folder / "state")
    stack.start_daemon()


def _with(before: Bystanders, watch: Watch, others: Iterable[str], *, since: float) -> Bystanders:
    until = time.monotonic()
    told_out, restarts = before.told_out, before.restarts
    for other in others:
        told_out += watch.spells_out(other, since=since, until=until)[0]
        restarts += max(0, watch.lives(other, since=since, until=until) - 1)
    return Bystanders(told_out=told_out, restarts=restarts)


def _peer_ordeals(found: Found, care: peer.Autoheal, fault: Fault, options: Options) -> list[Ordeal]:
    """Let one container of the peer's go through `fault` several times."""
    name = peer.PEER + fault.name.lower().replace("_", "-")
    chance = random.Random(f"{options.seed} {fault}")  # noqa: S311 - repeatable, not secret
    ordeals = []
    with peer.servers_of(found) as servers, peer.servers_of(found) as seen:
        subject = Subject(container=name, url=peer.run(servers, name, tiny_model.ensure()), name=name)
        with Watch(partial(peer.health_of, seen, [name]), every_s=peer.LOOK_EVERY_S) as watch:
            for _ in range(options.peer_runs):
                peer.wait_healthy(servers, name, care)
                waited_s = chance.uniform(0.0, peer.INTERVAL_S)
                time.sleep(waited_s)
                ordeals.append(suffer(servers, subject, watch, fault, waited_s=waited_s))
                _say("peer", ordeals[-1])
    return ordeals


def _say(who: str, ordeal: Ordeal) -> None:
    print(
        f"{who}: {ordeal.fault} of {ordeal.subject}: told after {ordeal.told_s} s,"
        f" answering after {ordeal.again_s} s, routable after {ordeal.routable_s} s",
        flush=True,
    )


def _speed_limits(ours: list[Ordeal]) -> Iterator[Limit]:
    for fault in Fault:
        told, again = (_spread(ours, fault, key) for key in ("told_s", "again_s"))
        yield Limit(what=f"{fault}: median to told", measured=told.median, limit=TOLD_S, unit=" s")
        yield Limit(what=f"{fault}: median to answering again", measured=again.median, limit=AGAIN_S, unit=" s")


def _spread(ordeals: list[Ordeal], fault: Fault, key: str) -> Spread:
    return Spread.of(getattr(each, key) for each in ordeals if each.fault is fault)


def _figures(ordeals: list[Ordeal]) -> dict[str, Any]:
    keys = ("told_s", "again_s", "routable_s")
    summary = {str(fault): {key: _spread(ordeals, fault, key).figures() for key in keys} for fault in Fault}
    return {"summary": summary, "samples": [asdict(ordeal) for ordeal in ordeals]}


def _fault_table(ours: list[Ordeal], theirs: list[Ordeal]) -> Table:
    columns = ("told_s", "again_s", "routable_s")
    rows = [
        [f"{who}, {fault}", str(len(spreads[0].values)), *(spread.text() for spread in spreads)]
        for who, ordeals in (("ours", ours), ("healthcheck + autoheal", theirs))
        for fault in Fault
        for spreads in [[_spread(ordeals, fault, column) for column in columns]]
    ]
    title = "seconds from the fault: median (min - max)"
    return table(title, "", "runs", "routers told", "answering again", "routable again", rows=rows)


def _busy_table(spells: list[Spell]) -> Table:
    def row(who: str, work: Work) -> list[str]:
        mine = [spell for spell in spells if spell.who == who and spell.work is work]
        whole = sum(not spell.problem for spell in mine)
        total: Callable[[str], float] = lambda key: sum(getattr(spell, key) for spell in mine)  # noqa: E731
        took = Spread.of(spell.took_s for spell in mine)
        return [
            f"{'ours' if who == 'ours' else 'healthcheck + autoheal'}, {work}",
            str(len(mine)),
            took.text(digits=0),
            f"{total('restarts'):.0f}",
            f"{whole} of {len(mine)}",
            f"{total('told_out'):.0f} times, {total('told_out_s'):.1f} s",
        ]

    rows = [row(who, work) for who in ("ours", "peer") for work in Work]
    title = "one slot, busy with one long request"
    return table(title, "", "spells", "seconds", "restarts", "answers whole", "called not routable", rows=rows)
