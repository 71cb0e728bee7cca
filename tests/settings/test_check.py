"""`benchai-supervisord --check`."""

import os
import subprocess
import sys
from pathlib import Path

from tests.settings.texts import BACKEND, OURS, REPOSITORY


def check(settings: Path, *, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "supervisor.supervisord", "--check", "--settings", str(settings)]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def test_check_says_that_good_settings_are_good_and_starts_nothing(tmp_path: Path, file: Path) -> None:
    state, run = tmp_path / "state", tmp_path / "run"
    file.write_text(
        f"[daemon]\nstate_dir = '{state}'\nliveness_file = '{run}/l.json'\n[http]\nsocket = '{run}/c.sock'\n{BACKEND}"
    )

    checked = check(file)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == f"{file}: good; backends: 1, routers: 0\n"
    assert list(tmp_path.iterdir()) == [file]


def test_check_says_each_thing_that_is_wrong_on_a_line_of_its_own(file: Path) -> None:
    file.write_text(f"[http]\nport = -1\n{BACKEND}")

    checked = check(file, env={"BENCHAI_SUPERVISOR_HTTP__PROT": "1"})

    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr.splitlines() == [
        f"{file}: http.port = -1: must be at least 0",
        'environment: BENCHAI_SUPERVISOR_HTTP__PROT = "1": is not a key we know; did you mean port?',
    ]


def test_check_of_a_missing_file_fails(file: Path) -> None:
    checked = check(file)

    assert checked.returncode == 2
    assert checked.stderr.startswith(f"{file}: no such file")


def test_ours_passes_the_check() -> None:
    checked = check(OURS)

    assert (checked.returncode, checked.stdout) == (0, f"{OURS}: good; backends: 4, routers: 1\n")
