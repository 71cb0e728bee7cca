"""Which files of GPU drivers processes hold open, and which they may, where the kernel hides that from a daemon."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.probes.gpu_files import possible
from supervisor.probes.kernel import look
from tests.cannot import cannot
from tests.probes.families import Families
from tests.probes.test_kernel import write

NOBODY = 65534
RENDER = 104
OTHERS = 0o604


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user may look into."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def node(dev: Path, name: str, *, group: int = 0, mode: int = 0o660) -> None:
    path = dev / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(mode)
    if group:
        os.chown(path, -1, group)


def process(proc: Path, pid: int, *, user: int, groups: str = "") -> int:
    home = write(proc, pid)
    (home / "status").write_text(
        f"Name:\tx\nUid:\t{user}\t{user}\t{user}\t{user}\nGid:\t7\t7\t7\t7\nGroups:\t{groups}\n"
    )
    return pid


def as_nobody(work: Callable[[], object]) -> object:
    """Return what `work` returns when a user without any rights does it."""
    if os.geteuid() != 0:
        cannot("it takes root to become somebody else")
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writes, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    with os.fdopen(reads, "rb") as told:
        return json.loads(told.read())


def test_what_another_user_may_hold_open_and_hides_from_us_counts_as_held(open_path: Path) -> None:
    node(open_path, "kfd", mode=0o666)
    with Families() as families:
        pid, *_ = families.of_three()
        ours = look(pid, dev=open_path).gpu_files
        hidden = as_nobody(lambda: sorted(look(pid, dev=open_path).gpu_files))
        known_to_have_none = as_nobody(lambda: sorted(look(pid, may_have_gpu=False, dev=open_path).gpu_files))

    assert ours == frozenset()
    assert hidden == ["/dev/kfd"]
    assert known_to_have_none == []


def test_on_a_host_without_a_gpu_nothing_is_suspected_of_what_hides_its_files(open_path: Path) -> None:
    with Families() as families:
        pid, *_ = families.of_three()
        hidden = as_nobody(lambda: sorted(look(pid, dev=open_path).gpu_files))

    assert hidden == []


def test_what_has_ended_hides_nothing(open_path: Path) -> None:
    node(open_path, "kfd", mode=0o666)
    with Families() as families:
        pid = families.of_one_that_has_ended()
        hidden = as_nobody(lambda: sorted(look(pid, dev=open_path).gpu_files))

    assert hidden == []


@pytest.mark.parametrize(
    ("user", "groups", "mode", "may"),
    [
        pytest.param(0, "", 0o660, True, id="root"),
        pytest.param(1000, f"27 {RENDER}", 0o660, True, id="in its group"),
        pytest.param(1000, "27", 0o660, False, id="in other groups"),
        pytest.param(1000, "", OTHERS, True, id="everybody"),
    ],
)
def test_nobody_is_on_a_gpu_whose_file_he_may_not_open(
    tmp_path: Path, user: int, groups: str, mode: int, *, may: bool
) -> None:
    if os.geteuid() != 0:
        cannot("it takes root to give a file away")
    node(tmp_path / "dev", "dri/renderD128", group=RENDER, mode=mode)
    pid = process(tmp_path, 7, user=user, groups=groups)

    files = possible([pid], proc=tmp_path, dev=tmp_path / "dev", sysfs=tmp_path / "sys")

    assert files == ({"/dev/dri/renderD128"} if may else set())


def test_a_file_of_nvidias_beside_its_others_says_nothing_by_itself(tmp_path: Path) -> None:
    node(tmp_path / "dev", "dri/renderD128")
    node(tmp_path / "dev", "nvidia0")
    device = tmp_path / "sys/class/drm/renderD128/device"
    device.mkdir(parents=True)
    (device / "driver").symlink_to("../../bus/pci/drivers/nvidia")

    files = possible([process(tmp_path, 7, user=0)], proc=tmp_path, dev=tmp_path / "dev", sysfs=tmp_path / "sys")

    assert files == {"/dev/nvidia0"}


@pytest.mark.parametrize("is_on_it", [False, True])
def test_amds_driver_is_believed_about_who_is_on_it(tmp_path: Path, *, is_on_it: bool) -> None:
    node(tmp_path / "dev", "kfd")
    users = tmp_path / "sys/class/kfd/kfd/proc"
    users.mkdir(parents=True)
    if is_on_it:
        (users / "7").mkdir()

    files = possible([process(tmp_path, 7, user=0)], proc=tmp_path, dev=tmp_path / "dev", sysfs=tmp_path / "sys")

    assert files == ({"/dev/kfd"} if is_on_it else set())


def test_one_that_has_gone_may_have_held_anything(tmp_path: Path) -> None:
    node(tmp_path / "dev", "dxg")

    assert possible([7], proc=tmp_path, dev=tmp_path / "dev", sysfs=tmp_path / "sys") == {"/dev/dxg"}
