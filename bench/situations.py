"""The matrix: every situation that a server is put into, how it is made for it, and what must come of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench import sicknesses, spells
from bench.sicknesses import Sickness
from bench.spells import Occasion
from bench.stands import Make, Pace
from testbed import tiny_model
from testbed.old_llama.faults import Fault

COUNTERS: Final = ("--slots", "--metrics")
ROOMY: Final = ("-c", "8192")  # a later one of these flags wins
WIDE: Final = ("-c", "32768")
OLD: Final = Pace(prefilled=1600.0, generated=200.0)
# With a fiftieth of a core a batch of 2048 tokens takes 256 s, and nothing is said meanwhile.
OLD_AND_SLOW: Final = Pace(prefilled=400.0, generated=200.0)
SLEEPY: Final = ("--sleep-idle-seconds", str(spells.ASLEEP_AFTER_S))
KEY: Final = "open sesame"


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """A situation in which a server must not be restarted, ever."""

    name: str
    make: Make
    spend: Callable[[Occasion], str]
    seconds: float  # of one spell
    times: int  # in one round
    is_busy: bool = True  # somebody has it work
    is_served: bool = True  # its users get their answers, so routers have no reason to be told
    is_up_at_first: bool = True
    is_called: str = ""  # the verdict that it must be given, where it is not one of a server in order
    leaves_broken: bool = False  # we must start it anew before the next spell


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A situation that only a restart ends; `within_s` is when it must have come."""

    name: str
    make: Make
    inflict: Sickness
    within_s: float
    is_strong: bool = False  # no progress and no CPU, seen from outside: to be told and cured at once
    most_runs: int = 4  # one more, and the budget of restarts would be measured


def _real(*flags: str, cpus: float = 0.2, shape: tiny_model.Shape = tiny_model.TINY) -> Make:
    return Make(flags=(*ROOMY, *flags), shape=shape, cpus=cpus)


def _old(*flags: str, cpus: float = 0.2, pace: Pace = OLD) -> Make:
    return Make(flags=(*flags, *WIDE), old=pace, cpus=cpus)


