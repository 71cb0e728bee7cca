"""Ansible's own `supervisorctl` module, run by Ansible on a real daemon: its parser reads our lines.

The tests go through one life of two targets, each from where it finds them.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.ansible import ensure_ansible, run_module
from testbed.debian import NotToBeHad
from testbed.supervisord import Supervisord
from tests.cannot import cannot
from tests.cli.at_work import at_work

pytestmark = pytest.mark.slow
Play = Callable[..., tuple[bool, dict[str, Any]]]

CTL = Path(sys.prefix, "bin", "benchai-supervisorctl")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Supervisord]:
    """A daemon that runs one server, as those of Ansible's tasks that name it find it."""
    try:
        ensure_ansible()
    except NotToBeHad as missing:
        cannot(str(missing))
    with at_work(tmp_path_factory.mktemp("daemon"), model, "general") as daemon:
        yield daemon


@pytest.fixture
def play(daemon: Supervisord, tmp_path: Path) -> Play:
    """Have Ansible bring a target into a state; return whether it went well, and what it says."""

    def run(name: str, state: str, **more: object) -> tuple[bool, dict[str, Any]]:
        where = {"supervisorctl_path": str(CTL), "server_url": f"unix://{daemon.socket}"}
        return run_module("supervisorctl", {"name": name, "state": state, **where, **more}, folder=tmp_path)

    return run


def test_what_is_there_already_is_left_as_it_is(play: Play, daemon: Supervisord) -> None:
    before = daemon.wait_target("general", state="RUNNING")

    well, told = play("general", "present")

    assert (well, told["changed"]) == (True, False), told
    assert daemon.target("general")["pid"] == before["pid"]


@pytest.mark.parametrize(("state", "becomes"), [("stopped", "STOPPED"), ("started", "RUNNING")])
def test_a_target_is_stopped_and_started_and_a_second_time_nothing_is_to_be_done(
    play: Play, daemon: Supervisord, state: str, becomes: str
) -> None:
    daemon.ctl("start" if state == "stopped" else "stop", "general")

    first, second = play("general", state), play("general", state)

    assert [well and told["changed"] for well, told in (first, second)] == [True, False], (first, second)
    assert first[1]["affected"] == ["general"]
    assert daemon.target("general")["state"] == becomes


def test_all_that_there_are_are_restarted(play: Play, daemon: Supervisord) -> None:
    daemon.ctl("start", "general")
    before = daemon.wait_target("general", verdict="ready")["pid"]

    well, told = play("all", "restarted")

    assert (well, told["affected"]) == (True, ["general"]), told
    assert daemon.wait_target("general", verdict="ready")["pid"] != before


def test_a_target_is_sent_a_signal(play: Play, daemon: Supervisord) -> None:
    daemon.ctl("start", "general")
    daemon.wait_target("general", state="RUNNING")

    well, told = play("general", "signalled", signal="CONT")

    assert (well, told["affected"]) == (True, ["general"]), told


def test_a_target_that_nobody_knows_is_a_failure_that_says_so(play: Play) -> None:
    well, told = play("nobody", "started")

    assert not well
    assert told["msg"] == "ERROR (no such process)"


def test_a_target_that_is_new_in_the_settings_is_added_and_one_that_left_them_is_removed(
    play: Play, daemon: Supervisord
) -> None:
    settings = daemon.settings_file.read_text()
    daemon.settings_file.write_text(
        f'{settings}[[backends]]\nname = "other"\nurl = "http://127.0.0.1:9"\nmodels = ["other"]\nengine = "none"\n'
    )
    added, again = play("other", "present"), play("other", "present")
    known = [target["name"] for target in daemon.status()["targets"]]
    daemon.settings_file.write_text(settings)
    removed = play("other", "absent")

    assert [well and told["changed"] for well, told in (added, again, removed)] == [True, False, True], (added, removed)
    assert known == ["general", "other"]
    assert [target["name"] for target in daemon.status()["targets"]] == ["general"]
