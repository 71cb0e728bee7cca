"""Check that what came back is an answer: status, shape, tokens, no error in disguise, no garbage."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.core.observations import Reply
from supervisor.probes.http import is_loading, short

GARBAGE_LENGTH = 4  # so many times the same character is what a poisoned model says
MAX_JUDGED = 1024  # characters; a canary's cap is a few tokens, and patterns may take long over a long text


class NotAnAnswerError(Exception):
    """The body is not a completed chat completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """Decides whether a response answers a canary; `error_patterns` find errors dressed as content."""

    error_patterns: tuple[re.Pattern[str], ...] = ()

    def check(self, status: int, headers: Mapping[str, str], body: bytes) -> tuple[Reply, str]:
        """Return what the response was, and what was wrong with it."""
        if status != 200:
            return _refusal(status, headers, body)
        try:
            content = self._content(headers.get("content-type", ""), body)
        except NotAnAnswerError as error:
            return Reply.INVALID, short(f"status 200, but {error}")
        for pattern in self.error_patterns:
            if pattern.search(content[:MAX_JUDGED]):
                return Reply.INVALID, short(f"an error dressed as content: {content}")
        if _is_garbage(content):
            return Reply.INVALID, short(f"garbage: {content[:MAX_JUDGED]!a}")
        return Reply.ANSWERED, ""

    def _content(self, content_type: str, body: bytes) -> str:
        pieces = list(_events(body)) if content_type.lower().startswith("text/event-stream") else [_json(body)]
        if not any(_finished(piece) for piece in pieces):
            raise NotAnAnswerError("it ends half-way, without a finish_reason")
        content = "".join(_text(piece) for piece in pieces)
        if not content and max((_tokens(piece) for piece in pieces), default=0) < 1:
            raise NotAnAnswerError("not one token came")
        return content


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> tuple[Reply, str]:
    """Tell an overloaded server from a loading one, a wrong request and a broken server."""
    detail = short(f"status {status}: {_error_message(body)}")
    if is_loading(status, body):
        return Reply.LOADING, detail
    if status == 429 or (status == 503 and "retry-after" in headers):
        return Reply.OVERLOADED, detail
    return (Reply.FAILED if status >= 500 else Reply.DENIED), detail


def _is_garbage(content: str) -> bool:
    """Whether it is what a model with poisoned weights says: one character for ever, or control characters."""
    dense = "".join(content.split())
    if dense and not any(each.isprintable() for each in dense):
        return True
    return len(dense) >= GARBAGE_LENGTH and len(set(dense)) == 1


def _error_message(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, TypeError, KeyError, RecursionError):
        return body[:400].decode(errors="replace")


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a server-sent stream, up to its end."""
    for line in body.splitlines():  # of bytes: in text, U+2028 and its like would end a line in the midst of JSON
        field, _, data = line.partition(b":")
        if field == b"error":  # llama.cpp's own way to report a failure in the midst of a stream
            raise NotAnAnswerError(f"it holds an error: {data.decode(errors='replace').strip()}")
        if field == b"data" and data.strip() not in (b"", b"[DONE]"):
            yield _json(data)


def _json(body: bytes) -> dict[str, Any]:
    try:
        piece = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAnAnswerError(f"it is not JSON: {body[:80].decode(errors='replace')}") from error
    if not isinstance(piece, dict):
        raise NotAnAnswerError("it is not a JSON object")
    if piece.get("error"):
        raise NotAnAnswerError(f"it holds an error: {_error_message(body)}")
    return piece


def _choices(piece: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    choices = piece.get("choices")
    if not isinstance(choices, list):
        return []
    return [choice for choice in choices if isinstance(choice, dict)]


def _finished(piece: Mapping[str, Any]) -> bool:
    return any(choice.get("finish_reason") for choice in _choices(piece))


def _text(piece: Mapping[str, Any]) -> str:
    """Return what a chunk says; a reasoning model may spend its few tokens on thinking alone."""
    said = [choice.get("message") or choice.get("delta") or {} for choice in _choices(piece)]
    return "".join(
        value
        for each in said
        if isinstance(each, dict)
        for key in ("reasoning_content", "content")
        if isinstance(value := each.get(key), str)
    )


def _tokens(piece: Mapping[str, Any]) -> int:
    usage = piece.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else 0
