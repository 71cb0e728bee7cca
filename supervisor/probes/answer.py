"""Check that what came back is an answer: status, shape, tokens or numbers, no error in disguise, no garbage."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.core.observations import Reply
from supervisor.probes import pieces, refusals
from supervisor.probes.http import short
from supervisor.probes.pieces import ErrorInsideError, NotAnAnswerError
from supervisor.probes.questions import CanaryKind

GARBAGE_LENGTH = 4  # so many times the same character is what a poisoned model says
MAX_JUDGED = 1024  # characters; a canary's cap is a few tokens, and patterns may take long over a long text
BROKEN_ENDS = frozenset({"error", "abort"})  # vLLM's and SGLang's words for a generation that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """Decides whether a response answers a canary; `error_patterns` find errors dressed as content.

    `busy_patterns` find a server's saying, dressed so too, that it or one behind it has too much to do.
    """

    error_patterns: tuple[re.Pattern[str], ...] = ()
    busy_patterns: tuple[re.Pattern[str], ...] = ()

    def check(
        self, status: int, headers: Mapping[str, str], body: bytes, *, kind: CanaryKind = "chat"
    ) -> tuple[Reply, str]:
        """Return what the response was, and what was wrong with it."""
        if status != 200:
            return refusals.meaning(status, headers, body, kind=kind)
        try:
            content_type = headers.get("content-type", "")
            found = pieces.read(content_type, body)
            is_done = pieces.says_done(content_type, body)
            content = _vectors(found) if kind == "embeddings" else _content(found, is_done=is_done)
        except ErrorInsideError as error:
            if 400 <= error.status < 500:  # a refusal that came late: the head was out already
                return refusals.meaning(error.status, {}, error.body, kind=kind)
            return Reply.INVALID, short(f"status 200, but {error}")
        except NotAnAnswerError as error:
            return Reply.INVALID, short(f"status 200, but {error}")
        judged = content[:MAX_JUDGED]
        if any(pattern.search(judged) for pattern in self.busy_patterns):
            return Reply.OVERLOADED, short(f"says: {content}")
        if any(pattern.search(judged) for pattern in self.error_patterns):
            return Reply.INVALID, short(f"an error dressed as content: {content}")
        if _is_garbage(content):
            return Reply.INVALID, short(f"garbage: {content[:MAX_JUDGED]!a}")
        return Reply.ANSWERED, ""


def _content(found: list[dict[str, Any]], *, is_done: bool) -> str:
    """Return what a chat or a completion says."""
    ends = {end for piece in found for end in pieces.finish_reasons(piece)}
    if not ends and not is_done:
        raise NotAnAnswerError("it ends half-way, without a finish_reason")
    if broken := ends & BROKEN_ENDS:
        raise NotAnAnswerError(f"it ended with finish_reason {min(broken)}")
    content = "".join(pieces.text(piece) for piece in found)
    if not content and not _made_tokens(found, ends):
        raise NotAnAnswerError("not one token came")
    return content


def _made_tokens(found: list[dict[str, Any]], ends: set[str]) -> bool:
    """Whether tokens were made although nothing was said: a few of them may be half a character or hidden thoughts.

    Where the server does not count, only a cap that was reached proves them.
    """
    counts = [count for piece in found if (count := pieces.tokens(piece)) is not None]
    return max(counts) >= 1 if counts else "length" in ends


def _vectors(found: list[dict[str, Any]]) -> str:
    """Check embeddings; they say nothing that patterns could be held against."""
    data = found[0].get("data") if found else None
    first = data[0] if isinstance(data, list) and data else None
    vector = first.get("embedding") if isinstance(first, dict) else None
    if not isinstance(vector, list) or not vector:
        raise NotAnAnswerError("it holds no embedding")
    if not all(_is_finite(number) for number in vector):
        raise NotAnAnswerError("its embedding holds something that is no number")  # llama.cpp writes NaN as null
    if not any(vector):
        raise NotAnAnswerError("its embedding is all zeros")
    return ""


def _is_finite(number: object) -> bool:
    try:
        return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    except OverflowError:  # an integer beyond what any float holds
        return False


def _is_garbage(content: str) -> bool:
    """Whether it is what a model with poisoned weights says: one character for ever, or control characters."""
    dense = "".join(content.split())
    if dense and not any(each.isprintable() for each in dense):
        return True
    return len(dense) >= GARBAGE_LENGTH and len(set(dense)) == 1
