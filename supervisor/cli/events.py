"""Read Server-Sent Events from an answer that does not end."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

LONGEST_LINE = 4 << 20  # bytes, as the daemon keeps them


class Event(NamedTuple):
    """One event: what kind it is, and what it says."""

    kind: str
    data: Any


class Lines(Protocol):
    """Where lines are read from."""

    def readline(self, limit: int, /) -> bytes:
        """Return the next line with its end, and nothing at the end of all."""


def events(source: Lines) -> Iterator[Event]:
    """Yield every whole event that holds JSON."""
    kind, data = "", b""
    while line := source.readline(LONGEST_LINE):
        field, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            kind = value.decode(errors="replace")
        elif field == b"data":
            data = data + b"\n" + value if data else value
        elif line in (b"\n", b"\r\n"):
            if (content := _parsed(data)) is not None:
                yield Event(kind, content)
            kind, data = "", b""


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
