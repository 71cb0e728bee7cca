"""When systemd is told that we are ready, how everything is, and that we are alive: only while that is true."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.state import FIRST, Phase
from supervisor.herald import BEATS_OF_A_WATCHDOG, LEAVE_S, LOOKED_WITHIN_S, Herald
from supervisor.notify import Notifier
from supervisor.publish.board import Board
from supervisor.publish.file import LivenessFile
from tests.fakes.service_manager import ServiceManager
from tests.publish.believing import VALID_FOR_S, Time, snapshot
from tests.publish.full_disk import until

WATCHDOG_S = 0.2
UNSEEN: dict[str, Any] = {"phase": Phase.UNKNOWN, "judgement": FIRST}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with ServiceManager(tmp_path / "notify") as manager:
        yield manager


@asynccontextmanager
async def telling(board: Board, manager: ServiceManager, time: Time, *, writes: bool = True) -> AsyncIterator[Herald]:
    """A herald at work, beside a liveness file that is kept up to date (`writes`)."""
    file = LivenessFile(Path(manager.address).with_name("liveness.json"), board, clock=lambda: time.now)
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}"}
    herald = Herald(board, file, notifier=Notifier(environment), clock=lambda: time.now)
    works = [herald.run(), *([file.run()] if writes else [])]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield herald
        for task in tasks:
            task.cancel()
    file.close()


async def test_the_start_is_done_once_every_target_was_looked_at(manager: ServiceManager) -> None:
    time = Time()
    board = time.board(snapshot("general"), snapshot("code", **UNSEEN))

    async with telling(board, manager, time):
        await until(lambda: manager.status == "1/2 ready; code: unknown")
        too_early = "READY=1" in manager.listen()
        board.put(snapshot("code"))
        await until(lambda: "READY=1" in manager.listen())
        line = manager.status

    assert not too_early
    assert line == "2/2 ready"


async def test_a_target_that_cannot_be_looked_at_does_not_hold_up_the_boot(manager: ServiceManager) -> None:
    time = Time()
    board = time.board(snapshot("general"), snapshot("code", **UNSEEN))

    async with telling(board, manager, time):
        await until(lambda: manager.status != "")
        too_early = "READY=1" in manager.listen()
        time.pass_s(LOOKED_WITHIN_S)
        board.put(snapshot("general", as_of=time.now))
        await until(lambda: "READY=1" in manager.listen())

    assert not too_early
    assert manager.listen().count("READY=1") == 1


async def test_a_change_is_told_at_once_and_what_has_not_changed_is_not_told_again(manager: ServiceManager) -> None:
    time = Time()
    board = time.board(snapshot("general"), mode="observe")

    async with telling(board, manager, time):
        await until(lambda: manager.status == "1/1 ready; only observing")
        for _ in range(5):
            board.put(snapshot("general", as_of=time.now))
            await asyncio.sleep(0)
        board.put(snapshot("general", phase=Phase.SUSPECT))
        await until(lambda: "suspect" in manager.status)
        board.problems["history"] = "begun anew"
        board.put(snapshot("general"))
        await until(lambda: "history" in manager.status)

    assert [each for each in manager.listen() if each.startswith("STATUS=")] == [
        "STATUS=1/1 ready; only observing",
        "STATUS=0/1 ready; general: suspect; only observing",
        "STATUS=1/1 ready; only observing; history: begun anew",
    ]


async def test_the_watchdog_is_fed_while_every_keeper_takes_its_turns_and_not_while_one_stands_still(
    manager: ServiceManager,
) -> None:
    time = Time()
    board = time.board(snapshot("general"), snapshot("code"))

    async with telling(board, manager, time):
        await until(lambda: "WATCHDOG=1" in manager.listen())
        time.pass_s(VALID_FOR_S + 1)
        board.put(snapshot("general", as_of=time.now))  # its own keeper is at work, that of code is not
        await _beats(board, time)
        manager.listen().clear()
        await _beats(board, time)
        while_one_stands_still = list(manager.listen())
        board.put(snapshot("code", as_of=time.now))
        board.put(snapshot("general", as_of=time.now))
        await _beats(board, time)
        afterwards = list(manager.listen())

    assert "WATCHDOG=1" in afterwards
    assert "WATCHDOG=1" not in while_one_stands_still


async def test_the_watchdog_is_not_fed_while_nobody_writes_the_liveness_file(manager: ServiceManager) -> None:
    time = Time()
    board = time.board(snapshot("general"))

    async with telling(board, manager, time, writes=False):
        await until(lambda: "WATCHDOG=1" in manager.listen())
        time.pass_s(VALID_FOR_S + 1)
        board.put(snapshot("general", as_of=time.now))
        await _beats(board, time)
        manager.listen().clear()
        await _beats(board, time)

    assert "WATCHDOG=1" not in manager.listen()


async def test_a_disk_that_refuses_the_liveness_file_is_told_and_is_no_illness_of_ours(manager: ServiceManager) -> None:
    time = Time()
    board = time.board(snapshot("general"))
    Path(manager.address).with_name("liveness.json").mkdir()  # nothing can be renamed over it

    async with telling(board, manager, time):
        await until(lambda: "liveness file" in manager.status)
        for _ in range(4):
            time.pass_s(VALID_FOR_S / 2)
            board.put(snapshot("general", as_of=time.now))
            await _beats(board, time)
        manager.listen().clear()
        await _beats(board, time)

    assert "WATCHDOG=1" in manager.listen()


async def test_a_reload_begins_with_reloading_and_ends_with_ready_whatever_comes_of_it(manager: ServiceManager) -> None:
    time = Time()

    async with telling(time.board(snapshot()), manager, time) as herald:
        await until(lambda: "READY=1" in manager.listen())
        manager.listen().clear()
        with pytest.raises(RuntimeError, match="a bad file"), herald.reloading():
            raise RuntimeError("a bad file")
        began, ended = [each for each in manager.listen() if "WATCHDOG" not in each]

    assert began.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ended == "READY=1"


async def test_a_reload_before_all_were_looked_at_does_not_end_the_start(manager: ServiceManager) -> None:
    time = Time()
    board = time.board(snapshot("general", **UNSEEN))

    async with telling(board, manager, time) as herald:
        await until(lambda: manager.status == "0/1 ready; general: unknown")
        with herald.reloading():
            pass
        told = [each for each in manager.listen() if each.startswith(("RELOADING", "READY"))]
        board.put(snapshot("general"))
        await until(lambda: "READY=1" in manager.listen())

    assert told == []


async def test_whoever_leaves_says_so_and_asks_for_the_time_that_engine_calls_may_take(manager: ServiceManager) -> None:
    time = Time()
    file = LivenessFile(Path("/nowhere"), time.board(snapshot()))
    herald = Herald(time.board(snapshot()), file, notifier=Notifier({"NOTIFY_SOCKET": manager.address}))

    herald.leave(within_s=60.0)

    assert manager.listen() == [
        "STOPPING=1",
        "STATUS=ending; targets run on",
        f"EXTEND_TIMEOUT_USEC={60 + LEAVE_S:.0f}000000",
    ]


async def _beats(board: Board, time: Time) -> None:
    """Let several beats of the watchdog pass, and everybody who is awake do something."""
    for _ in range(8):
        time.pass_s(WATCHDOG_S / 2)
        board.feed.wake()
        await asyncio.sleep(0.02)


async def test_where_nothing_is_watched_yet_the_watchdog_is_put_off_all_the_same(manager: ServiceManager) -> None:
    short_s = 0.3
    board = Board((), valid_for_s=short_s, mode="enforce")
    file = LivenessFile(Path(manager.address).with_name("liveness.json"), board)
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}"}
    enough = int(4 * short_s / (WATCHDOG_S / BEATS_OF_A_WATCHDOG))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(work) for work in (Herald(board, file, notifier=Notifier(environment)).run(), file.run())
        ]
        await until(lambda: manager.listen().count("WATCHDOG=1") >= enough)
        for task in tasks:
            task.cancel()
    file.close()

    assert manager.status == "0/0 ready"
