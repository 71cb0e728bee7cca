"""Put one server through its situation again and again, and write down what came of it, seen from outside."""

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

from bench.following import Hearsay, Starts
from bench.outcomes import Illness, Spell
from bench.situations import LATER_S, Broken, Working
from bench.spells import Occasion
from bench.stands import Pace, Stand
from bench.watch import Watch
from testbed.clients import wait_until

SETTLE_S: Final = 3.0  # a restart that comes too late for the user is one all the same
WELL_WITHIN_S: Final = 180.0
AT_A_TIME: Final = 3  # faults; if many fail at once that is another story, for which there are other rules
TICK_S: Final = 2.0


class Scene:
    """What all situations have in common: who watches, how fast servers are, and that few may fail at a time."""

    def __init__(
        self, watch: Watch, hearsay: Hearsay, starts: Starts, paces: dict[str, Pace], *, seed: int, apart_s: float
    ) -> None:
        self.watch = watch
        self.hearsay = hearsay
        self.starts = starts
        self.seed = seed
        self.is_over = threading.Event()
        self._paces = paces
        self._apart_s = apart_s
        self._few = threading.BoundedSemaphore(AT_A_TIME)

    def spend(self, stand: Stand, situation: Working, runs: int) -> list[Spell]:
        """Let a server that works have its spells."""
        return [
            self._spell(stand, situation, self._occasion(stand, situation.name, situation.seconds, number))
            for number in self._numbers(runs * situation.times)
        ]

    def suffer(self, stand: Stand, situation: Broken, runs: int) -> list[Illness]:
        """Break a server, wait until it has been cured, and so on."""
        return [
            self._illness(stand, situation, self._occasion(stand, situation.name, situation.within_s, number))
            for number in self._numbers(min(runs, situation.most_runs))
        ]

    def _numbers(self, runs: int) -> Iterator[int]:
        for number in range(runs):
            if self.is_over.is_set():
                return
            yield number

    def _occasion(self, stand: Stand, situation: str, seconds: float, number: int) -> Occasion:
        """Return what a spell must know; the pace is what is left at its share of a core."""
        whole, cpus = self._paces[stand.make.kind], stand.make.cpus
        pace = Pace(prefilled=whole.prefilled * cpus, generated=whole.generated * cpus)
        chance = random.Random(f"{self.seed} {situation} {number}")  # noqa: S311 - repeatable, not secret
        return Occasion(stand=stand, pace=pace, seconds=seconds, chance=chance)

    def _spell(self, stand: Stand, situation: Working, occasion: Occasion) -> Spell:
        ours, began = stand.own_starts, time.monotonic()
        problem = situation.spend(occasion)
        ended = time.monotonic()
        time.sleep(SETTLE_S)
        told_out, told_out_s = self.watch.spells_out(stand.name, since=began, until=ended)
        spell = Spell(
            situation=situation.name,
            took_s=round(ended - began, 2),
            restarts=self._restarts(stand, since=began, ours=ours),
            told_out=told_out,
            told_out_s=round(told_out_s, 2),
            verdicts=self.hearsay.verdicts(stand.name, since=began, until=ended),
            problem=problem,
        )
        _say(spell)
        if situation.leaves_broken:
            stand.start_anew()
        if situation.is_up_at_first:  # a new life must be known before the next spell begins
            wait_until(lambda: self.hearsay.is_up(stand.name), f"{stand.name} up again", within_s=WELL_WITHIN_S)
        return spell

    def _illness(self, stand: Stand, situation: Broken, occasion: Occasion) -> Illness:
        ours = stand.own_starts
        with contextlib.nullcontext() if situation.within_s >= LATER_S else self._few:
            time.sleep(occasion.chance.uniform(0.0, TICK_S))  # so that faults fall anywhere between two looks
            with situation.inflict(occasion):
                began = time.monotonic()
                restarted = self.starts.first(stand.container, after=began, within_s=situation.within_s)
        told = self.watch.first(stand.name, routable=False, after=began)
        if restarted is None:
            stand.start_anew()
        after = restarted or time.monotonic()
        well = self.watch.first(stand.name, routable=True, after=after, within_s=WELL_WITHIN_S)
        time.sleep(self._apart_s)
        illness = Illness(
            situation=situation.name,
            told_s=_since(began, told),
            restarted_s=_since(began, restarted),
            well_s=_since(began, well),
            restarts=self._restarts(stand, since=began, ours=ours),
            verdicts=self.hearsay.verdicts(stand.name, since=began, until=time.monotonic()),
        )
        _say(illness)
        return illness

    def _restarts(self, stand: Stand, *, since: float, ours: int) -> int:
        """Return how often it was started since a moment, but for the times that we did it ourselves."""
        return len(self.starts.of(stand.container, since=since, until=time.monotonic())) - (stand.own_starts - ours)


def _since(began: float, at: float | None) -> float | None:
    return None if at is None else round(at - began, 2)


def _say(what: Spell | Illness) -> None:
    told = {key: value for key, value in asdict(what).items() if key != "situation"}
    print(f"{what.situation}: {', '.join(f'{key} {value}' for key, value in told.items())}", flush=True)
