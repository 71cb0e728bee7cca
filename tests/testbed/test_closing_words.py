"""What the test run says about tests that did not run."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ONE_TEST = "tests/testbed/test_image.py::test_the_tag_names_the_content"


def run_without_engine(*, ci: bool) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    environment.pop("TESTBED_ENGINE_REASON", None)
    environment.pop("CI", None)
    if ci:
        environment["CI"] = "true"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ONE_TEST]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60)


def test_without_an_engine_the_last_lines_say_what_did_not_run_and_why() -> None:
    ended = run_without_engine(ci=False)

    last = "\n".join(ended.stdout.splitlines()[-3:])
    assert ended.returncode == 0
    assert "did not run: 1 test, no Docker engine: DOCKER_HOST is unix:///nowhere/docker.sock" in last


def test_in_ci_a_missing_engine_fails() -> None:
    ended = run_without_engine(ci=True)

    assert ended.returncode == 1
    assert "in CI nothing may be left out: no Docker engine" in ended.stdout
