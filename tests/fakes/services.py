"""Who answers for what may be asked of one target: writes down what is asked, and answers as a test tells it."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from supervisor.core.observations import Reply
from supervisor.core.restraint import Hold
from supervisor.publish.services import Drained, Outcome, Probed, Services
from tests.publish.believing import NOON

SENT = Outcome(outcome="done", message="SIGHUP sent")
ANSWERED = Probed(asked=True, ok=True, reply=Reply.ANSWERED, first_token_s=0.0412, detail="answered")


@dataclass
class Servants:
    """Answers everything."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    probed: Probed = ANSWERED
    sent: Outcome = SENT
    serves_nobody: bool = True
    printed: list[str] = field(default_factory=lambda: ["the end\n"])
    fault: Exception | None = None  # of the log
    told: int = 0  # pieces of the log that were asked for
    closed: int = 0  # logs that were let go
    acts: list[dict[str, Any]] | None = field(default_factory=list)

    def services(self) -> Services:
        """Return all of it as the API takes it."""
        return Services(probe=self._probe, drain=self._drain, signal=self._signal, log=self._log, acts=self._acts)

    async def _probe(self, name: str, *, wait_s: float, patient: bool, wakes: bool) -> Probed:
        self.asked.append(("probe", name, wait_s, patient, wakes))
        return self.probed

    async def _drain(self, name: str, *, for_s: float | None, why: str, wait_s: float) -> Drained:
        self.asked.append(("drain", name, for_s, why, wait_s))
        return Drained(
            hold=Hold(target=name, since=NOON, drains=True), is_drained=True, serves_nobody=self.serves_nobody
        )

    async def _signal(self, name: str, number: signal.Signals) -> Outcome:
        self.asked.append(("signal", name, number))
        return self.sent

    async def _log(self, name: str, *, max_bytes: int, lines: int | None) -> AsyncGenerator[str, None]:
        self.asked.append(("log", name, max_bytes, lines))
        try:
            if self.fault is not None:
                raise self.fault
            for piece in self.printed:
                self.told += 1
                yield piece
            await asyncio.Event().wait()
        finally:
            self.closed += 1

    async def _acts(self, name: str, limit: int) -> list[dict[str, Any]] | None:  # noqa: ARG002
        return None if self.acts is None else self.acts[:limit]
