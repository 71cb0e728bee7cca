"""Read what a server sent as the pieces of an answer: one JSON object, or the events of a stream. Judges nothing."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# vLLM, SGLang, Ollama and OpenRouter say `reasoning` today; the others, and vLLM before, the longer word.
SAYINGS = ("reasoning_content", "reasoning", "content")
DONE = b"[DONE]"


class NotAnAnswerError(Exception):
    """The body is not a complete answer."""


class ErrorInsideError(NotAnAnswerError):
    """The body holds an error although the status was 200; `status` is the one that it names itself, 0 for none."""

    def __init__(self, body: bytes) -> None:
        super().__init__(f"it holds an error: {error_message(body)}")
        self.body = body
        self.status = _error_status(body)


def is_stream(content_type: str) -> bool:
    """Tell a stream of events from one object."""
    return content_type.lower().startswith("text/event-stream")


def read(content_type: str, body: bytes) -> list[dict[str, Any]]:
    """Return all pieces of a body.

    Raises:
        NotAnAnswerError: it is no JSON, or holds an error.
    """
    return list(_events(body)) if is_stream(content_type) else [_object(body)]


def says_done(content_type: str, body: bytes) -> bool:
    """Whether a stream came to the mark at its end; routers that make their own pieces may give no other."""
    fields = (line.partition(b":") for line in body.splitlines())
    return is_stream(content_type) and any(name == b"data" and data.strip() == DONE for name, _, data in fields)


def is_finished(piece: Mapping[str, Any]) -> bool:
    """Whether this piece ends the answer."""
    return any(finish_reasons(piece))


def finish_reasons(piece: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the answer ended, where this piece ends it."""
    for choice in _choices(piece):
        if reason := choice.get("finish_reason"):
            yield str(reason)[:32]


def text(piece: Mapping[str, Any]) -> str:
    """Return what a piece says; a reasoning model may spend its few tokens on thinking alone."""
    return "".join(_texts(piece))


def tokens(piece: Mapping[str, Any]) -> int | None:
    """Return how many tokens were made, None where this piece does not say."""
    usage = piece.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


def error_message(body: bytes) -> str:
    """Return a server's own words about its error, in whichever shape they come."""
    try:
        found = json.loads(body)
        error = found.get("error", found)
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return body[:400].decode(errors="replace").strip()


class FirstWord:
    """Notices when an answer begins.

    A head, a comment and an empty piece are no beginning: llama.cpp sends its head at once and a comment every 30 s
    while it reads prompts, and some servers open with a piece that only names the speaker.
    """

    def __init__(self, content_type: str) -> None:
        self.heard = False
        self._is_stream = is_stream(content_type)
        self._line = bytearray()

    def listen(self, chunk: bytes) -> None:
        """Take what came, however it is cut."""
        if self.heard:
            return
        self._line += chunk
        if not self._is_stream:
            self.heard = bool(chunk.strip())
        elif b"\n" in chunk or b"\r" in chunk:  # not at every chunk: a long line in tiny ones would take for ever
            *lines, self._line = self._line.splitlines(keepends=True)
            if self._line.endswith((b"\n", b"\r")):
                lines, self._line = [*lines, self._line], bytearray()
            self.heard = any(_is_word(bytes(line)) for line in lines)


def _is_word(line: bytes) -> bool:
    try:
        return any(text(piece) or is_finished(piece) for piece in _events(line))
    except NotAnAnswerError:
        return True  # an error, or garbage: it speaks


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the pieces of a server-sent stream, up to its end."""
    is_error = False
    for line in body.splitlines():  # of bytes: in text, U+2028 and its like would end a line in the midst of JSON
        field, _, data = line.partition(b":")
        if field == b"event":
            is_error = data.strip() == b"error"
        elif field == b"error" or (field == b"data" and is_error):  # the former is llama.cpp's own way
            raise ErrorInsideError(data)
        elif field == b"data" and data.strip() not in (b"", DONE):
            yield _object(data)


def _object(body: bytes) -> dict[str, Any]:
    try:
        piece = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAnAnswerError(f"it is not JSON: {body[:80].decode(errors='replace')}") from error
    if not isinstance(piece, dict):
        raise NotAnAnswerError("it is not a JSON object")
    if piece.get("error") or piece.get("object") == "error":  # the latter is vLLM's
        raise ErrorInsideError(body)
    return piece


def _error_status(body: bytes) -> int:
    try:
        found = json.loads(body)
        error = found.get("error", found)
        code = int(error.get("code", found.get("code", 0)))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return 0
    return code if 100 <= code <= 599 else 0


def _choices(piece: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    choices = piece.get("choices")
    if not isinstance(choices, list):
        return []
    return [choice for choice in choices if isinstance(choice, dict)]


def _texts(piece: Mapping[str, Any]) -> Iterator[str]:
    for choice in _choices(piece):
        said = choice.get("message") or choice.get("delta") or {}
        values = [choice.get("text")]  # of a completion
        values += [said.get(key) for key in SAYINGS] if isinstance(said, dict) else []
        yield from (value for value in values if isinstance(value, str))
