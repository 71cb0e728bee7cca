"""Keep what was seen of an incident in files: a folder for each, a few files for each of its targets.

Written aside, flushed, renamed; bounded in every direction. It knows nothing of what is in a bundle.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.history import bundles, rows

MOST_OF_A_TARGET = 5  # the first, and the latest
MOST_FOLDERS = 200
MOST_BYTES = 50 * 1024**2
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
FILE = re.compile(r"(?P<target>.+)-(?P<number>[0-9]{1,9})\.json", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: Path
    target: str
    number: int


def keep(root: Path, incident: str, target: str, bundle: Mapping[str, Any]) -> None:
    """Write one bundle about a target, beside those that are kept of it.

    Raises:
        ValueError: a name that is not safe as the name of a file.
        OSError: the disk is full, or the like; what was kept before is whole.
    """
    for name in (incident, target):
        if not SAFE.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a file; letters, digits and ._- can")
    folder = root / incident
    root.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        _write(_next(folder, target), bundles.body(bundle))
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()  # where it was made for this one alone
        raise
    _drop_the_middle(folder, target)
    _flush(root)


def move(root: Path, target: str, *, before: str, after: str) -> None:
    """Carry what is kept of a target over to the incident that its trouble is a part of."""
    if not (SAFE.fullmatch(before) and SAFE.fullmatch(after)):
        return  # nothing was ever kept there
    old, new = root / before, root / after
    files = _files(old, target)
    if not files:
        return
    new.mkdir(mode=0o700, exist_ok=True)
    for file in files:
        file.path.rename(_next(new, target))
    _drop_the_middle(new, target)
    for folder in (new, old, root):
        _flush(folder)
    with contextlib.suppress(OSError):
        old.rmdir()  # others may have theirs in it


def read(root: Path, incident: str) -> list[dict[str, Any]]:
    """Return the bundles kept for an incident, oldest first; what cannot be read is left out."""
    if not SAFE.fullmatch(incident):
        return []
    files = sorted(_files(root / incident), key=lambda file: (_written_at(file.path), file.number))
    read = [_bundle(file.path) for file in files]
    return [bundle for bundle in read if bundle is not None]


def prune(root: Path, *, spare: Collection[str]) -> None:
    """Delete the oldest incidents' folders until what is kept is no more than it may be; never one of `spare`."""
    folders = [each for each in root.iterdir() if each.is_dir() and SAFE.fullmatch(each.name)]
    sizes = {each: sum(file.stat().st_size for file in each.iterdir()) for each in folders}
    for folder in sorted(folders, key=_written_at):
        if len(sizes) <= MOST_FOLDERS and sum(sizes.values()) <= MOST_BYTES:
            return
        if folder.name not in spare:
            shutil.rmtree(folder)
            del sizes[folder]


def _files(folder: Path, target: str | None = None) -> list[_File]:
    """Return the files in a folder, of one target or of all; the first to be written is the first of its target."""
    if not folder.is_dir():
        return []
    named = [(each, FILE.fullmatch(each.name)) for each in folder.iterdir()]
    files = [_File(path=each, target=name["target"], number=int(name["number"])) for each, name in named if name]
    return sorted((file for file in files if target in (None, file.target)), key=lambda file: file.number)


def _next(folder: Path, target: str) -> Path:
    files = _files(folder, target)
    return folder / f"{target}-{files[-1].number + 1 if files else 1}.json"


def _drop_the_middle(folder: Path, target: str) -> None:
    """Keep how it was at first, and how it is now."""
    for file in _files(folder, target)[1 : 1 - MOST_OF_A_TARGET]:
        file.path.unlink()


def _write(path: Path, body: bytes) -> None:
    aside = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _flush(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def _flush(folder: Path) -> None:
    """Make sure that the names in a folder outlive a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _bundle(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            body = file.read(bundles.MOST_BYTES + 1)
    except OSError:
        return None
    content = rows.content(body) if len(body) <= bundles.MOST_BYTES else None
    return bundles.plain(content) if isinstance(content, dict) else None
