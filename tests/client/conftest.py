"""What most tests of the client begin with: its clocks, its file, and who hears its reports."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.client import Liveness
from tests.fakes.clocks import Clocks
from tests.fakes.ear import Ear, reporting_threads, wait_until


@pytest.fixture
def clocks() -> Clocks:
    return Clocks(wall_s=float(int(time.time())))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "liveness.json"


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear
    wait_until(lambda: reporting_threads() == 0)


@pytest.fixture
def liveness(path: Path, ear: Ear, clocks: Clocks) -> Iterator[Liveness]:
    """A client that reads the file and reports to the ear."""
    with contextlib.closing(clocks.client(path, report_to=ear.url)) as liveness:
        yield liveness
