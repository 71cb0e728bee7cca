"""Is what works ever restarted, and is what hangs ever missed? A matrix of real situations, with default settings.

One daemon watches all of the servers at once, each in a situation of its own; what came of it is taken from the
liveness file, the engine's events and the users' own answers.
"""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.following import Hearsay, Starts
from bench.outcomes import Illness, Spell
from bench.playing import Scene
from bench.report import Report, keep_log
from bench.situations import BROKEN, WORKING, Broken, Working
from bench.stands import Make, Pace, Stand, pace_of
from bench.verdicts_table import limits, results, tables
from bench.watch import Watch
from bench.world import Options, client_of
from testbed.clients import wait_until
from testbed.engine import Found
from testbed.image import ensure_image
from testbed.supervisord import Supervisord, toml

UP_WITHIN_S: Final = 180.0
LOOK_EVERY_S: Final = 0.1
APART_S: Final = 60.0  # between two restarts of one server: less, and the backoff would be measured


def run(found: Found, options: Options) -> Report:
    """Measure, and hold the figures against the bar."""
    spells, illnesses = measure(found, WORKING, BROKEN, runs=options.runs, seed=options.seed)
    strong = [each for each in BROKEN if each.is_strong]
    _, alone = measure(found, (), strong, runs=options.runs, seed=options.seed + 1)
    return Report(
        name="verdicts",
        tables=tables(spells, illnesses, alone),
        results={"seed": options.seed, **results(spells, illnesses, alone)},
        limits=limits(spells, illnesses, alone),
        notes=[
            "told out, kept: called not routable for a while and not restarted; harmless, and right where it could not"
            " serve anyone",
            "strong: no progress and no CPU, which can be seen at once; the other faults show only in an answer, or"
            " in one that does not come",
        ],
    )


def measure(
    found: Found,
    working: Sequence[Working],
    broken: Sequence[Broken],
    *,
    runs: int,
    seed: int,
    apart_s: float = APART_S,
) -> tuple[list[Spell], list[Illness]]:
    """Put one server into each situation, `runs` rounds of it, all under one daemon, and return what came of it."""
    every: list[Working | Broken] = [*working, *broken]
    makes = {each.name: each.make for each in every}
    paces = _paces(found, makes.values())
    with (
        ThreadPoolExecutor(len(every)) as pool,
        _stands(found, makes, pool) as stands,
        _daemon(found, stands.values()) as daemon,
        Starts(found) as starts,
    ):
        hearsay = Hearsay(daemon.liveness_file)
        with Watch(hearsay, every_s=LOOK_EVERY_S) as watch:
            _wait_up(daemon, hearsay, [stands[each.name] for each in every if _is_up_at_first(each)])
            scene = Scene(watch, hearsay, starts, paces, seed=seed, apart_s=apart_s)
            spending = [pool.submit(scene.spend, stands[each.name], each, runs) for each in working]
            suffering = [pool.submit(scene.suffer, stands[each.name], each, runs) for each in broken]
            try:
                spells = [spell for future in spending for spell in future.result()]
                illnesses = [illness for future in suffering for illness in future.result()]
            finally:
                scene.is_over.set()
                keep_log("verdicts-daemon.log", daemon.log())
        daemon.check_alive()
    return spells, illnesses


def _is_up_at_first(situation: Working | Broken) -> bool:
    return isinstance(situation, Broken) or situation.is_up_at_first


def _wait_up(daemon: Supervisord, hearsay: Hearsay, stands: Sequence[Stand]) -> None:
    def all_up() -> bool:
        daemon.check_alive()
        return all(hearsay.is_up(stand.name) for stand in stands)

    try:
        wait_until(all_up, "every server up", within_s=UP_WITHIN_S)
    except TimeoutError as late:
        late.add_note(daemon.log())
        raise


@contextlib.contextmanager
def _stands(found: Found, makes: Mapping[str, Make], pool: ThreadPoolExecutor) -> Iterator[dict[str, Stand]]:
    """Start every server."""
    with contextlib.ExitStack() as stack:
        image = ensure_image(stack.enter_context(client_of(found)))
        stands: dict[str, Stand] = {}
        for name, make in makes.items():
            client = stack.enter_context(client_of(found))
            stands[name] = stack.enter_context(Stand(client, image, _slug(name), make))
        list(pool.map(Stand.start, stands.values()))
        yield stands


def _paces(found: Found, makes: Iterable[Make]) -> dict[str, Pace]:
    """Measure how fast each kind of server is, on one that has a core to itself."""
    paces: dict[str, Pace] = {}
    with client_of(found) as client:
        image = ensure_image(client)
        for make in {make.kind: make for make in makes}.values():
            with Stand(client, image, "pace", replace(make, cpus=1.0)) as stand:
                stand.start()
                paces[make.kind] = pace_of(stand)
    return paces


@contextlib.contextmanager
def _daemon(found: Found, stands: Iterable[Stand]) -> Iterator[Supervisord]:
    """Start the daemon: no setting but where its targets are."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Supervisord(Path(folder)) as daemon:
        engine = f"[docker]\nhost = {toml(found.host)}\n"
        daemon.write_settings(engine + "".join(stand.target() for stand in stands))
        daemon.start()
        daemon.wait_answers()
        yield daemon


def _slug(name: str) -> str:
    return "-".join(name.replace(",", "").lower().split())
