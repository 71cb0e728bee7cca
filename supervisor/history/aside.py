"""Put a database that cannot be read out of the way, where a person may still look into it. It reads nothing of it."""

import contextlib
from pathlib import Path

MOST_ASIDE = 3
ENDINGS = ("-wal", "-shm")  # of the files that SQLite keeps beside its own


def set_aside(path: Path, *, stamp: str) -> Path:
    """Rename the database at `path`, with what lies beside it, and return where it is now; the newest few are kept."""
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    for ending in ("", *ENDINGS):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    with contextlib.suppress(OSError):  # too many of them are no reason to go without a new one
        _forget_old(path)
    return aside


def _forget_old(path: Path) -> None:
    asides = [each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}.corrupt-")]
    for old in sorted({_database(each.name) for each in asides})[:-MOST_ASIDE]:
        for ending in ("", *ENDINGS):
            path.with_name(old + ending).unlink(missing_ok=True)


def _database(name: str) -> str:
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name
