"""The progress of Hugging Face's text-generation-inference, from the metrics of its router."""

from typing import ClassVar

from supervisor.core.observations import Kind
from supervisor.probes.base import Counters
from supervisor.probes.metrics import MetricsProgress, as_one_slot
from supervisor.probes.prometheus import Metrics

BATCH, QUEUE = "tgi_batch_current_size", "tgi_queue_size"
PASSES = "tgi_batch_inference_count"  # through the model, counted when they begin


class TgiProgress(MetricsProgress):
    """Reads one TGI server."""

    software: ClassVar[Kind] = Kind.TGI
    wanted: ClassVar[frozenset[str]] = frozenset({BATCH, QUEUE, PASSES})

    def counters(self, metrics: Metrics) -> Counters:
        """Say what the samples mean."""
        return as_one_slot(
            running=metrics.total(BATCH),
            queued=metrics.total(QUEUE),
            decoded=metrics.total(PASSES, method="decode"),
            prefilled=metrics.total(PASSES, method="prefill"),
        )
