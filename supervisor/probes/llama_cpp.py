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
}


class LlamaCppProgress:
    """Reads one llama.cpp server's slots.

    `/slots` wakes a sleeping server, and nothing else tells that it slept: so `/props`, which does not, is read first
    until the server is known to be awake, and again after every look that failed.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._is_awake = False

    async def look(self, *, timeout_s: float) -> Counters:
        """Return every slot's counters; at most `timeout_s` seconds pass."""
        path = "/slots" if self._is_awake else "/props"
        try:
            async with asyncio.timeout(timeout_s):
                if not self._is_awake and _sleeps(*await self._get("/props")):
                    return Counters(reply=Reply.ASLEEP, detail="/props: is_sleeping")
                path = "/slots"
                counters = _counters(*await self._get("/slots"))
        except TimeoutError:
            counters = Counters(reply=Reply.SILENT, detail=f"{path} silent for {timeout_s:g}s")
        except http.BodyTooLongError as error:
            counters = Counters(reply=Reply.INVALID, detail=f"{path}: {error}")
        except httpx.HTTPError as error:
            counters = Counters(reply=http.reply_to(error), detail=f"{path}: {http.detail_of(error)}")
        except OSError as error:
            counters = Counters(reply=Reply.NOT_RUN, detail=http.detail_of(error))
        self._is_awake = counters.reply is Reply.ANSWERED
        return counters

    async def _get(self, path: str) -> tuple[int, bytes]:
        async with self._client.stream("GET", path) as response:
            return response.status_code, await http.read(response, max_bytes=MAX_BYTES)


def _sleeps(status: int, body: bytes) -> bool:
    """Whether `/props` says that the server has put its model away; builds without such a mode do not say it."""
    if status != httpx.codes.OK:
        return False
    try:
        return json.loads(body)["is_sleeping"] is True
    except (ValueError, TypeError, LookupError, RecursionError):
        return False


def _counters(status: int, body: bytes) -> Counters:
    return parse(body) if status == httpx.codes.OK else _not_counted(status, body)


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


def _not_counted(status: int, body: bytes) -> Counters:
    if http.is_loading(status, body):
        return Counters(reply=Reply.LOADING, detail="/slots: loading its model")
    reply = _STATUS.get(status, Reply.FAILED if status >= httpx.codes.INTERNAL_SERVER_ERROR else Reply.UNSUPPORTED)
    return Counters(reply=reply, detail=f"/slots: status {status}")


def _slot(entry: dict[str, Any]) -> Slot:
    task = entry.get("id_task")
    # An object in old builds, a list of one per beam in new ones; absent before the first task.
    following = entry.get("next_token") or {}
    if isinstance(following, list):
        following = following[0]
    return Slot(
        id=_count(entry["id"]),
        busy=bool(entry["is_processing"]),
        task=None if task is None else _count(task),
        decoded=_count(following.get("n_decoded") or 0),
        prefilled=_count(entry.get("n_prompt_tokens_processed") or 0),
    )


def _count(value: object) -> int:
    if not isinstance(value, int | float):
        raise TypeError("a count is no number")  # what it is instead may be a user's text
    return int(value)
