"""Where every owner of a target hangs its latest snapshot, and where the published documents are made from.

The liveness document is stamped here, in the course of a turn: if the loop that decides stands still, no new stamp
is made and the document runs out, whatever the threads that serve it do.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from supervisor import __version__
from supervisor.core import liveness
from supervisor.core.liveness import Clocks, Snapshot
from supervisor.core.observations import Life
from supervisor.core.state import Transition, transition
from supervisor.core.verdict import Judgement, Verdict
from supervisor.publish.events import Feed, line

SCHEMA = 1
CLOCK_STEP_S = 1.0  # the wall clock moved against the monotonic one by more: it was set


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One liveness document: the same bytes for the file and for HTTP."""

    body: bytes
    epoch: str
    revision: int
    generated_at: str
    expires_at: str
    valid_for_s: float

    @property
    def etag(self) -> str:
        """Return a weak validator: it stands for the content, not for the stamp."""
        return f'W/"{self.epoch}.{self.revision}"'

    @property
    def line(self) -> bytes:
        """Return the body without its line end."""
        return self.body.removesuffix(b"\n")


class Board:
    """Holds the newest snapshot of each target, in the order of the settings."""

    def __init__(
        self,
        snapshots: Iterable[Snapshot],
        *,
        valid_for_s: float,
        mode: str = "enforce",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._snapshots = {snapshot.name: snapshot for snapshot in snapshots}
        self._valid_for_s = valid_for_s
        self._mode = mode
        self._clock = clock
        self._wall = wall
        self._clocks = Clocks(now=clock(), wall=wall())
        self._started = self._clocks.wall
        self._epoch = secrets.token_hex(8)
        self._revision = 0
        self._content: Any = None
        self.problems: dict[str, str] = {}  # what ails ourselves, by part
        self.feed = Feed(self._epoch)
        self.document = self._stamp()
        self.feed.tell("liveness", self.document.line)

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Every target as its owner last left it."""
        return tuple(self._snapshots.values())

    def find(self, name: str) -> Snapshot | None:
        """Return one target's snapshot."""
        return self._snapshots.get(name)

    def believed(self, name: str) -> Snapshot | None:
        """Return one target's snapshot as the document tells it: one whose owner is late says so."""
        snapshot = self._snapshots.get(name)
        return None if snapshot is None else self._fresh(snapshot, now=self._clock())

    def backends(self) -> list[dict[str, Any]]:
        """Return every backend as the document would tell it if it were stamped now."""
        return self._entries(self._clock())

    def put(self, snapshot: Snapshot) -> None:
        """Take a new snapshot, stamp the document anew, and tell whoever follows what has changed."""
        before, revision = self._snapshots.get(snapshot.name), self.document.revision
        self._snapshots[snapshot.name] = snapshot
        self.document = self._stamp()
        if self.document.revision != revision:
            self.feed.tell("liveness", self.document.line)
        if before is not None and (change := transition(before.state, snapshot.state)):
            incident = snapshot.incident or before.incident  # which may have ended with it
            self.feed.tell("transition", line(self._told(snapshot.name, change, incident=incident)))
        self.feed.wake()

    def settle(self, snapshots: Iterable[Snapshot], *, valid_for_s: float, mode: str) -> None:
        """Hold these and no others from now on, in this order, and tell whoever follows if that changes anything."""
        self._snapshots = {snapshot.name: snapshot for snapshot in snapshots}
        self._valid_for_s, self._mode = valid_for_s, mode
        revision = self.document.revision
        self.document = self._stamp()
        if self.document.revision != revision:
            self.feed.tell("liveness", self.document.line)
        self.feed.wake()

    async def change(self) -> None:
        """Return at the next stamp, whether or not anything new is believed."""
        await self.feed.change()

    @property
    def has_run_out(self) -> bool:
        """Whether the document has expired: no owner has taken a turn for so long."""
        return self._clock() - self._stamped_at > self._valid_for_s

    @property
    def valid_for_s(self) -> float:
        """How long a document may be believed."""
        return self._valid_for_s

    @property
    def mode(self) -> str:
        """The word for how we run: `enforce`, or `observe`."""
        return self._mode

    @property
    def ticks(self) -> bool:
        """Whether every owner has taken a turn lately."""
        now = self._clock()
        return all(now - snapshot.as_of <= self._valid_for_s for snapshot in self._snapshots.values())

    @property
    def has_looked(self) -> bool:
        """Whether every target has been judged at least once."""
        return all(each.state.judgement.reason != "NotYetKnown" for each in self._snapshots.values())

    def status(self) -> dict[str, Any]:
        """Return what people are told: every target, with durations."""
        now, wall = self._clock(), self._wall()
        return {
            "schema": SCHEMA,
            "as_of": liveness.iso(wall),
            "expires_at": liveness.iso(wall + timedelta(seconds=self._valid_for_s)) if self.ticks else self._lapsed(),
            "mode": self._mode,
            "daemon": {
                "pid": os.getpid(),
                "version": __version__,
                "started_at": liveness.iso(self._started),
                "problems": [f"{part}: {problem}" for part, problem in sorted(self.problems.items())],
            },
            "targets": [self._target_entry(self._fresh(each, now=now), now=now) for each in self._snapshots.values()],
        }

    def _lapsed(self) -> str | None:
        oldest = min((snapshot.as_of for snapshot in self._snapshots.values()), default=self._clocks.now)
        return self._clocks.iso(oldest + self._valid_for_s)

    def _stamp(self) -> Document:
        now, wall = self._clock(), self._wall()
        self._stamped_at = now
        self._follow_wall_clock(now, wall)
        entries = self._entries(now)
        content = [self._mode, self._valid_for_s, *({**entry, "retry_after_s": None} for entry in entries)]
        if content != self._content:
            self._content = content
            self._revision += 1
        generated_at = liveness.iso(wall)
        expires_at = liveness.iso(wall + timedelta(seconds=self._valid_for_s))
        document = {
            "schema": SCHEMA,
            "epoch": self._epoch,
            "revision": self._revision,
            "generated_at": generated_at,
            "expires_at": expires_at,
            "valid_for_s": self._valid_for_s,
            "mode": self._mode,
            "backends": entries,
            "models": liveness.by_alias([each for each in self._snapshots.values() if each.kind == "backend"]),
        }
        return Document(
            body=line(document) + b"\n",
            epoch=self._epoch,
            revision=self._revision,
            generated_at=generated_at,
            expires_at=expires_at,
            valid_for_s=self._valid_for_s,
        )

    def _told(self, name: str, change: Transition, *, incident: str | None) -> dict[str, Any]:
        return {
            "target": name,
            "before": str(change.before),
            "after": str(change.after),
            "reason": change.judgement.reason,
            "message": change.judgement.message,
            "at": self._clocks.iso(change.at),
            "incident": incident,
        }

    def _entries(self, now: float) -> list[dict[str, Any]]:
        backends = [self._fresh(each, now=now) for each in self._snapshots.values() if each.kind == "backend"]
        return [liveness.backend_entry(each, clocks=self._clocks, now=now) for each in backends]

    def _follow_wall_clock(self, now: float, wall: datetime) -> None:
        drift_s = (wall - self._clocks.wall).total_seconds() - (now - self._clocks.now)
        if abs(drift_s) > CLOCK_STEP_S:
            self._clocks = Clocks(now=now, wall=wall)

    def _fresh(self, snapshot: Snapshot, *, now: float) -> Snapshot:
        """Return the snapshot, or one that admits that its owner has not taken a turn for too long."""
        if now - snapshot.as_of <= self._valid_for_s:
            return snapshot
        late = Judgement(verdict=Verdict.UNKNOWN, reason="SupervisorLate", message="our own loop is late")
        return replace(snapshot, state=replace(snapshot.state, judgement=late))

    def _target_entry(self, snapshot: Snapshot, *, now: float) -> dict[str, Any]:
        state, evidence = snapshot.state, snapshot.evidence
        engine = evidence.engine
        running = engine is not None and engine.life is Life.RUNNING
        return {
            "name": snapshot.name,
            "kind": snapshot.kind,
            "state": str(liveness.word(state)),
            "phase": str(state.phase),
            "verdict": str(state.judgement.verdict),
            "routable": snapshot.is_routable,
            "reason": state.judgement.reason,
            "summary": liveness.summary(snapshot, now=now),
            "pid": engine.pid if engine and running else None,
            "uptime_s": round(now - evidence.started_at, 1) if running and evidence.instance else None,
            "stopped_at": engine.ended_at if engine and not running else None,
            "since": self._clocks.iso(state.since),
            "instance": evidence.instance,
            "restarts": len(state.restarts),
            "watched_only": not state.restartable,
            "cause": str(state.diagnosis.cause) if state.diagnosis else None,
            "incident": snapshot.incident,
            "held": self._held(snapshot),
            "drained": self._drained(snapshot),
        }

    def _drained(self, snapshot: Snapshot) -> dict[str, Any] | None:
        drain = snapshot.drain
        if drain is None:
            return None
        until = self._clocks.iso(drain.until)
        return {"message": drain.message, "until": until, "serves_nobody": snapshot.serves_nobody}

    def _held(self, snapshot: Snapshot) -> dict[str, Any] | None:
        held = snapshot.restraint
        if held is None:
            return None
        since = self._clocks.iso(held.since or None)
        return {"by": str(held.curb), "message": held.message, "since": since, "until": self._clocks.iso(held.until)}
