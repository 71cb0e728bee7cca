"""Tell of an error that nobody foresaw: where it was raised, and the beginning of what it says. Pure.

Python's own traceback shows an error's words in full, and a library's error may quote a whole request.
"""

import traceback
from collections.abc import Callable, Iterator

MOST_FRAMES = 20  # of one error, the innermost: where it was raised
MOST_ERRORS = 10  # of a chain or a group
LONGEST = 400  # characters of what an error says


def told(error: BaseException, *, clean: Callable[[str], str]) -> str:
    """Return an error with what led to it, the first cause first; `clean` takes out what must not be told."""
    lines: list[str] = []
    for each in _chain(error):
        lines += [*_one(each, clean=clean), ""]
    return "\n".join(lines[:-1])


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error after whatever caused it."""
    chain: list[BaseException] = []
    present: BaseException | None = error
    while present is not None and present not in chain and len(chain) < MOST_ERRORS:
        chain.append(present)
        context = None if present.__suppress_context__ else present.__context__
        present = present.__cause__ or context
    return chain[::-1]


def _one(error: BaseException, *, clean: Callable[[str], str]) -> Iterator[str]:
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
        yield from "".join(traceback.format_list(frames)).splitlines()
    yield f"{_named(type(error))}: {_says(error, clean=clean)}"
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions[:MOST_ERRORS]:
            yield from (f"  | {line}" for line in _one(each, clean=clean))


def _named(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _says(error: BaseException, *, clean: Callable[[str], str]) -> str:
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - somebody else's __str__ may do anything
        return "(it cannot be told)"
    first, _, more = words.strip().partition("\n")
    return clean(first)[:LONGEST] + (" …" if more or len(first) > LONGEST else "")
