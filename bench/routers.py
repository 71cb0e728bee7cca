"""What do the clients of a router notice while its backends are hung, killed and restarted in turn; what does it cost?

Each router in turn stands in front of the same servers and daemon, with default settings. The seed's request is sent
every 0.1 s, streaming every other time, for the length of the story, and a tap in front of each server sees who was
sent there.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.report import Limit, Report, Spread, finite, table
from bench.world import Options
from testbed import tiny_model
from testbed.clients import wait_until
from testbed.engine import Found
from testbed.routers.asking import DEADLINE_S, Reply, Storm, ask
from testbed.routers.kinds import KINDS, router_class
from testbed.routers.world import QUICK, World

SETTLE_S: Final = 3.0
VALID_FOR_S: Final = 15.0  # the default
WITHIN_S: Final = 60.0
LOOKS_EVERY_S: Final = 0.02
AT_REST: Final = 40  # requests, in each of two blocks with the daemon and two without
REFUSALS: Final = frozenset({503, 504})


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault of one backend; times are monotonic seconds."""

    backend: str
    kind: str
    at: float
    told_at: float | None = None
    again_at: float | None = None
    last_sent_at: float | None = None  # before it was back
    sent_after_told: int = 0  # once the router had had its time to hear it

    def read(self, world: World) -> None:
        """Take from the tap who was sent there meanwhile."""
        told_at, again_at = self.told_at or self.at, self.again_at or time.monotonic()
        sent_at = [at for at in world.taps[self.backend].seen_at.values() if self.at <= at < again_at]
        self.last_sent_at = max(sent_at, default=None)
        self.sent_after_told = sum(at > told_at + world.router.hears_within_s for at in sent_at)


@dataclass(slots=True, kw_only=True)
class Tale:
    """What one router's clients lived through."""

    kind: str
    faults: list[Fault] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    with_daemon_s: list[float] = field(default_factory=list)
    without_daemon_s: list[float] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """Requests sent in the story."""
        return len(self.replies) + len(self.lost)

    @property
    def answered(self) -> int:
        """Those that got an answer."""
        return sum(reply.status == 200 for reply in self.replies)

    @property
    def refused(self) -> int:
        """Those that were told to come back later."""
        return sum(reply.status in REFUSALS for reply in self.replies)

    @property
    def hung(self) -> int:
        """Those that took longer than they may."""
        late = sum(reply.took_s >= DEADLINE_S for reply in self.replies)
        return late + sum("Timeout" in each for each in self.lost)

    @property
    def cut(self) -> int:
        """Those that broke off or were answered with an error of the server's: the fault met them in its midst."""
        return self.asked - self.answered - self.refused - sum("Timeout" in each for each in self.lost)

    @property
    def latency_ratio(self) -> float:
        """How long an answer takes at rest, against the same router with no daemon to hear from."""
        return statistics.median(self.with_daemon_s) / statistics.median(self.without_daemon_s)


def run(found: Found, options: Options) -> Report:  # noqa: ARG001 - it needs no engine
    """Tell each router's tale, and hold them to the bar."""
    tales = [tale_of(kind) for kind in KINDS]
    return Report(
        name="routers",
        tables=[_requests(tales), _faults(tales)],
        results={tale.kind: _figures(tale) for tale in tales},
        limits=[limit for tale in tales for limit in _limits(tale)],
        notes=[f"{tale.kind}: {each}" for tale in tales for each in tale.lost[:5]],
    )


def tale_of(kind: str) -> Tale:
    """Put a router of this kind in front and let everything happen."""
    tale = Tale(kind=kind)
    print(f"routers: {kind}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        World(Path(folder), tiny_model.ensure(), router_class(kind), policy={}, valid_for_s=VALID_FOR_S) as world,
    ):
        world.start()
        storm = Storm(world, "auto")
        with storm.blowing():
            for name in QUICK:
                for fault, befalls in FAULTS.items():
                    time.sleep(SETTLE_S)
                    tale.faults.append(_suffer(world, name, fault, befalls))
            time.sleep(SETTLE_S)
        tale.replies, tale.lost = storm.replies, storm.lost
        for fault_seen in tale.faults:
            fault_seen.read(world)
        _rest(world, tale)
    return tale


