"""Words on their way to a terminal: cleaned, wrapped, and the nearest to a mistyped one. Pure: no I/O, no clock."""

import textwrap
import unicodedata

NARROWEST, WIDEST = 40, 100  # a paragraph that is wider is hard to read


def clean(text: object) -> str:
    """Keep words that come from a model server from moving the cursor or breaking the line."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text or ""))


def wide(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF") for each in text)


def hanging(head: str, words: str, *, width: int) -> list[str]:
    """Return the words after the head, further lines below their beginning where there is room for that."""
    deep = len(head) if len(head) <= width // 2 else 4
    wrapped = textwrap.wrap(words, width, initial_indent=head, subsequent_indent=" " * deep, break_on_hyphens=False)
    return wrapped or [head.rstrip()]


def nearest(name: str, known: list[str]) -> str:
    """Say which target may have been meant."""
    close = closest(name, known)
    return f"did you mean {close}?" if close else f"there are: {', '.join(known) or 'none'}"


def closest(name: str, known: list[str]) -> str:
    """Return those that one may have meant by a mistyped name, as a phrase; nothing where none is near."""
    from difflib import get_close_matches

    return " or ".join(get_close_matches(name, known, n=3, cutoff=0.5))
