"""The command `benchai-supervisord`: arguments, settings, the lock and the sockets; then one daemon's life."""

import asyncio
import contextlib
import errno
import faulthandler
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click
from loguru import logger

from supervisor import __version__, build, command_line, logs, settings_file
from supervisor.command_line import HELP, Notes
from supervisor.daemon import Daemon, Listeners
from supervisor.errors import StartupError
from supervisor.publish.agent import listen as bind_agent
from supervisor.publish.server import bind_tcp, bind_unix
from supervisor.settings import Settings
from supervisor.settings_check import check as look_at

PROG = "benchai-supervisord"
EXIT_STARTUP, EXIT_SETTINGS = 1, 2
NOTES = Notes(
    {
        "Exit status": [
            ("0", "it was told to end, and has ended in order; with --check: the settings are good"),
            (str(EXIT_STARTUP), "it cannot start here and now: another daemon runs, a port is taken"),
            (str(EXIT_SETTINGS), "the settings or the command line are wrong, and that was said"),
        ],
        "Environment": [
            (settings_file.FILE_VARIABLE, "the settings file, instead of --settings"),
            ("BENCHAI_SUPERVISOR_…", "a single setting, over the file: BENCHAI_SUPERVISOR_HTTP__PORT=9000"),
        ],
        "Files": [
            (str(settings_file.DEFAULT_FILE), "the settings, each with its reason and its default"),
            ("/var/lib/benchai-supervisor", "what survives us: the history, holds, evidence (daemon.state_dir)"),
            ("/run/benchai-supervisor/control.sock", "what benchai-supervisorctl talks to (http.socket)"),
            ("/run/benchai-supervisor/liveness.json", "what routers read (daemon.liveness_file)"),
        ],
    }
)


def _cure(error: OSError) -> str:
    """Return what helps where a directory cannot be used; to our unit most of the file system is read-only."""
    if error.errno == errno.EROFS:
        return "choose another, or give the unit a ReadWritePaths= (systemctl edit benchai-supervisor)"
    return "make it or choose another"


@contextlib.contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Hold the state directory's lock: two daemons would fight over every target.

    Raises:
        StartupError: another daemon holds it, or the directory cannot be made.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        file: TextIO = (state_dir / "lock").open("a+")
    except OSError as error:
        raise StartupError(f"daemon.state_dir: cannot use {state_dir} ({error.strerror}); {_cure(error)}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StartupError(
                f"another benchai-supervisord (pid {holder}) runs on {state_dir}; stop it, or give this one its own"
                " daemon.state_dir"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[Listeners]:
    http, agent = settings.http, settings.agent
    for path in (http.socket, settings.daemon.liveness_file):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartupError(f"cannot make {path.parent} ({error.strerror}); {_cure(error)}") from error
    with contextlib.ExitStack() as bound:
        tcp = bound.enter_context(contextlib.closing(bind_tcp(http.host, http.port)))
        unix = bound.enter_context(contextlib.closing(bind_unix(http.socket)))
        bound.callback(http.socket.unlink, missing_ok=True)
        checks = bound.enter_context(contextlib.closing(bind_agent(agent.host, agent.port))) if agent.port else None
        yield Listeners(tcp=tcp, unix=unix, agent=checks)


def supervise(settings: Settings, path: Path) -> None:
    """Run one daemon to its end; `path` is where its settings are from.

    Raises:
        StartupError: it cannot run here and now.
    """
    with _alone(settings.daemon.state_dir), _listening(settings) as listeners:
        host, port = listeners.tcp.getsockname()[:2]
        logger.info("http on {}:{} and {}", host, port, settings.http.socket)
        if listeners.agent:
            logger.info("agent checks on {}:{}", *listeners.agent.getsockname()[:2])
        asyncio.run(Daemon(settings, path=path, listeners=listeners).run())


@click.command(epilog=NOTES.epilog(), context_settings=HELP)
@click.option(
    "--settings",
    "asked_for",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The settings; without it the first there is of "
    f"${settings_file.FILE_VARIABLE}, ./settings.toml, {settings_file.DEFAULT_FILE}.",
)
@click.option("--check", is_flag=True, help="Say what is wrong with the settings, and start nothing.")
@click.version_option(__version__, prog_name=PROG, message="%(prog)s %(version)s")
def supervisord(asked_for: Path | None, *, check: bool) -> int:
    """Keep model servers truthful and alive: probe, publish, restart."""
    checked = look_at(asked_for)
    if checked.settings is None:
        print(checked.words, file=sys.stderr)  # noqa: T201 - for a person, before there is a log
        return EXIT_SETTINGS
    if check:
        print(checked.words)  # noqa: T201
        return 0
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon hears it: by default it would end us
    settings = checked.settings
    logs.hide(build.secrets(settings))
    logs.set_up(settings.daemon.log_level, form=settings.daemon.log_format)
    faulthandler.enable()  # a watchdog that strikes leaves in the log what stood still
    try:
        supervise(settings, checked.path)
    except StartupError as error:
        logger.error("cannot start: {}", error)
        return EXIT_STARTUP
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run `benchai-supervisord`; return 0, 1 where it cannot start here and now, 2 where the settings are wrong."""
    return command_line.run(supervisord, PROG, argv)


if __name__ == "__main__":
    sys.exit(main())
