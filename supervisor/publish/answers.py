"""The shapes in which the HTTP face answers: documents, and refusals that every client knows how to read."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

CODES: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "TooLarge",
}


class Refusal(HTTPException):
    """A refusal with a code of its own, for machines to tell it from others of its status."""

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


def no_such(kind: str, name: str, names: Iterable[str]) -> Refusal:
    """Return the refusal of a name that stands for nothing; `names` are those that do."""
    message = f"there is no {kind} {name!r}; there are: {', '.join(names) or 'none'}"
    return Refusal(404, f"NoSuch{kind.capitalize()}", message)


def unreadable() -> Refusal:
    """Return what is said where the history cannot be read."""
    return Refusal(503, "HistoryUnreadable", "the history cannot be read; the supervisor's log says why")


def answer_document(
    content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer with words from outside."""
    # Not every text has an encoding: a server may have sent half a character.
    body = json.dumps(content, ensure_ascii=False).encode(errors="replace")
    return Response(body, status, headers, media_type="application/json")


def answer_error(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return a refusal or a fault in the one shape that clients know."""
    body: dict[str, Any] = {"error": {"code": code, "message": message}}
    return JSONResponse(body, status_code=status, headers=headers)


async def refuse(_: Request, error: Exception) -> Response:
    """Answer every refusal in that shape."""
    if not isinstance(error, HTTPException):  # pragma: no cover - Starlette hands in what it was registered for
        raise error
    code = error.code if isinstance(error, Refusal) else CODES.get(error.status_code, "Error")
    return answer_error(error.status_code, code, error.detail, headers=error.headers)


async def fail(_: Request, error: Exception) -> Response:
    """Answer a fault of ours in that shape too; Starlette raises it again, for the log."""
    return answer_error(500, "OurFault", f"a fault of the supervisor's own, see its log: {type(error).__name__}")
