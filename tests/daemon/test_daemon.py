"""The program itself: how it starts, how it ends, and what it must not forget. Its targets are ordinary commands."""

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor import supervisord
from supervisor.errors import StartupError
from testbed.clients import LOOPBACK, free_port, wait_until
from testbed.process_servers import server_command
from testbed.supervisord import Supervisord, toml

# Says nothing and obeys no SIGTERM, so that a restart of it takes as long as its grace.
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
GRACE_S = 3.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Supervisord]:
    """A daemon that has not been started; the processes it leaves behind are ended."""
    with Supervisord(tmp_path) as daemon:
        yield daemon
    for record in (tmp_path / "state" / "process").glob("*.json"):
        pid = json.loads(record.read_text())["pid"]
        if psutil.pid_exists(pid) and str(psutil.Process(pid).environ().get("TEST_OWNER")) == str(tmp_path):
            os.killpg(pid, signal.SIGKILL)


def serving(daemon: Supervisord, model: Path) -> str:
    """Return settings for one real model server, run by the daemon."""
    port = free_port()
    return target(daemon, server_command(model, port, "-np", "1"), port=port)


def stubborn(daemon: Supervisord) -> str:
    """Return settings for a target that cannot be ended gently."""
    return target(daemon, [sys.executable, "-c", STUBBORN], port=free_port(), policy=f"stop_grace_s = {GRACE_S}\n")


def target(daemon: Supervisord, command: list[str], *, port: int, policy: str = "") -> str:
    return (
        f'[policy]\n{policy}[[backends]]\nname = "general"\nurl = "http://{LOOPBACK}:{port}"\n'
        f'models = ["general"]\nengine = "process"\ncommand = {toml(command)}\n'
        f"environment = {{ TEST_OWNER = {toml(daemon.folder)} }}\n"
    )


def test_sigterm_ends_it_and_its_targets_run_on_to_be_taken_over(daemon: Supervisord, model: Path) -> None:
    daemon.write_settings(serving(daemon, model))
    daemon.start()
    daemon.wait_answers()
    before = daemon.wait_target("general", verdict="ready")

    daemon.signal(signal.SIGTERM)
    ended = daemon.wait_end()
    survived = psutil.pid_exists(before["pid"])
    daemon.start()
    daemon.wait_answers()
    after = daemon.wait_target("general", verdict="ready")

    assert (ended, survived) == (0, True)
    assert (after["pid"], after["instance"]) == (before["pid"], before["instance"])
    assert not daemon.socket.exists() or daemon.ctl("status").returncode == 0


def test_a_second_daemon_on_the_same_state_says_who_is_there_and_does_not_start(
    daemon: Supervisord, tmp_path: Path
) -> None:
    daemon.write_settings(stubborn(daemon))
    daemon.start()
    daemon.wait_answers()
    (tmp_path / "second").mkdir()
    with Supervisord(tmp_path / "second") as second:
        second.write_settings(stubborn(daemon), state_dir=daemon.folder / "state")
        second.start()

        assert second.wait_end() == 1
        assert f"another benchai-supervisord (pid {daemon.pid})" in second.log()
    assert daemon.get("/livez").status_code == 200


def test_a_taken_port_stops_the_start_and_is_named(daemon: Supervisord, tmp_path: Path) -> None:
    daemon.write_settings(stubborn(daemon))
    daemon.start()
    daemon.wait_answers()
    (tmp_path / "second").mkdir()
    with Supervisord(tmp_path / "second", port=daemon.port) as second:
        second.write_settings(stubborn(daemon))
        second.start()

        assert second.wait_end() == 1
        assert f"cannot listen on 127.0.0.1:{daemon.port}" in second.log()


@pytest.mark.parametrize(
    ("number", "cure"), [(errno.EACCES, "make it or choose another"), (errno.EROFS, "ReadWritePaths=")]
)
def test_a_directory_that_cannot_be_used_is_named_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cure: str
) -> None:
    """No file system is read-only to root, who runs the tests; to our unit most of it is."""
    place = tmp_path / "state"

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)

    with pytest.raises(StartupError, match=f"cannot use {place} .*{cure}"), supervisord._alone(place):
        pytest.fail("it is not used")


