"""llama.cpp's own progress counters, from `/slots`: answered by the inference loop, with no inference asked for.

Only numbers are read; builds of 2025 put the user's prompt beside them, and that is never kept.
"""

import asyncio
import json
from typing import Any

import httpx

from supervisor.core.observations import Reply, Slot
from supervisor.probes import http
from supervisor.probes.base import Counters

MAX_BYTES = 4 * 1024 * 1024  # old builds repeat whole prompts in it
_STATUS = {
    401: Reply.DENIED,
    403: Reply.DENIED,
    404: Reply.UNSUPPORTED,
    405: Reply.UNSUPPORTED,
    501: Reply.UNSUPPORTED,  # --no-slots
    503: Reply.LOADING,
}


class LlamaCppProgress:
    """Reads one llama.cpp server's slots."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def look(self, *, timeout_s: float) -> Counters:
        """Return every slot's counters; at most `timeout_s` seconds pass."""
        try:
            async with asyncio.timeout(timeout_s), self._client.stream("GET", "/slots") as response:
                if response.status_code != httpx.codes.OK:
                    return _not_counted(response.status_code)
                body = await http.read(response, max_bytes=MAX_BYTES)
        except TimeoutError:
            return Counters(reply=Reply.SILENT, detail=f"/slots silent for {timeout_s:g}s")
        except http.BodyTooLongError as error:
            return Counters(reply=Reply.INVALID, detail=f"/slots: {error}")
        except httpx.HTTPError as error:
            return Counters(reply=http.reply_to(error), detail=f"/slots: {http.detail_of(error)}")
        except OSError as error:
            return Counters(reply=Reply.NOT_RUN, detail=http.detail_of(error))
        return parse(body)


def parse(body: bytes) -> Counters:
    """Return the counters in a `/slots` answer of any build; whatever else it is, is `INVALID`."""
    try:
        entries = json.loads(body)
        slots = tuple(_slot(entry) for entry in entries)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        return Counters(reply=Reply.INVALID, detail=f"/slots is not a list of slots: {http.detail_of(error)}")
    return Counters(reply=Reply.ANSWERED, slots=slots)


def _not_counted(status: int) -> Counters:
    reply = _STATUS.get(status, Reply.FAILED if status >= httpx.codes.INTERNAL_SERVER_ERROR else Reply.UNSUPPORTED)
    return Counters(reply=reply, detail=f"/slots: status {status}")


def _slot(entry: dict[str, Any]) -> Slot:
    task = entry.get("id_task")
    # An object in old builds, a list of one per beam in new ones; absent before the first task.
    following = entry.get("next_token") or {}
    if isinstance(following, list):
        following = following[0]
    return Slot(
        id=int(entry["id"]),
        busy=bool(entry["is_processing"]),
        task=None if task is None else int(task),
        decoded=int(following.get("n_decoded") or 0),
        prefilled=int(entry.get("n_prompt_tokens_processed") or 0),
    )
