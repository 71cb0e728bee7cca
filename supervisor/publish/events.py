"""The last things that were told, numbered, so that whoever lost the connection can be told what was missed.

One feed per epoch: it is kept in memory, by number and by size, and a new daemon begins a new one.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEPT = 256  # events
MOST_BYTES = 4 << 20  # of them together: a document of a thousand backends has half a megabyte


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as it is sent: `number` counts from 1 within its epoch."""

    number: int
    text: bytes


class Feed:
    """Keeps the last events of one epoch, and wakes whoever waits for the next stamp."""

    def __init__(self, epoch: str, *, kept: int = KEPT, most_bytes: int = MOST_BYTES) -> None:
        self._epoch = epoch
        self._kept = kept
        self._most_bytes = most_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self.latest = 0  # number of the last event
        self.is_over = False

    def tell(self, kind: str, data: bytes) -> None:
        """Add an event; `data` is one line."""
        self.latest += 1
        event = Event(self.latest, message(kind, data, event_id=self.id_of(self.latest)))
        self._events.append(event)
        self._bytes += len(event.text)
        while len(self._events) > self._kept or (self._bytes > self._most_bytes and len(self._events) > 1):
            self._bytes -= len(self._events.popleft().text)

    def id_of(self, number: int) -> str:
        """Return how readers call an event."""
        return f"{self._epoch}.{number}"

    def number_of(self, event_id: str) -> int | None:
        """Return the number of an event that was told in this epoch and after which nothing is forgotten, or None."""
        epoch, _, digits = event_id.rpartition(".")
        # Nobody's number has more digits than that, and a longer one would take Python long to read.
        if epoch != self._epoch or not digits.isascii() or not digits.isdigit() or len(digits) > len(str(self.latest)):
            return None
        number = int(digits)
        return number if self._forgotten <= number <= self.latest else None

    def after(self, number: int) -> list[Event] | None:
        """Return the events after one, oldest first; None where some of them are forgotten."""
        if number < self._forgotten:
            return None
        # The newest are few, and the oldest many.
        return [self._events[index] for index in range(number - self.latest, 0)]

    async def change(self) -> None:
        """Return at the next stamp, whether or not anything was told with it, or at the end."""
        await self._changed.wait()

    def wake(self) -> None:
        """Let go on whoever waits for a stamp."""
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self) -> None:
        """Say that nothing more is told: whoever reads it goes."""
        self.is_over = True
        self.wake()

    @property
    def _forgotten(self) -> int:
        """The number of the last event that is not kept any more."""
        return self.latest - len(self._events)


def message(kind: str, data: bytes, *, event_id: str | None = None) -> bytes:
    """Return an event in the form of Server-Sent Events; `data` is one line."""
    head = b"" if event_id is None else f"id: {event_id}\n".encode()
    return head + f"event: {kind}\n".encode() + b"data: " + data + b"\n\n"


def line(content: Mapping[str, Any]) -> bytes:
    """Return JSON on one line."""
    # Not every text has an encoding: a server may have sent half a character.
    return json.dumps(content, ensure_ascii=False).encode(errors="replace")
