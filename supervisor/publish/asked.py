"""Read what a request asks for in its query; what cannot be read is refused by its key, its value and what is right."""

from collections.abc import Callable
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

T = TypeVar("T", int, float)
USUAL_LIMIT, MOST = 50, 500


def number(key: str, text: str, kind: Callable[[str], T], *, what: str) -> T:
    """Return `text` as a number; `what` says of which kind it must be.

    Raises:
        HTTPException: it is none.
    """
    try:
        return kind(text)
    except ValueError as error:
        raise HTTPException(400, f"{key} = {text!r} is not {what}") from error


def limit_of(request: Request) -> int:
    """Return how many of the newest are asked for.

    Raises:
        HTTPException: it is no number, or too many.
    """
    text = request.query_params.get("limit", str(USUAL_LIMIT))
    limit = number("limit", text, int, what="a whole number")
    if not 1 <= limit <= MOST:
        raise HTTPException(400, f"limit = {text} must lie between 1 and {MOST}")
    return limit
