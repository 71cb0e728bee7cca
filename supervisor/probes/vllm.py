"""vLLM's progress, from the metrics of its scheduler. `/health` is not asked: it says ok while the engine hangs."""

from typing import ClassVar

from supervisor.core.observations import Kind, Reply
from supervisor.probes.base import Counters
from supervisor.probes.metrics import MetricsProgress, as_one_slot
from supervisor.probes.prometheus import Metrics

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
STEPS = "vllm:iteration_tokens_total_count"  # steps of the engine that gave a token; some versions have tokens only
GENERATED, PROMPTED = "vllm:generation_tokens_total", "vllm:prompt_tokens_total"
# The prompt of one request is counted when it has been read. While a long one is read in chunks, only the share of the
# cache that it fills moves.
FILLED = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
DRAFTED = "vllm:spec_decode_num_draft_tokens_total"
SLEEP = "vllm:engine_sleep_state"
MILLIONTHS = 1_000_000


class VllmProgress(MetricsProgress):
    """Reads one vLLM server; several engines behind one address count together."""

    software: ClassVar[Kind] = Kind.VLLM
    wanted: ClassVar[frozenset[str]] = frozenset(
        {RUNNING, WAITING, STEPS, GENERATED, PROMPTED, *FILLED, DRAFTED, SLEEP}
    )

    def counters(self, metrics: Metrics) -> Counters:
        """Say what the samples mean."""
        if metrics.has(SLEEP) and not metrics.total(SLEEP, sleep_state="awake"):
            return Counters(reply=Reply.ASLEEP, detail=f"/metrics: {SLEEP}")
        return as_one_slot(
            running=metrics.total(RUNNING),
            queued=metrics.total(WAITING),
            decoded=metrics.total(STEPS if metrics.has(STEPS) else GENERATED),
            prefilled=metrics.total(PROMPTED) + metrics.total(*FILLED, scale=MILLIONTHS),
            drafted=metrics.total(DRAFTED),
        )
