"""Make a bundle of evidence into the body of a file that is no larger than it may be. It touches no disk.

A bundle holds what servers and engines have said, so nothing in it is sure: numbers that are none, half a character,
a log of any length.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.history.rows import text

MOST_BYTES = 256 * 1024
DEEPEST = 32  # far deeper than anything an engine says
LARGEST = 2**63  # beyond it, readers of JSON do not agree
FEWEST_LETTERS = 256  # a text that is cut still says something
CUT = f"it was larger than {MOST_BYTES // 1024} KiB, so the longest texts and lists in it are cut"


def body(bundle: Mapping[str, Any]) -> bytes:
    """Return the bundle as JSON of `MOST_BYTES` at the most; one that is cut says so under `cut`.

    The longest texts go first, in their midst: what matters of a log is at its end, and of the rest at its beginning.
    """
    whole = plain(bundle)
    written = _written(whole)
    letters = max((len(each) for each in _parts(whole) if isinstance(each, str)), default=0)
    items = max(len(each) for each in _parts(whole) if not isinstance(each, str))
    while len(written) > MOST_BYTES:
        if letters > FEWEST_LETTERS:
            letters = max(letters // 2, FEWEST_LETTERS)
        else:
            items //= 2
        written = _written({**_cut(whole, letters=letters, items=items), "cut": CUT})
    return written


def plain(value: Any, *, deepest: int = DEEPEST) -> Any:
    """Return the value as JSON can hold it; what it cannot is told in words, or left out."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < LARGEST else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if not deepest:
        return "…"
    if isinstance(value, Mapping):
        return {text(str(key)): plain(each, deepest=deepest - 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each, deepest=deepest - 1) for each in value]
    return text(str(value))


def _written(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def _parts(value: Any) -> Iterator[Any]:
    """Yield everything in it that has a length, itself too."""
    if isinstance(value, str | dict | list):
        yield value
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _parts(each)
    if isinstance(value, list):
        for each in value:
            yield from _parts(each)


def _cut(value: Any, *, letters: int, items: int) -> Any:
    if isinstance(value, str):
        return _cut_text(value, letters=letters)
    if isinstance(value, dict):
        kept = list(value.items())[:items]
        return {_cut_text(key, letters=letters): _cut(each, letters=letters, items=items) for key, each in kept}
    if isinstance(value, list):
        return [_cut(each, letters=letters, items=items) for each in value[max(0, len(value) - items) :]]
    return value


def _cut_text(words: str, *, letters: int) -> str:
    if len(words) <= letters:
        return words
    half = letters // 2
    return f"{words[:half]} … {len(words) - 2 * half} characters are cut here … {words[-half:]}"
