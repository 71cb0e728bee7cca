"""A settings file to write, in an environment without any of ours."""

import os
from pathlib import Path

import pytest

from supervisor.settings import ENV_PREFIX


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours in the environment but what a test puts there."""
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test's settings go."""
    return tmp_path / "settings.toml"
