"""Read the beginning of a file that somebody else has written, as text; what cannot be read says nothing."""

from pathlib import Path


def beginning(path: Path, *, most_bytes: int) -> str:
    """Return at most the first `most_bytes` of a file, with what is no UTF-8 replaced; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most_bytes).decode(errors="replace")
    except OSError:
        return ""
