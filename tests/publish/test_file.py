"""The liveness file: whole at any moment, current, and no reason to stop deciding when its disk fails."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time as real_time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from supervisor.client import Liveness
from supervisor.core.state import Phase
from supervisor.publish.board import Board
from supervisor.publish.file import PART, REFRESH_SHARE, LivenessFile, replace_file
from tests.publish.believing import VALID_FOR_S, Time, snapshot
from tests.publish.full_disk import until

HANG_S = 0.3


@asynccontextmanager
async def kept(path: Path, board: Board, *, clock: Callable[[], float]) -> AsyncIterator[LivenessFile]:
    """A liveness file that is kept up to date."""
    file = LivenessFile(path, board, clock=clock)
    running = asyncio.create_task(file.run())
    try:
        yield file
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        file.close()


@contextlib.contextmanager
def letting_go_of(pipe: Path) -> Iterator[None]:
    """Open a pipe for reading at the end, so that whoever waits for that may go."""
    try:
        yield
    finally:
        os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))


def test_a_reader_never_sees_half_a_document(tmp_path: Path) -> None:
    path = tmp_path / "liveness.json"
    bodies = [json.dumps({"of": letter, "body": letter * 200_000}).encode() for letter in "ab"]
    replace_file(path, bodies[0])
    over = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(400):
        replace_file(path, bodies[turn % 2])
    over.set()
    reader.join()

    assert seen == set(bodies)
    assert list(tmp_path.iterdir()) == [path]


async def test_every_revision_is_written_at_once_and_reads_as_the_board_says(tmp_path: Path) -> None:
    time, path = Time(), tmp_path / "liveness.json"
    board = time.board(snapshot())

    async with kept(path, board, clock=lambda: time.now) as file:
        await file.told(timeout_s=10)
        first = path.read_bytes()
        was_first = board.document.body
        board.put(snapshot(phase=Phase.SUSPECT))
        await file.told(timeout_s=10)

    assert first == was_first
    assert path.read_bytes() == board.document.body != first
    assert json.loads(path.read_bytes())["backends"][0]["routable"] is False


async def test_an_unchanged_document_is_written_again_before_it_runs_out_and_not_at_every_stamp(tmp_path: Path) -> None:
    time, path = Time(), tmp_path / "liveness.json"
    board = time.board(snapshot())
    written: list[float] = []

    async with kept(path, board, clock=lambda: time.now) as file:
        await file.told(timeout_s=10)
        for _ in range(12):
            before = path.stat().st_ino, path.stat().st_mtime_ns
            time.pass_s(1.0)
            board.put(snapshot(as_of=time.now))
            await _settled(file)
            if (path.stat().st_ino, path.stat().st_mtime_ns) != before:
                written.append(time.now - 100.0)

    assert written == [VALID_FOR_S * REFRESH_SHARE, 2 * VALID_FOR_S * REFRESH_SHARE]
    assert board.document.revision == 1


async def _settled(file: LivenessFile) -> None:
    """Let the file take note of a stamp, and its thread do what it was given."""
    for _ in range(5):
        await asyncio.sleep(0)
    await file._thread.do(lambda: None)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_routers_can_read_it_with_our_client(tmp_path: Path) -> None:
    path = tmp_path / "liveness.json"
    board = Board([snapshot("planner", models=("planner", "research"))], valid_for_s=VALID_FOR_S)

    async with kept(path, board, clock=real_time.monotonic) as file:
        await file.told(timeout_s=10)
        choice = Liveness(path).pick("research")

    assert choice.known
    assert [backend.name for backend in choice.candidates] == ["planner"]


async def test_a_missing_folder_is_a_problem_until_it_is_there(tmp_path: Path) -> None:
    time, path = Time(), tmp_path / "gone" / "liveness.json"
    board = time.board(snapshot())

    async with kept(path, board, clock=lambda: time.now) as file:
        await until(lambda: PART in board.problems)
        problem = board.problems[PART]
        path.parent.mkdir()
        board.put(snapshot(phase=Phase.SUSPECT))
        await file.told(timeout_s=10)
        await until(lambda: PART not in board.problems)

    assert problem == f"{path} cannot be written: No such file or directory"
    assert path.read_bytes() == board.document.body


async def test_a_disk_that_stays_bad_is_tried_now_and_then_and_not_in_a_loop(tmp_path: Path) -> None:
    time, path = Time(), tmp_path / "gone" / "liveness.json"
    board = time.board(snapshot())

    async with kept(path, board, clock=lambda: time.now) as file:
        await until(lambda: PART in board.problems)
        path.parent.mkdir()
        board.put(snapshot(as_of=time.now))
        await _settled(file)
        too_early = path.exists()
        time.pass_s(VALID_FOR_S * REFRESH_SHARE)
        board.put(snapshot(as_of=time.now))
        await until(path.exists)

    assert not too_early


def _on_a_disk_that_fills(folder: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    """Live through a full disk on 64 kB of our own, gone with the process; return that, and what the system says.

    Where nobody may mount, not even in a user namespace of their own, a limit on a file's size stands in for the disk.
    """
    script = [sys.executable, "-m", "tests.publish.full_disk"]
    mounting = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c"]
    mounting += ['mount -t tmpfs -o size=64k none "$0" && exec "$@"', str(folder)]
    can_mount = subprocess.run([*mounting, "true"], capture_output=True, check=False).returncode == 0
    command = [*mounting, *script, "disk"] if can_mount else [*script, "limit"]
    ran = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    return ran, "No space left on device" if can_mount else "File too large"


def test_a_full_disk_is_told_leaves_the_last_whole_document_and_heals(tmp_path: Path) -> None:
    ran, reason = _on_a_disk_that_fills(tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "problems": [f"{tmp_path / 'liveness.json'} cannot be written: {reason}"],
        "old file is whole": True,
        "left behind": [],
        "written again": True,
    }
    assert ran.stderr.count(reason) == 1


async def test_a_disk_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    pipe = tmp_path / ".liveness.json.new"
    os.mkfifo(pipe)  # opening it for writing waits for a reader
    board = Time().board(snapshot())

    with letting_go_of(pipe):
        async with kept(tmp_path / "liveness.json", board, clock=real_time.monotonic) as file:
            began = real_time.monotonic()
            await file.told(timeout_s=HANG_S)
            took_s = real_time.monotonic() - began

    assert HANG_S <= took_s < HANG_S + 2
    assert not (tmp_path / "liveness.json").is_file()


HANGING = """
import asyncio, sys
from pathlib import Path
from supervisor.publish.board import Board
from supervisor.publish.file import LivenessFile

