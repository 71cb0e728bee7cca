"""What servers that batch have in common: `/metrics` shows their work as if they had one slot. Infers nothing."""

import abc
from typing import ClassVar

import httpx

from supervisor.core.observations import Kind, Reply, Slot
from supervisor.probes import prometheus
from supervisor.probes.base import Counters
from supervisor.probes.held import HeldLooks, Said, refusal
from supervisor.probes.prometheus import Metrics

PATH = "/metrics"


def read(said: Said, wanted: frozenset[str]) -> Metrics | Counters:
    """Return the metrics in an answer, or why there are none."""
    if said.status != httpx.codes.OK:
        return refusal(PATH, said)
    try:
        metrics = prometheus.parse(said.body, wanted)
    except prometheus.NotMetricsError as error:
        return Counters(reply=Reply.INVALID, detail=f"{PATH}: {error}")
    # Several servers count nothing before their first request; idle and another server's metrics look alike.
    return metrics or Counters(reply=Reply.UNSUPPORTED, detail=f"{PATH}: nothing that we know is in it yet")


class MetricsProgress(HeldLooks, abc.ABC):
    """Reads one batching server's counters. Being asked for them keeps none awake, so every look is a gentle one."""

    software: ClassVar[Kind]
    wanted: ClassVar[frozenset[str]]

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__(client, kind=self.software)

    @abc.abstractmethod
    def counters(self, metrics: Metrics) -> Counters:
        """Say what the samples mean."""

    async def ask(self, *, gently: bool) -> Counters:  # noqa: ARG002 - see above
        """Read `/metrics` once."""
        metrics = read(await self.get(PATH), self.wanted)
        return metrics if isinstance(metrics, Counters) else self.counters(metrics)


def as_one_slot(*, running: int, queued: int, decoded: int, prefilled: int, drafted: int = 0) -> Counters:
    """Show a whole batch as one slot, busy while any request is in the house."""
    busy = running > 0 or queued > 0
    slot = Slot(id=0, busy=busy, task=None, decoded=decoded, prefilled=prefilled, drafted=drafted)
    return Counters(reply=Reply.ANSWERED, slots=(slot,), queued=queued)
