"""What the daemon's user may do, whoever asks; it takes root to show what another user may."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.doctor.account import READ, WRITE, Account, mine, of_daemon, of_name, of_process, of_uid, words_of
from testbed.clients import wait_until
from tests.cannot import cannot

NOBODY = 65534


def user(uid: int = NOBODY, *gids: int) -> Account:
    """Return a user with groups."""
    return Account(uid=uid, gids=frozenset(gids), name="somebody", whose="a test")


@pytest.mark.parametrize(
    ("mode", "groups", "expected"),
    [
        pytest.param(0o660, (), False, id="only-for-the-group"),
        pytest.param(0o660, (4321,), True, id="in-the-group"),
        pytest.param(0o606, (4321,), False, id="the-groups-word-holds-for-its-members"),
        pytest.param(0o604, (), False, id="may-only-read"),
        pytest.param(0o666, (), True, id="for-all"),
    ],
)
def test_the_file_systems_word_holds(tmp_path: Path, mode: int, groups: tuple[int, ...], expected: bool) -> None:
    if os.geteuid() != 0:
        cannot("only root can give files to others")
    path = reachable(tmp_path) / "socket"
    path.touch()
    os.chown(path, 0, 4321)
    path.chmod(mode)

    assert user(NOBODY, *groups).may(path, READ | WRITE) is expected


def test_a_file_in_a_folder_that_is_closed_cannot_be_read(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        cannot("only root can give files to others")
    folder = reachable(tmp_path) / "closed"
    folder.mkdir(mode=0o700)
    (folder / "file").touch(mode=0o666)

    assert user().may(folder / "file", READ) is False
    assert user(0).may(folder / "file", READ) is True


def test_what_is_not_there_is_no_answer(tmp_path: Path) -> None:
    assert user(0).may(tmp_path / "gone", READ) is None
    assert mine().may(tmp_path / "gone", READ) is None


def test_the_daemon_that_runs_is_asked_first_then_its_unit_then_who_asks() -> None:
    words = [sys.executable, "-c", "import time; time.sleep(60)", "supervisor.supervisord"]
    with subprocess.Popen(words) as process:
        try:
            wait_until(lambda: bool(words_of(process.pid)), "it has begun")
            by_process = of_daemon({"daemon": {"pid": process.pid}}, {"User": "nobody"})
        finally:
            process.kill()
    by_unit = of_daemon({"daemon": {"pid": None}}, {"User": "nobody", "SupplementaryGroups": "daemon"})
    by_default = of_daemon(None, {"User": "no-such-user-here"})

    assert (by_process.uid, by_process.whose) == (os.geteuid(), "the daemon runs as that")
    assert (by_unit.uid, by_unit.whose) == (NOBODY, "its unit says so")
    assert 1 in by_unit.gids
    assert by_default == mine()


def test_a_number_that_is_another_process_here_is_not_believed() -> None:
    assert of_daemon({"daemon": {"pid": os.getpid()}}, {"User": "nobody"}).uid == NOBODY


def test_a_process_that_is_gone_and_a_user_that_nobody_knows_are_nobody() -> None:
    assert of_process(2**22 + 1, whose="") is None
    assert of_name("no-such-user-here", whose="") is None
    assert of_uid(4321, whose="").name == "uid 4321"


def reachable(folder: Path) -> Path:
    """Open the way to a folder for all: pytest's are for their user alone."""
    for each in (folder, *folder.parents):
        if each.stat().st_uid == os.geteuid() and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o711)
    return folder
