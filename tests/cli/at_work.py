"""A real daemon that runs a real model server, and a terminal beside it."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed.clients import LOOPBACK, free_port
from testbed.debian import NotToBeHad
from testbed.process_servers import server_command
from testbed.supervisord import Supervisord, toml
from testbed.terminal import Terminal, ensure_tmux
from tests.cannot import cannot

CTL = [sys.executable, "-m", "supervisor.cli"]


@contextlib.contextmanager
def at_work(folder: Path, model: Path, *names: str) -> Iterator[Supervisord]:
    """Have a daemon run a server for each name, until the end of the block; they go with it."""
    with Supervisord(folder) as daemon:
        daemon.write_settings("[process]\nstop_on_exit = true\n" + "".join(_backend(name, model) for name in names))
        daemon.start()
        daemon.wait_answers()
        for name in names:
            daemon.wait_target(name, verdict="ready")
        yield daemon


@contextlib.contextmanager
def terminal_of(
    folder: Path, *, columns: int = 100, lines: int = 24, shell: Sequence[str] = ("sh",)
) -> Iterator[Terminal]:
    """Have a terminal until the end of the block."""
    try:
        ensure_tmux()
    except NotToBeHad as missing:
        cannot(str(missing))
    with Terminal(folder, columns=columns, lines=lines, shell=shell) as terminal:
        yield terminal


def _backend(name: str, model: Path) -> str:
    port = free_port()
    command = server_command(model, port, "-np", "1", "-c", "2048", "-t", "1")
    return (
        f'[[backends]]\nname = "{name}"\nurl = "http://{LOOPBACK}:{port}"\nmodels = ["{name}"]\n'
        f'engine = "process"\ncommand = {toml(command)}\n'
    )
