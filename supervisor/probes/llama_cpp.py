"""llama.cpp's own progress counters, from `/slots`: answered by the inference loop, with no inference asked for.

Only numbers are read; builds of 2025 put the user's prompt beside them, and that is never kept.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx

from supervisor.core.observations import Kind, Reply, Slot
from supervisor.probes import http
from supervisor.probes.base import Counters
from supervisor.probes.held import HeldLooks, refusal
from supervisor.probes.metrics import PATH as METRICS
from supervisor.probes.metrics import as_one_slot, read

PROPS, SLOTS = "/props", "/slots"
NO_TASK = -1  # what old builds say before a slot's first request, where new ones say nothing
WHOLE_SERVER = -1  # the one slot of a gentle look: never to be compared with a real one
PROCESSING, DEFERRED = "llamacpp:requests_processing", "llamacpp:requests_deferred"
# The counters of tokens wait for the end of a request; this one moves with every pass through the model.
PASSES, PROMPTED = "llamacpp:n_decode_total", "llamacpp:prompt_tokens_total"
DRAFTED = "llamacpp:spec_decode_num_draft_tokens_total"  # `/slots` has none of a draft model's counts
WANTED = frozenset({PROCESSING, DEFERRED, PASSES, PROMPTED, DRAFTED})


@dataclass(frozen=True, slots=True)
class Props:
    """What `/props` says of the server: its HTTP side answers, so it neither queues nor wakes anything."""

    can_sleep: bool = False  # builds without such a mode do not have the key
    is_asleep: bool = False
    has_metrics: bool = False

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Read an answer of any build; what is not there is not so."""
        try:
            props = json.loads(body)
        except (ValueError, RecursionError):
            return cls()
        if not isinstance(props, dict):
            return cls()
        return cls(
            can_sleep="is_sleeping" in props,
            is_asleep=props.get("is_sleeping") is True,
            has_metrics=props.get("endpoint_metrics") is True,
        )


class LlamaCppProgress(HeldLooks):
    """Reads one llama.cpp server's slots.

    `/slots` wakes a sleeping server and keeps an idle one up, and nothing else tells that it slept. So `/props`, which
    does neither, is read first; not on builds that cannot sleep, and not while slots were at work a moment ago.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__(client, kind=Kind.LLAMA_CPP)
        self._can_sleep = True
        self._was_busy = False

    def forget(self) -> None:
        """Drop what is known of a life that has ended."""
        super().forget()
        self._can_sleep, self._was_busy = True, False

    async def ask(self, *, gently: bool) -> Counters:
        """Read the slots, or what can be had without keeping the server up."""
        can_sleep, was_busy = self._can_sleep, self._was_busy
        self._can_sleep, self._was_busy = True, False  # unless this look, too, comes to its end
        if gently or (can_sleep and not was_busy):
            said = await self.get(PROPS)
            is_told = said.status == httpx.codes.OK
            props = Props.of(said.body) if is_told else Props(can_sleep=True)
            can_sleep = props.can_sleep
            if props.is_asleep:
                self.sleeps = True
                return Counters(reply=Reply.ASLEEP, detail="/props: is_sleeping")
            if gently:
                return await self._gently(props) if is_told else refusal(PROPS, said)
        said = await self.get(SLOTS)
        counters = parse(said.body) if said.status == httpx.codes.OK else refusal(SLOTS, said)
        if counters.reply is Reply.ANSWERED:
            self._can_sleep, self._was_busy = can_sleep, any(slot.busy for slot in counters.slots)
        return counters

    async def _gently(self, props: Props) -> Counters:
        if not props.has_metrics:
            return Counters(reply=Reply.UNSUPPORTED, detail="asked gently: only /slots would tell, and keep it awake")
        metrics = read(await self.get(METRICS), WANTED)  # resets its gauges of speed, which others may want to read
        if isinstance(metrics, Counters):
            return metrics
        counters = as_one_slot(
            running=metrics.total(PROCESSING),
            queued=metrics.total(DEFERRED),
            decoded=metrics.total(PASSES),
            prefilled=metrics.total(PROMPTED),
            drafted=metrics.total(DRAFTED),
        )
        return replace(counters, slots=tuple(replace(slot, id=WHOLE_SERVER) for slot in counters.slots))


def parse(body: bytes) -> Counters:
    """Return the counters in a `/slots` answer of any build; whatever else it is, is `INVALID`."""
    try:
        entries = json.loads(body)
        if not isinstance(entries, list):
            raise TypeError(f"it is {type(entries).__name__}")  # noqa: TRY301 - one way out for whatever it is
        slots = tuple(_slot(entry) for entry in entries)
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        return Counters(reply=Reply.INVALID, detail=f"/slots is not a list of slots: {http.detail_of(error)}")
    return Counters(reply=Reply.ANSWERED, slots=slots)


def _slot(entry: dict[str, Any]) -> Slot:
    task = entry.get("id_task")
    # An object in old builds, a list of one per beam in new ones; absent before the first task.
    following = entry.get("next_token") or {}
    if isinstance(following, list):
        following = following[0]
    # Builds of 2024, and forks of them, have a number for it: 0 is idle.
    busy = entry["is_processing"] if "is_processing" in entry else entry["state"]
    return Slot(
        id=_count(entry["id"]),
        busy=bool(busy),
        task=None if task is None or task == NO_TASK else _count(task),
        decoded=_count(following.get("n_decoded") or 0),
        prefilled=_count(entry.get("n_prompt_tokens_processed") or 0),
        cached=None if busy else _cached(entry),
    )


def _cached(entry: dict[str, Any]) -> int | None:
    """Return how many tokens an idle slot keeps of its last request; None where the build does not tell."""
    if "n_prompt_tokens" in entry:
        return _count(entry["n_prompt_tokens"] or 0)
    return None if "id_task" in entry else 0


def _count(value: object) -> int:
    if not isinstance(value, int | float):
        raise TypeError("a count is no number")  # what it is instead may be a user's text
    return int(value)
