"""Logs of writers that never close their file."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from supervisor.engines.rotate import rotate, tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "general.log"


@pytest.fixture
def writer(log: Path) -> Iterator[BinaryIO]:
    """What a program of ours holds: the log, opened once, for appending."""
    with log.open("ab", buffering=0) as file:
        yield file


def text(log: Path, backup: int | None = None) -> bytes:
    return (log if backup is None else log.with_name(f"{log.name}.{backup}")).read_bytes()


def files(log: Path) -> list[str]:
    return sorted(path.name for path in log.parent.iterdir())


async def test_a_small_log_is_left_alone(log: Path, writer: BinaryIO) -> None:
    writer.write(b"x" * 100)

    assert not await rotate(log, max_bytes=100, backups=2)

    assert text(log) == b"x" * 100
    assert files(log) == ["general.log"]


async def test_a_large_log_moves_aside_and_its_writer_goes_on_in_the_same_file(log: Path, writer: BinaryIO) -> None:
    writer.write(b"old " * 30)

    assert await rotate(log, max_bytes=100, backups=2)
    writer.write(b"new")

    assert text(log) == b"new"
    assert text(log, 1).endswith(b"old old ")


async def test_backups_move_up_and_the_oldest_goes(log: Path, writer: BinaryIO) -> None:
    for generation in (b"first", b"second", b"third"):
        writer.write(generation.ljust(50, b"."))
        await rotate(log, max_bytes=20, backups=2)

    assert files(log) == ["general.log", "general.log.1", "general.log.2"]
    writer.write(b"x" * 50)
    await rotate(log, max_bytes=50, backups=2)
    assert text(log, 2) == b"." * 20


async def test_without_backups_a_large_log_is_emptied(log: Path, writer: BinaryIO) -> None:
    writer.write(b"x" * 200)

    assert await rotate(log, max_bytes=100, backups=0)

    assert files(log) == ["general.log"]
    assert text(log) == b""


async def test_of_a_log_that_has_grown_far_too_large_the_end_is_kept(log: Path, writer: BinaryIO) -> None:
    writer.write(b"a" * 5000 + b"the end".rjust(100))

    await rotate(log, max_bytes=100, backups=1)

    assert text(log, 1) == b"the end".rjust(100)


async def test_a_copy_that_fails_leaves_the_log_and_no_litter(log: Path, writer: BinaryIO) -> None:
    writer.write(b"x" * 200)
    log.with_name("general.log.1").mkdir()  # nothing can take its place
    (log.with_name("general.log.1") / "file").touch()

    with pytest.raises(OSError, match=r"general\.log\.1"):
        await rotate(log, max_bytes=100, backups=1)

    assert text(log) == b"x" * 200
    assert files(log) == ["general.log", "general.log.1"]


async def test_a_log_that_is_not_there_needs_no_rotation(log: Path) -> None:
    assert not await rotate(log, max_bytes=100, backups=1)


async def test_a_tail_reaches_back_into_the_newest_backup(log: Path, writer: BinaryIO) -> None:
    writer.write(b"before".rjust(200))
    await rotate(log, max_bytes=100, backups=1)

    writer.write(b" and after")

    assert tail(log, max_bytes=16) == b"before and after"


def test_a_tail_of_nothing_is_nothing(log: Path, writer: BinaryIO) -> None:
    writer.write(b"something")

    assert tail(log, max_bytes=0) == b""
