"""Which settings are looked at: those of the daemon that runs, else of its unit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.doctor.account import words_of
from supervisor.doctor.whose_settings import named_in, settings_of
from testbed.clients import wait_until

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)", "supervisor.supervisord"]
UNIT = "etc/systemd/system/benchai-supervisor.service"


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["--settings", "a.toml"], "{here}/a.toml"),
        (["--settings=/etc/b.toml"], "/etc/b.toml"),
        ([], "{here}/settings.toml"),
    ],
)
def test_those_that_the_daemon_was_started_with(tmp_path: Path, words: list[str], path: str) -> None:
    (tmp_path / "settings.toml").touch()
    with subprocess.Popen([*SLEEPS, *words], cwd=tmp_path) as process:
        try:
            wait_until(lambda: bool(words_of(process.pid)), "it has begun")
            found = settings_of({"daemon": {"pid": process.pid}})
        finally:
            process.kill()

    assert str(found) == path.format(here=tmp_path)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("/opt/bin/benchai-supervisord --settings /srv/s.toml", "/srv/s.toml"),
        ("/opt/bin/benchai-supervisord", "/etc/benchai-supervisor/settings.toml"),
    ],
)
def test_where_none_runs_those_that_its_unit_names(tmp_path: Path, command: str, path: str) -> None:
    (tmp_path / UNIT).parent.mkdir(parents=True)
    (tmp_path / UNIT).write_text(f"[Service]\nExecStart={command}\n")

    assert str(settings_of(None, root=tmp_path)) == path


def test_without_either_nobody_knows(tmp_path: Path) -> None:
    assert settings_of(None, root=tmp_path) is None
    assert settings_of({"daemon": {"pid": os.getpid()}}, root=tmp_path) is None
    assert named_in(["--settings"]) is None
