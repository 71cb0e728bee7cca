"""What does supervision cost the users of a server? Ratios and counts beside the same servers without it, in one run.

First the saturated servers, alone on the machine, since they are timed. Then everything that is only counted, together.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from rich.table import Table

from bench import counts, loss, talk
from bench.counts import Slept, Spent, Streamed
from bench.loss import Answer, Interval, Loss, Role
from bench.report import Limit, Report, finite, keep_log, table
from bench.talk import Turn
from bench.twins import running, supervised
from bench.world import Options, client_of
from testbed.engine import Found

NOISE_LIMIT: Final = 0.15  # noisier, and "no loss beyond the noise" would be an empty sentence
LATER_LIMIT_S: Final = 3.0  # the look that finds the server idle may be the last thing that it has to do
STREAMS_SHARE: Final = 0.5  # of the time that is watched; the last streams must still end in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """All that is counted, not timed."""

    talks: Mapping[str, list[Turn]]
    streamed: list[Streamed]
    slept: list[Slept]
    spent: Spent
    restarts: int


def run(found: Found, options: Options) -> Report:
    """Measure what is lost, then count what may not be."""
    with client_of(found) as client:
        answers = loss.measure(client, seed=options.seed)
    lost = loss.losses(answers, seed=options.seed)
    counted = _count(found, options)
    return Report(
        name="harm",
        tables=[_loss_table(lost), _talk_table(counted.talks), _count_table(counted)],
        results={
            "loss": [_loss_figures(each) for each in lost],
            "answers": {role: sum(each.role is role for each in answers) for role in Role},
            "answers_cut": [f"{each.role}: {each.problem}" for each in answers if each.problem],
            "conversations": {name: [asdict(turn) for turn in turns] for name, turns in counted.talks.items()},
            "streams": [{**asdict(each), "most_queued": finite(each.most_queued)} for each in counted.streamed],
            "sleepers": [asdict(each) for each in counted.slept],
            "at_rest": {**asdict(counted.spent), "tokens_per_hour": finite(counted.spent.per_hour, 0)},
            "restarts": counted.restarts,
        },
        limits=[*_loss_limits(lost, answers), *_count_limits(counted)],
        notes=[
            f"ratios are medians of {loss.ROUNDS * len(loss.SERVERS)} rounds, in brackets 95 % intervals (bootstrap)",
            "noise: the same ratio between two servers that nobody supervises",
        ],
    )


def _count(found: Found, options: Options) -> Counted:
    """Let everything that is only counted go on at the same time."""
    known = (*(each.name for each in talk.SETTINGS), *counts.SUPERVISED)
    with (
        client_of(found) as client,
        running(client, [*talk.servers(), *counts.servers()]) as urls,
        supervised({name: urls[name] for name in known}) as daemon,
        ThreadPoolExecutor(len(talk.SETTINGS) + len(counts.STREAMS) + 1) as pool,
    ):
        talks = {each.name: pool.submit(talk.hold, each, urls, seed=options.seed) for each in talk.SETTINGS}
        stream = partial(counts.stream, seconds=options.seconds * STREAMS_SHARE, seed=options.seed)
        streams = [pool.submit(stream, name, urls[name]) for name in counts.STREAMS]
        sleepers = pool.submit(counts.sleep_beside, urls, seconds=options.seconds)
        spent = counts.rest(urls[counts.RESTING], seconds=options.seconds)
        counted = Counted(
            talks={name: held.result() for name, held in talks.items()},
            streamed=[each.result() for each in streams],
            slept=sleepers.result(),
            spent=spent,
            restarts=sum(target["restarts"] for target in daemon.status()["targets"]),
        )
        keep_log("harm-daemon.log", daemon.log())
        return counted


def _loss_limits(lost: Sequence[Loss], answers: Sequence[Answer]) -> Iterator[Limit]:
    cut = sum(bool(each.problem) for each in answers if each.role is Role.SUPERVISED)
    yield Limit(what="saturated: answers cut", measured=cut, limit=0)
    for each in lost:
        what = f"{each.kind} requests: {each.figure}"
        yield Limit(what=f"{what}, loss beyond the noise", measured=each.beyond_noise, limit=0)
        yield Limit(what=f"{what}, noise", measured=each.noise.half_width, limit=NOISE_LIMIT)


def _count_limits(counted: Counted) -> Iterator[Limit]:
    for setting in talk.SETTINGS:
        again = sum(turn.read_again for turn in counted.talks[setting.name])
        yield Limit(what=f"{setting.what}: read again", measured=again, limit=0, unit=" tokens")
    for each in counted.streamed:
        yield Limit(what=f"{each.server}: streams cut", measured=len(each.problems), limit=0)
        yield Limit(what=f"{each.server}: requests behind its users", measured=each.most_queued, limit=1)
    sleeper, alone = counted.slept
    later = math.inf if sleeper.asleep_after_s is None else sleeper.asleep_after_s - (alone.asleep_after_s or math.nan)
    yield Limit(what="asleep later than its twin", measured=later, limit=LATER_LIMIT_S, unit=" s")
    yield Limit(what="times a sleeper was woken", measured=sleeper.woken, limit=0)
    yield Limit(what="restarts", measured=counted.restarts, limit=0)


def _loss_figures(each: Loss) -> dict[str, Any]:
    def figures(interval: Interval) -> dict[str, float | None]:
        return {key: finite(value) for key, value in asdict(interval).items()}

    return {
        "kind": each.kind,
        "figure": each.figure,
        "ratio": figures(each.ratio),
        "noise": figures(each.noise),
        "loss_beyond_noise": finite(each.beyond_noise),
    }


def _loss_table(lost: Sequence[Loss]) -> Table:
    rows = [[f"{each.kind} requests, {each.figure}", _text(each.ratio), _text(each.noise)] for each in lost]
    title = "a saturated server: median ratio (95 % interval)"
    return table(title, "", "supervised / alone", "noise: alone / alone", rows=rows)


def _talk_table(talks: Mapping[str, Sequence[Turn]]) -> Table:
    rows = []
    for setting in talk.SETTINGS:
        later = [turn for turn in talks[setting.name] if turn.pause_s]
        read, alone, whole = (
            sum(getattr(turn, key) for turn in later) for key in ("read", "read_alone", "prompt_tokens")
        )
        what = f"{setting.what}, conversations: {setting.conversations}"
        rows.append([what, str(len(later)), str(whole), str(alone), str(read)])
    title = "conversations with pauses: tokens in all turns but the first"
    return table(title, "", "turns", "in their prompts", "read, alone", "read, supervised", rows=rows)


def _count_table(counted: Counted) -> Table:
    rows = [
        *(
            [
                f"{each.server}: streams cut, most requests queued",
                f"{len(each.problems)} of {each.streams}, {each.most_queued:.0f}",
            ]
            for each in counted.streamed
        ),
        *(
            [f"{each.server}: asleep after, woken", f"{_seconds(each.asleep_after_s)}, {each.woken} times"]
            for each in counted.slept
        ),
        ["tokens an hour at rest", f"{counted.spent.per_hour:.0f}"],
        ["restarts", str(counted.restarts)],
    ]
    return table("what may not be", "", "", rows=rows)


def _text(interval: Interval) -> str:
    return f"{interval.median:.3f} ({interval.low:.3f} - {interval.high:.3f})"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
