"""Another daemon over the same targets, one that does not answer, and what a daemon says of itself: real ones."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.doctor.account import PROC
from supervisor.doctor.around import Around
from supervisor.doctor.checks.daemons import _numbers, look
from supervisor.settings_file import load
from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.supervisord import Supervisord, toml
from tests.cannot import cannot
from tests.doctor.patient import around, found, words

COMMAND = ["/bin/sleep", "600"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Supervisord]:
    """A daemon that runs, over a process that is no server."""
    (tmp_path / "theirs").mkdir()
    with Supervisord(tmp_path / "theirs") as daemon:
        daemon.write_settings(
            f'[process]\nstop_on_exit = true\n[[backends]]\nname = "general"\nurl = "http://{LOOPBACK}:{free_port()}"\n'
            f'engine = "process"\ncommand = {toml(COMMAND)}\nmodels = ["general"]\n'
        )
        daemon.start()
        daemon.wait_answers()
        yield daemon


def patient(path: Path, asked: Supervisord | None = None, **changes: object) -> Around:
    """Return what is around a daemon, as it tells itself where one is asked."""
    status = None if asked is None else {**asked.status(), **changes}
    return Around(settings=load(path), path=path, status=status, silence="nobody listens")


def mine(seen: list[str], name: str = "") -> list[str]:
    """Return what was said that is about this test: others' daemons may run on this machine."""
    return [each for each in seen if "not seen" not in each and name in each]


def test_our_own_daemon_is_no_stranger(daemon: Supervisord) -> None:
    assert mine(words(found(look, patient(daemon.settings_file, daemon)))) == []


def test_another_over_the_same_targets_is_told_by_its_process(daemon: Supervisord, tmp_path: Path) -> None:
    ours = tmp_path / "ours.toml"
    ours.write_text(daemon.settings_file.read_text().replace(str(daemon.folder), str(tmp_path / "ours")))

    told = mine(words(found(look, patient(ours))), f"pid {daemon.pid}")

    assert told == [f"error general: another daemon (pid {daemon.pid}) looks after general too"]


def test_another_over_others_is_nobodys_business(daemon: Supervisord, tmp_path: Path) -> None:
    ours = tmp_path / "ours.toml"
    text = daemon.settings_file.read_text().replace(str(daemon.folder), str(tmp_path / "ours"))
    ours.write_text(text.replace('name = "general"', 'name = "code"'))

    assert mine(words(found(look, patient(ours))), f"pid {daemon.pid}") == []


def test_one_that_holds_the_lock_and_does_not_answer_is_told(daemon: Supervisord) -> None:
    told = mine(words(found(look, patient(daemon.settings_file))), f"pid {daemon.pid}")

    state = daemon.folder / "state/lock"
    assert told == [f"error -: a daemon (pid {daemon.pid}) holds {state} and does not answer at {daemon.socket}"]


def test_a_process_in_a_container_is_known_by_its_number_there_too() -> None:
    if os.geteuid() != 0:
        cannot("only root can make a namespace")
    with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "/bin/sleep", "60"]) as outer:
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            wait_until(lambda: bool(children.read_text().split()), "the inner process runs")
            inner = int(children.read_text().split()[0])

            assert (inner, 1) == (_numbers(PROC, inner)[0], _numbers(PROC, inner)[-1])
        finally:
            outer.kill()


def test_one_that_has_run_and_runs_no_more_is_in_the_way(daemon: Supervisord) -> None:
    daemon.stop()

    (told,) = mine(words(found(look, patient(daemon.settings_file))))

    assert told == "warning -: the daemon does not run (no daemon was asked: nobody listens)"


def test_one_that_has_never_run_is_only_mentioned(tmp_path: Path) -> None:
    (told,) = mine(words(found(look, around(tmp_path))))

    assert told.startswith("note -: no daemon was asked")


def test_what_ails_the_daemon_itself_is_passed_on(daemon: Supervisord) -> None:
    ill = patient(daemon.settings_file, daemon, daemon={"pid": daemon.pid, "problems": ["history: the disk is full"]})
    late = patient(daemon.settings_file, daemon, expires_at="2026-01-01T00:00:00.000Z")

    assert mine(words(found(look, ill))) == ["warning -: history: the disk is full"]
    assert mine(words(found(look, late)))[0].startswith("error -: the daemon answers and has not decided anything")
