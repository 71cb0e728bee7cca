"""What most tests of the commands begin with."""

from collections.abc import Callable

import pytest

from supervisor.cli import main
from tests.fakes.daemon import FakeDaemon

Ctl = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def ctl(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run a command; return its exit status, the lines on stdout and those on stderr."""

    def run(*words: str, server: str = daemon.url) -> tuple[int, list[str], list[str]]:
        code = main(["--server", server, *words])
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return run