SLOW: Final = tiny_model.SLOW
WORKING: Final = (
    Working(name="idle", make=_real(), spend=spells.idle, seconds=55, times=4, is_busy=False),
    Working(name="idle, old", make=_old(*COUNTERS), spend=spells.idle, seconds=55, times=4, is_busy=False),
    Working(name="short answers", make=_real(), spend=spells.short, seconds=25, times=10),
    Working(name="short answers, old, no counters", make=_old(), spend=spells.short, seconds=25, times=10),
    Working(name="long answer", make=_real(shape=SLOW, cpus=0.05), spend=spells.generating, seconds=110, times=2),
    Working(name="long answer, old, no counters", make=_old(cpus=0.05), spend=spells.generating, seconds=230, times=1),
    Working(name="queue of four", make=_real(shape=SLOW, cpus=0.05), spend=spells.queueing, seconds=75, times=3),
    Working(name="queue of four, old", make=_old(*COUNTERS, cpus=0.05), spend=spells.queueing, seconds=75, times=3),
    Working(
        name="prompt of tens of thousands", make=_real("-c", "40960", cpus=0.1), spend=spells.vast, seconds=240, times=1
    ),
    Working(
        name="long prompt, old, batches of 26 s",
        make=_old(*COUNTERS, cpus=0.05),
        spend=spells.prefill,
        seconds=110,
        times=2,
    ),
    Working(
        name="long prompt, old, batches of 256 s",
        make=_old(*COUNTERS, cpus=0.02, pace=OLD_AND_SLOW),
        spend=spells.prefill,
        seconds=265,
        times=1,
    ),
    Working(name="long prompt, old, no counters", make=_old(cpus=0.05), spend=spells.prefill, seconds=110, times=2),
    Working(name="never read", make=_real(shape=SLOW, cpus=0.05), spend=spells.unread, seconds=75, times=3),
    Working(
        name="two slots of three",
        make=_real("-np", "3", shape=SLOW, cpus=0.08),
        spend=spells.some_slots,
        seconds=60,
        times=2,
    ),
    Working(
        name="loading for 75 s, old", make=_old(*COUNTERS), spend=spells.loading, seconds=75, times=3, is_served=False
    ),
    Working(
        name="starting at a crawl",
        make=_real(shape=SLOW, cpus=0.02),
        spend=spells.starting,
        seconds=75,
        times=2,
        is_served=False,
    ),
    Working(name="asleep", make=_real(*SLEEPY), spend=spells.sleeping, seconds=55, times=4, is_busy=False),
    Working(name="throttled to a crawl", make=_real(shape=SLOW, cpus=0.02), spend=spells.prefill, seconds=240, times=1),
    Working(
        name="wrong key",
        make=Make(flags=(*ROOMY, "--api-key", KEY), cpus=0.2, settings='api_key = "wrong"\n', api_key=KEY),
        spend=spells.short,
        seconds=55,
        times=4,
        is_served=False,
        is_up_at_first=False,
        is_called="misconfigured",
    ),
    Working(
        name="broken template, old",
        make=_old(*COUNTERS, "--fault", Fault.BAD_TEMPLATE),
        spend=spells.misconfigured,
        seconds=55,
        times=4,
        is_served=False,
        is_up_at_first=False,
        is_called="misconfigured",
    ),
    Working(
        name="one slot of three stuck, old",
        make=_old("-np", "3", *COUNTERS),
        spend=spells.stuck_slot,
        seconds=240,
        times=1,
        is_served=False,
        is_called="degraded",
        leaves_broken=True,
    ),
)
AT_ONCE_S, SOON_S = 60.0, 150.0
LATER_S = 1000.0  # from outside it looks like a long prompt, to which many minutes are given
BROKEN: Final = (
    Broken(name="frozen idle", make=_real(), inflict=sicknesses.frozen_idle, within_s=AT_ONCE_S, is_strong=True),
    Broken(
        name="frozen idle, old",
        make=_old(*COUNTERS),
        inflict=sicknesses.told(Fault.FROZEN),
        within_s=AT_ONCE_S,
        is_strong=True,
    ),
    Broken(
        name="frozen in an answer",
        make=_real(*WIDE),
        inflict=sicknesses.frozen_in_an_answer,
        within_s=AT_ONCE_S,
        is_strong=True,
    ),
    Broken(
        name="frozen in an answer, old",
        make=_old(*COUNTERS),
        inflict=sicknesses.told_at_work(Fault.FROZEN, prefill_s=0),
        within_s=AT_ONCE_S,
        is_strong=True,
    ),
    Broken(
        name="frozen in prefill",
        make=_real(*WIDE, shape=SLOW),
        inflict=sicknesses.frozen_in_prefill,
        within_s=AT_ONCE_S,
        is_strong=True,
    ),
    Broken(
        name="frozen in prefill, old",
        make=_old(*COUNTERS),
        inflict=sicknesses.told_at_work(Fault.FROZEN, prefill_s=60),
        within_s=AT_ONCE_S,
        is_strong=True,
    ),
    Broken(name="SIGSTOP", make=_real(), inflict=sicknesses.halted, within_s=AT_ONCE_S, is_strong=True),
    Broken(name="frozen idle, old, no counters", make=_old(), inflict=sicknesses.told(Fault.FROZEN), within_s=SOON_S),
    Broken(name="swallowed", make=_old(*COUNTERS), inflict=sicknesses.told(Fault.SWALLOW), within_s=SOON_S),
    Broken(name="crashed inside", make=_old(*COUNTERS), inflict=sicknesses.told(Fault.CRASHED_INSIDE), within_s=SOON_S),
    Broken(name="error in a 200", make=_old(*COUNTERS), inflict=sicknesses.told(Fault.ERROR_IN_200), within_s=SOON_S),
    Broken(name="garbage", make=_old(*COUNTERS), inflict=sicknesses.told(Fault.GARBAGE), within_s=SOON_S),
    Broken(name="empty", make=_old(*COUNTERS), inflict=sicknesses.told(Fault.EMPTY), within_s=SOON_S),
    Broken(name="half-closed", make=_old(*COUNTERS), inflict=sicknesses.told(Fault.HALF_CLOSED), within_s=SOON_S),
    Broken(
        name="stalls mid-stream",
        make=_old(*COUNTERS),
        inflict=sicknesses.told(Fault.STALLS_MID_STREAM),
        within_s=SOON_S,
    ),
    Broken(
        name="livelock",
        make=_old(*COUNTERS, cpus=0.6),
        inflict=sicknesses.told(Fault.LIVELOCK),
        within_s=LATER_S,
        most_runs=1,
    ),
)
