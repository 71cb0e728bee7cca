"""What /proc tells of real families, and of made-up ones where a real one cannot be had."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.probes.kernel import PROC, Family, look
from testbed.clients import wait_until
from tests.probes.families import Families

NOBODY = 2**22 + 1  # above the highest number that the kernel gives


@pytest.fixture
def families() -> Iterator[Families]:
    with Families() as families:
        yield families


def write(proc: Path, pid: int, *, state: str = "S", children: str = "", name: str = "server") -> Path:
    """Make up a process of one thread."""
    task = proc / str(pid) / "task" / str(pid)
    task.mkdir(parents=True)
    (task / "stat").write_text(f"{pid} ({name}) {state} 1 {pid} {pid} 0 -1 4194304")
    (task / "children").write_text(children)
    (proc / "thread-self").mkdir(exist_ok=True)
    (proc / "thread-self" / "children").touch()
    return proc / str(pid)


def test_a_family_is_a_process_with_its_children_and_theirs(families: Families) -> None:
    pid, child, grandchild = families.of_three()

    assert look(pid) == Family(pids=frozenset({pid, child, grandchild}))
    assert look(child) == Family(pids=frozenset({child, grandchild}))


def test_an_old_kernel_is_asked_for_parents_instead(families: Families, tmp_path: Path) -> None:
    pids = families.of_three()
    for each in pids:
        (tmp_path / str(each)).symlink_to(PROC / str(each))

    assert look(pids[0], proc=tmp_path) == look(pids[0]) == Family(pids=frozenset(pids))


def test_a_thread_in_uninterruptible_sleep_is_seen_among_those_that_wait_as_they_should(families: Families) -> None:
    pid = families.with_a_thread_that_no_signal_reaches()

    wait_until(lambda: look(pid).waits_for_disk, "a thread is in uninterruptible sleep")

    assert pid in look(pid).pids


def test_a_parent_of_one_that_waits_for_a_disk_waits_with_it(tmp_path: Path) -> None:
    write(tmp_path, 7, children="8 ")
    write(tmp_path, 8, state="D")

    assert look(7, proc=tmp_path) == Family(pids=frozenset({7, 8}), waits_for_disk=True)


@pytest.mark.parametrize("state", ["R", "S", "T", "t", "Z", "I", "X"])
def test_no_other_state_is_a_wait_for_a_disk(tmp_path: Path, state: str) -> None:
    write(tmp_path, 7, state=state)

    assert not look(7, proc=tmp_path).waits_for_disk


def test_a_process_may_call_itself_what_it_likes(tmp_path: Path) -> None:
    write(tmp_path, 7, name="a) D (b")

    assert look(7, proc=tmp_path) == Family(pids=frozenset({7}))


def test_a_process_that_is_gone_has_no_family() -> None:
    assert look(NOBODY) == Family()


def test_a_process_that_has_ended_and_is_not_buried_waits_for_nothing(families: Families) -> None:
    pid = families.of_one_that_has_ended()

    assert not look(pid).waits_for_disk


def test_a_child_that_ends_while_we_look_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, 7, children="8 9 ")
    write(tmp_path, 9)

    assert look(7, proc=tmp_path) == Family(pids=frozenset({7, 9}))


def test_numbers_that_were_given_away_meanwhile_make_no_endless_round(tmp_path: Path) -> None:
    write(tmp_path, 7, children="8 ")
    write(tmp_path, 8, children="7 8 ")

    assert look(7, proc=tmp_path) == Family(pids=frozenset({7, 8}))


def test_more_children_than_are_read_make_no_number_that_was_cut_off(tmp_path: Path) -> None:
    children = [10_000 + each for each in range(2000)]
    write(tmp_path, 7, children="".join(f"{each} " for each in children))
    for each in (*children[:10], 1, 10, 100, 1000):
        write(tmp_path, each)

    assert look(7, proc=tmp_path).pids == {7, *children[:10]}


@pytest.mark.parametrize(
    ("target", "is_gpu"),
    [
        ("/dev/nvidia0", True),
        ("/dev/nvidia-uvm", True),
        ("/dev/dxg", True),
        ("/dev/kfd", True),
        ("/dev/dri/renderD128", True),
        ("/dev/dri/card0", False),
        ("/dev/null", False),
        ("socket:[4121]", False),
        ("/models/dev/nvidia0", False),
    ],
)
def test_the_files_of_gpu_drivers_are_told_from_others(tmp_path: Path, target: str, is_gpu: bool) -> None:
    files = write(tmp_path, 7) / "fd"
    files.mkdir()
    (files / "3").symlink_to(target)

    assert look(7, proc=tmp_path).gpu_files == ({target} if is_gpu else set())
