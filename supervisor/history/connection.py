"""What the functions over the tables need of a connection. Who opens it, and knows its errors, is `store.py` alone."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol


class Answer(Protocol):
    """What a statement brought."""

    @property
    def lastrowid(self) -> int | None:
        """The number of the row that was put in last."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Go through the rows."""
        ...


class Connection(Protocol):
    """An open database, in the midst of a transaction that somebody else ends."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Answer:
        """Run one statement."""
        ...
