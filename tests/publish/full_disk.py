"""What becomes of the liveness file on a disk that fills up. Run as a module on a tiny disk; prints what it saw."""

import asyncio
import contextlib
import json
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from supervisor.core.state import Phase
from supervisor.publish.board import Board
from supervisor.publish.file import LivenessFile
from tests.publish.believing import VALID_FOR_S, snapshot

JUNK = "junk"


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a disk tells nobody
            await asyncio.sleep(0.005)


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Fill the disk to its last byte, and make room again."""
    junk = folder / JUNK
    with contextlib.suppress(OSError), junk.open("wb", buffering=0) as file:
        for size in (65536, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    yield
    junk.unlink()


@contextlib.contextmanager
def size_limit(_: Path) -> Iterator[None]:
    """Let no file grow beyond a few bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(each.name for each in folder.iterdir())


async def tell(folder: Path, fault: Callable[[Path], contextlib.AbstractContextManager[None]]) -> dict[str, Any]:
    """Live through a full disk and its end."""
    path = folder / "liveness.json"
    board = Board([snapshot()], valid_for_s=VALID_FOR_S)
    file = LivenessFile(path, board)
    running = asyncio.create_task(file.run())
    await file.told(timeout_s=10)
    before = path.read_bytes()

    with fault(folder):
        board.put(snapshot(phase=Phase.SUSPECT))
        await until(lambda: bool(board.problems))
        await file.told(timeout_s=10)
        seen: dict[str, Any] = {"problems": list(board.problems.values())}
        seen["old file is whole"] = path.read_bytes() == before
        seen["left behind"] = [name for name in names(folder) if name not in (path.name, JUNK)]

    board.put(snapshot(phase=Phase.BACKOFF))
    await until(lambda: not board.problems)
    seen["written again"] = path.read_bytes() == board.document.body
    running.cancel()
    file.close()
    return seen


if __name__ == "__main__":
    kind, where = sys.argv[1:]
    fault = full_disk if kind == "disk" else size_limit
    sys.stdout.write(json.dumps(asyncio.run(tell(Path(where), fault))))
