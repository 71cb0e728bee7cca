"""Keep a log that somebody else appends to small, and read its end.

The writer holds its file open and must go on writing when we are gone, so the file is copied and emptied in place
(copytruncate); a line written between the last read and the emptying is lost. Needs a writer that appends (O_APPEND).
"""

import asyncio
import os
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20  # half a millisecond of the loop's time


async def rotate(log: Path, *, max_bytes: int, backups: int) -> bool:
    """Move what is in `log` to `log.1`, `log.1` to `log.2` and so on, if it has grown beyond `max_bytes`.

    Of a log that has grown far beyond, the last `max_bytes` are kept. Raises OSError where the disk does.
    """
    if not _is_larger(log, max_bytes):
        return False
    if backups == 0:
        os.truncate(log, 0)
        return True
    part = log.with_name(f"{log.name}.part")
    try:
        with log.open("rb") as source, part.open("wb", buffering=0) as copy:
            await _copy_end(source, copy, max_bytes=max_bytes)
            _shift(log, backups=backups)
            part.replace(backup(log, 1))
            copy.write(source.read(CHUNK_BYTES))  # written meanwhile; what comes after this is lost
            os.truncate(log, 0)
    finally:
        part.unlink(missing_ok=True)
    return True


def tail(log: Path, *, max_bytes: int) -> bytes:
    """Return the last `max_bytes`, out of the newest backup too if the log has just been emptied."""
    end = _end(log, max_bytes=max_bytes)
    return _end(backup(log, 1), max_bytes=max_bytes - len(end)) + end


def _is_larger(log: Path, max_bytes: int) -> bool:
    return log.exists() and log.stat().st_size > max_bytes


def _shift(log: Path, *, backups: int) -> None:
    for number in range(backups - 1, 0, -1):
        if backup(log, number).exists():
            backup(log, number).replace(backup(log, number + 1))


async def _copy_end(source: BinaryIO, copy: BinaryIO, *, max_bytes: int) -> None:
    source.seek(-max_bytes, os.SEEK_END)
    left = 2 * max_bytes  # of a writer that is faster than we are, we copy no more
    while left > 0 and (chunk := source.read(min(CHUNK_BYTES, left))):
        copy.write(chunk)
        left -= len(chunk)
        await asyncio.sleep(0)


def _end(log: Path, *, max_bytes: int) -> bytes:
    if max_bytes <= 0 or not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - max_bytes))
        return file.read(max_bytes)


def backup(log: Path, number: int) -> Path:
    """Return where the log is moved, as the newest of its backups or an older one."""
    return log.with_name(f"{log.name}.{number}")
