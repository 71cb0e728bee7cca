"""Read what a request asks for in its query; what cannot be read is refused by its key, its value and what is right."""

from collections.abc import Callable
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from supervisor.core.liveness import Snapshot, iso
from supervisor.core.restraint import Hold
from supervisor.publish.answers import no_such
from supervisor.publish.board import Board

T = TypeVar("T", int, float)
USUAL_LIMIT, MOST = 50, 500
LONGEST_HOLD_S = 31_536_000.0  # a year; whoever means longer gives no end
MOST_OF_WHY = 200  # characters
MAX_WAIT_S = 600.0
DEFAULT_WAIT_S = 60.0


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


def known(request: Request, board: Board) -> Snapshot:
    """Return what is believed of the target that the path names.

    Raises:
        Refusal: there is none of that name.
    """
    name = request.path_params["name"]
    snapshot = board.believed(name)
    if snapshot is None:
        raise no_such("target", name, [each.name for each in board.snapshots])
    return snapshot


def flag(request: Request, key: str, *, usual: bool = False) -> bool:
    """Return a yes or no.

    Raises:
        HTTPException: it is neither 1 nor 0.
    """
    text = request.query_params.get(key)
    if text not in (None, "0", "1"):
        raise HTTPException(400, f"{key} = {text!r} must be 1 or 0 (the default is {int(usual)})")
    return usual if text is None else text == "1"


def wait_s(request: Request, *, usual_s: float) -> float:
    """Return how long to wait for the outcome.

    Raises:
        HTTPException: it is no sensible number of seconds.
    """
    text = request.query_params.get("wait_s")
    if text is None:
        return usual_s
    seconds = number("wait_s", text, float, what="a number of seconds")
    if not 0 <= seconds <= MAX_WAIT_S:
        raise HTTPException(400, f"wait_s = {text} must lie between 0 and {MAX_WAIT_S:g} seconds")
    return seconds


def for_s(request: Request) -> float | None:
    """Return for how long something is held; None: until it is released.

    Raises:
        HTTPException: it is no sensible number of seconds.
    """
    text = request.query_params.get("for_s")
    if text is None:
        return None
    seconds = number("for_s", text, float, what="a number of seconds")
    if not 0 < seconds <= LONGEST_HOLD_S:
        most = f"at most {LONGEST_HOLD_S:.0f} seconds (a year)"
        raise HTTPException(400, f"for_s = {text} must be more than 0 and {most}; leave it out for a hold without end")
    return seconds


def why(request: Request) -> str:
    """Return the reason that is given.

    Raises:
        HTTPException: it is too long, or more than a line.
    """
    said = request.query_params.get("why", "")
    if len(said) > MOST_OF_WHY or not said.isprintable():
        raise HTTPException(400, f"why must be at most {MOST_OF_WHY} printable characters, on one line")
    return said.strip()


def hold_until(hold: Hold) -> str | None:
    """Return when a hold ends, as documents spell it."""
    return None if hold.until is None else iso(hold.until)
