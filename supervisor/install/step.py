"""One thing to be done, in words and as a deed."""

from collections.abc import Callable
from typing import NamedTuple


def _nothing() -> None:
    pass


class Step(NamedTuple):
    """What is said of it, and what does it; by default, nothing needs to be done."""

    says: str
    do: Callable[[], None] = _nothing