def test_a_missing_settings_file_is_named_with_what_to_do(daemon: Supervisord) -> None:
    daemon.start()

    assert daemon.wait_end() == 2
    assert f"{daemon.settings_file}: no such file; copy" in daemon.log()


def test_sigterm_in_the_middle_of_a_restart_waits_for_its_end(daemon: Supervisord) -> None:
    daemon.write_settings(stubborn(daemon))
    daemon.start()
    daemon.wait_answers()
    before = daemon.wait_target("general", state="STARTING", phase="starting")
    daemon.ctl("restart", "--wait", "0", "general")
    daemon.wait_target("general", phase="restarting")

    daemon.signal(signal.SIGTERM)

    assert daemon.wait_end() == 0
    assert "general: restart took" in daemon.log()
    assert not psutil.pid_exists(before["pid"])
    assert psutil.pid_exists(_record(daemon)["pid"])


def test_a_daemon_killed_in_the_middle_of_a_restart_is_followed_by_one_that_finishes_the_job(
    daemon: Supervisord, model: Path
) -> None:
    daemon.write_settings(stubborn(daemon))
    daemon.start()
    daemon.wait_answers()
    daemon.wait_target("general", phase="starting")
    daemon.ctl("restart", "--wait", "0", "general")
    daemon.wait_target("general", phase="restarting")
    daemon.kill()
    daemon.write_settings(serving(daemon, model))

    os.killpg(_record(daemon)["pid"], signal.SIGKILL)  # the stop had reached it, the start was still to come
    daemon.start()
    daemon.wait_answers()

    assert daemon.wait_target("general", verdict="ready")["routable"]
    assert "died in the midst of an act" in daemon.log()


def test_what_an_operator_stopped_stays_stopped_over_a_restart_of_ours(daemon: Supervisord, model: Path) -> None:
    daemon.write_settings(serving(daemon, model))
    daemon.start()
    daemon.wait_answers()
    daemon.wait_target("general", verdict="ready")

    stopped = daemon.ctl("stop", "general")
    daemon.kill()
    daemon.start()
    daemon.wait_answers()
    wait_until(lambda: daemon.get("/readyz").is_success or daemon.target("general")["state"] != "UNKNOWN", "a verdict")

    assert stopped.stdout == "general: stopped\n"
    assert daemon.target("general")["state"] == "STOPPED"
    assert daemon.ctl("start", "general").stdout == "general: started\n"
    daemon.wait_target("general", verdict="ready")


def test_the_file_and_http_say_the_same(daemon: Supervisord, model: Path) -> None:
    daemon.write_settings(serving(daemon, model))
    daemon.start()
    daemon.wait_answers()
    daemon.wait_target("general", verdict="ready")

    def told_alike() -> bool:
        told = [json.loads(daemon.liveness_file.read_bytes()), daemon.liveness()]
        return bool(told[0]["backends"] == told[1]["backends"] and told[0]["revision"] == told[1]["revision"])

    wait_until(told_alike, "file and HTTP agree")
    assert daemon.get("/v1/backends/general").status_code == 200


def test_a_command_that_is_not_there_is_named_and_run_once_it_is_there(daemon: Supervisord, model: Path) -> None:
    port = free_port()
    program = daemon.folder / "llama-server"
    daemon.write_settings(target(daemon, [str(program), *server_command(model, port, "-np", "1")[1:]], port=port))
    daemon.start()
    daemon.wait_answers()

    told = daemon.wait_target("general", state="FATAL", cause="bad command or flag")
    ready = program.with_suffix(".part")
    ready.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    ready.chmod(0o755)
    ready.rename(program)
    back = daemon.wait_target("general", verdict="ready", within_s=60.0)

    assert str(program) in told["summary"]
    assert not told["routable"]
    assert back["routable"]


def _record(daemon: Supervisord) -> dict[str, int]:
    return dict(json.loads((daemon.folder / "state" / "process" / "general.json").read_text()))