def _suffer(world: World, name: str, kind: str, befalls: "Callable[[World, str], Any]") -> Fault:
    before = world.daemon.backend(name)["instance"]
    with befalls(world, name):
        fault = Fault(backend=name, kind=kind, at=time.monotonic())
        wait_until(lambda: not world.daemon.backend(name)["routable"], f"{name} is told", within_s=WITHIN_S)
        fault.told_at = time.monotonic()
        until = fault.told_at + WITHIN_S
        while not _is_back(world.daemon.backend(name), since=before):
            fault.again_at = time.monotonic()  # the last moment at which it was out: routers may hear before we do
            if fault.again_at > until:
                raise TimeoutError(f"{name} was not back within {WITHIN_S:g} s of its {kind}")
            time.sleep(LOOKS_EVERY_S)
    return fault


def _is_back(entry: dict[str, Any], *, since: str) -> bool:
    return bool(entry["routable"]) and entry["instance"] not in (None, since)


FAULTS: Final[dict[str, Callable[[World, str], Any]]] = {
    "hang": lambda world, name: world.frozen(name, held=False),
    "kill": lambda world, name: world.killed(name, held=False),
    "restart": lambda world, name: world.restarting(name),
}


def _rest(world: World, tale: Tale) -> None:
    """Ask one after the other, with the daemon and without it, in turn."""
    for _ in range(2):
        tale.with_daemon_s += _asked(world)
        with world.daemon_killed():
            time.sleep(VALID_FOR_S + 1.0)  # until its last word has expired
            tale.without_daemon_s += _asked(world)
        world.wait_calm()


def _asked(world: World) -> list[float]:
    time.sleep(world.router.hears_within_s)
    return [ask(world, "auto").took_s for _ in range(AT_REST)]


def _requests(tales: list[Tale]) -> Any:
    rows = [
        [
            tale.kind,
            *map(str, (tale.asked, tale.answered, tale.refused, tale.cut, tale.hung)),
            f"{max((reply.took_s for reply in tale.replies), default=0.0):.1f}",
            f"{tale.latency_ratio:.2f}",
        ]
        for tale in tales
    ]
    title = "requests while each of three backends is hung, killed and restarted in turn"
    columns = ("asked", "answered", "refused", "cut", "hung", "slowest, s", "latency, ratio")
    return table(title, "", *columns, rows=rows)


def _faults(tales: list[Tale]) -> Any:
    rows = []
    for tale in tales:
        for kind in FAULTS:
            mine = [fault for fault in tale.faults if fault.kind == kind]
            told = Spread.of(None if each.told_at is None else each.told_at - each.at for each in mine)
            last = Spread.of(0.0 if each.last_sent_at is None else each.last_sent_at - each.at for each in mine)
            after = sum(each.sent_after_told for each in mine)
            rows.append([f"{tale.kind}, {kind}", str(len(mine)), told.text(), last.text(), str(after)])
    columns = ("faults", "told", "last request sent there", "sent after told")
    return table("seconds from the fault, median (min - max)", "", *columns, rows=rows)


def _figures(tale: Tale) -> dict[str, Any]:
    return {
        "requests": {
            "asked": tale.asked,
            "answered": tale.answered,
            "refused": tale.refused,
            "cut": tale.cut,
            "hung": tale.hung,
        },
        "took_s": Spread.of(reply.took_s for reply in tale.replies).figures(),
        "latency_ratio": finite(tale.latency_ratio),
        "faults": [
            {
                "backend": each.backend,
                "kind": each.kind,
                "told_s": finite(None if each.told_at is None else each.told_at - each.at),
                "last_sent_s": finite(None if each.last_sent_at is None else each.last_sent_at - each.at),
                "sent_after_told": each.sent_after_told,
            }
            for each in tale.faults
        ],
    }


def _limits(tale: Tale) -> list[Limit]:
    sent = sum(each.sent_after_told for each in tale.faults)
    return [
        Limit(what=f"{tale.kind}: requests that hung", measured=tale.hung, limit=0),
        Limit(what=f"{tale.kind}: sent to a bad backend after it was told", measured=sent, limit=0),
    ]
