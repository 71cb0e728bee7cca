"""Read what a request asks for in its query; what cannot be read is refused by its key, its value and what is right."""

from collections.abc import Callable
from typing import TypeVar

from starlette.exceptions import HTTPException

T = TypeVar("T", int, float)


def number(key: str, text: str, kind: Callable[[str], T], *, what: str) -> T:
    """Return `text` as a number; `what` says of which kind it must be.

    Raises:
        HTTPException: it is none.
    """
    try:
        return kind(text)
    except ValueError as error:
        raise HTTPException(400, f"{key} = {text!r} is not {what}") from error
