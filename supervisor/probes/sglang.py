"""SGLang's progress, from metrics that it has with `--enable-metrics` only. `/health` is not asked: it generates."""

from typing import ClassVar

from supervisor.core.observations import Kind
from supervisor.probes.base import Counters
from supervisor.probes.metrics import MetricsProgress, as_one_slot
from supervisor.probes.prometheus import Metrics

RUNNING, WAITING = "sglang:num_running_reqs", "sglang:num_queue_reqs"
# No counter of tokens moves with every token: `generation_tokens_total` waits for the end of a request, and
# `realtime_tokens_total` for the next line of the log. The count of gaps between tokens is the quickest.
DECODED = (
    "sglang:inter_token_latency_seconds_count",
    "sglang:time_per_output_token_seconds_count",  # its name until 2025
    "sglang:generation_tokens_total",
)
REALTIME = "sglang:realtime_tokens_total"
PREFILLED = (
    "sglang:prompt_tokens_total",
    "sglang:time_to_first_token_seconds_count",
    "sglang:num_used_tokens",  # moves with every chunk of a long prompt, where nothing else does
)


class SglangProgress(MetricsProgress):
    """Reads one SGLang server. The sums are of what proves work, not of tokens: only their moving counts."""

    software: ClassVar[Kind] = Kind.SGLANG
    wanted: ClassVar[frozenset[str]] = frozenset({RUNNING, WAITING, *DECODED, REALTIME, *PREFILLED})

    def counters(self, metrics: Metrics) -> Counters:
        """Say what the samples mean."""
        return as_one_slot(
            running=metrics.total(RUNNING),
            queued=metrics.total(WAITING),
            decoded=metrics.total(*DECODED) + metrics.total(REALTIME, mode="decode"),
            prefilled=metrics.total(*PREFILLED) + metrics.total(REALTIME, mode="prefill_compute"),
        )
