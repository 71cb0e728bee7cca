"""What the kernel tells of real processes, and of made-up ones where a real one cannot be had."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.engines.waits import MOST_PROCESSES, MOST_THREADS, belongs, processes, waits
from testbed.clients import wait_until

NOBODY = 2**22 + 1  # above the highest number that the kernel gives
SLEEPS = """
import threading, time
for _ in range(3):
    threading.Thread(target=threading.Event().wait).start()
time.sleep(3600)
"""


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process of four threads, none of which does anything."""
    with subprocess.Popen([sys.executable, "-c", SLEEPS]) as process:
        wait_until(lambda: psutil.Process(process.pid).num_threads() == 4, "it has four threads")
        yield process.pid
        process.kill()


def write(proc: Path, pid: int, *, threads: int = 1, name: str = "server") -> None:
    """Make up a process whose threads all wait for a disk."""
    for tid in range(pid, pid + threads):
        task = proc / str(pid) / "task" / str(tid)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{tid} ({name}) D 1")
        (task / "wchan").write_text("folio_wait_bit_common")
    numbers = " ".join(str(number) for number in range(4, 53))  # each is its own place
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) D {numbers}")


def test_a_process_is_told_with_what_it_burned_holds_and_waits_for(sleeper: int) -> None:
    wait_until(lambda: waits([sleeper])[sleeper]["threads"].keys() != {"R"}, "its threads wait")

    (told,) = processes([sleeper])

    real = psutil.Process(sleeper)
    assert told["pid"] == sleeper
    assert told["name"].startswith("python")
    assert told["state"] == "S"
    assert told["cpu_s"] == pytest.approx(sum(real.cpu_times()[:2]), abs=0.05)
    assert told["memory_bytes"] == pytest.approx(real.memory_info().rss, rel=0.2)
    assert told["waits_in"]
    assert sum(told["threads"].values()) == 4
    assert json.loads(json.dumps(told)) == told


def test_a_process_that_is_gone_is_left_out() -> None:
    assert processes([NOBODY]) == []
    assert waits([NOBODY]) == {}


def test_a_thread_that_waits_for_a_disk_is_told_with_the_place(tmp_path: Path) -> None:
    write(tmp_path, 7, threads=3)

    assert waits([7], proc=tmp_path) == {
        7: {"waits_in": "folio_wait_bit_common", "threads": {"D folio_wait_bit_common": 3}}
    }


def test_the_numbers_stand_where_the_kernel_puts_them_whatever_the_name_holds(tmp_path: Path) -> None:
    write(tmp_path, 7, name="a) S (b")

    (told,) = processes([7], proc=tmp_path)

    ticks_per_s, page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert (told["name"], told["state"]) == ("a) S (b", "D")
    assert (told["cpu_s"], told["memory_bytes"]) == ((14 + 15) / ticks_per_s, 24 * page_bytes)


def test_a_server_gone_wild_is_not_looked_at_whole(tmp_path: Path) -> None:
    for pid in range(1, 200):
        write(tmp_path, pid, threads=2)
    write(tmp_path, 1000, threads=500)

    many, one = waits(range(1, 200), proc=tmp_path), waits([1000], proc=tmp_path)

    assert len(many) == MOST_PROCESSES
    assert sum(sum(each["threads"].values()) for each in many.values()) == MOST_THREADS
    assert one[1000]["threads"] == {"D folio_wait_bit_common": MOST_THREADS}


def test_a_process_is_a_containers_only_if_its_control_group_says_so(tmp_path: Path) -> None:
    write(tmp_path, 7)
    (tmp_path / "7" / "cgroup").write_text("0::/system.slice/docker-4f1e.scope\n")

    assert belongs(7, "4f1e", proc=tmp_path)
    assert not belongs(7, "beef", proc=tmp_path)
    assert not belongs(8, "4f1e", proc=tmp_path)
