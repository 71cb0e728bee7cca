"""Read what routers report of real requests: the body of `POST /v1/observations`, checked key by key.

It believes nothing and decides nothing; a report that cannot be read is refused in words that name the cure.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.core.liveness import Snapshot
from supervisor.core.observations import TrafficSeen

MAX_BODY_BYTES = 64 * 1024
MAX_REPORTS = 100
MAX_AGE_S = 3600.0  # what is older says nothing of the present
MAX_FIRST_TOKEN_S = 86_400.0
MAX_NAME = 2048
MAX_ERROR = 200
MAX_SHOWN = 60  # of a wrong value, in the refusal


class BadReportError(Exception):
    """The body holds something that is no report; the message says what, and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one router says of one request to `backend`, a name or an address."""

    backend: str
    seen: TrafficSeen


def parse(body: bytes) -> list[Report]:
    """Return the reports of a body: one, or a list of them.

    Raises:
        BadReportError: it is no JSON, or some key of some report is missing or wrong.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadReportError("the body is not JSON; send one report or a list of them") from error
    if not isinstance(content, list):
        return [_report(content, where="")]
    if len(content) > MAX_REPORTS:
        raise BadReportError(f"the body holds {len(content)} reports; send at most {MAX_REPORTS} at once")
    return [_report(each, where=f"report {number}: ") for number, each in enumerate(content)]


def target_of(backend: str, snapshots: tuple[Snapshot, ...]) -> str:
    """Return the name of the target that `backend` means, by name or by address; itself where there is none."""
    if any(each.name == backend for each in snapshots):
        return backend
    address = f"{backend.rstrip('/')}/"
    # Routers know a server by the path they ask too, e.g. http://127.0.0.1:8092/v1.
    return next((each.name for each in snapshots if address.startswith(f"{each.url.rstrip('/')}/")), backend)


def printable(text: str, *, most: int) -> str:
    """Return words that cannot harm a log or a terminal, and not too many of them."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:most]).strip()


def _report(content: Any, *, where: str) -> Report:
    if not isinstance(content, dict):
        raise BadReportError(f"{where}{_shown(content)} must be an object with the keys backend and ok")
    backend = _text(content, "backend", where=where, most=MAX_NAME)
    if not backend:
        raise BadReportError(f"{where}backend must be the backend's name or address")
    ok = content.get("ok")
    if not isinstance(ok, bool):
        raise BadReportError(f"{where}ok = {_shown(ok)} must be true or false")
    return Report(
        backend=backend,
        seen=TrafficSeen(
            instance=_text(content, "instance", where=where, most=MAX_NAME) or None,
            ok=ok,
            age_s=_seconds(content, "age_s", where=where, most=MAX_AGE_S) or 0.0,
            first_token_s=_seconds(content, "first_token_s", where=where, most=MAX_FIRST_TOKEN_S),
            detail=printable(_text(content, "error", where=where, most=MAX_BODY_BYTES), most=MAX_ERROR),
        ),
    )


def _text(content: Mapping[str, Any], key: str, *, where: str, most: int) -> str:
    value = content.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise BadReportError(f"{where}{key} = {_shown(value)} must be a text of at most {most} characters")
    return value


def _seconds(content: Mapping[str, Any], key: str, *, where: str, most: float) -> float | None:
    value = content.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most:
        raise BadReportError(f"{where}{key} = {_shown(value)} must be a number of seconds from 0 to {most:g}")
    return float(value)


def _shown(value: Any) -> str:
    return printable(json.dumps(value), most=MAX_SHOWN)