async def main() -> None:
    file = LivenessFile(Path(sys.argv[1]), Board([], valid_for_s=15.0))
    running = asyncio.create_task(file.run())
    await file.told(timeout_s=0.1)
    running.cancel()
    file.close()

asyncio.run(main())
print("ended")
"""


def test_a_disk_that_hangs_does_not_keep_the_program_from_ending(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".liveness.json.new")
    command = [sys.executable, "-c", HANGING, str(tmp_path / "liveness.json")]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "ended\n", "")


async def test_a_disk_that_hangs_is_told_as_a_problem_and_the_writer_is_at_work_all_the_same(tmp_path: Path) -> None:
    path, pipe = tmp_path / "liveness.json", tmp_path / ".liveness.json.new"
    board = Board([snapshot("planner")], valid_for_s=3 * HANG_S)
    file = LivenessFile(path, board)
    os.mkfifo(pipe)  # whoever opens it waits for a reader
    running = asyncio.create_task(file.run())

    with letting_go_of(pipe):
        await until(lambda: PART in board.problems)
        problem = board.problems[PART]
        await asyncio.sleep(HANG_S)
        board.put(snapshot("planner", phase=Phase.SUSPECT))
        await until(lambda: file.idle_s < HANG_S)

    running.cancel()
    file.close()
    assert problem == f"{path} cannot be written: its disk does not answer"
