"""The command `benchai-supervisord`: arguments, settings, the lock and the sockets; then one daemon's life."""

import argparse
import asyncio
import contextlib
import faulthandler
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from loguru import logger

from supervisor import __version__, build, logs, settings_file
from supervisor.daemon import Daemon, Listeners
from supervisor.errors import SettingsError, StartupError
from supervisor.publish.agent import listen as bind_agent
from supervisor.publish.server import bind_tcp, bind_unix
from supervisor.settings import Settings

EXIT_STARTUP, EXIT_SETTINGS = 1, 2


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
        raise StartupError(
            f"daemon.state_dir: cannot use {state_dir} ({error.strerror}); make it or choose another"
        ) from error
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
            raise StartupError(f"cannot make {path.parent} ({error.strerror}); make it or choose another") from error
    with contextlib.ExitStack() as bound:
        tcp = bound.enter_context(contextlib.closing(bind_tcp(http.host, http.port)))
        unix = bound.enter_context(contextlib.closing(bind_unix(http.socket)))
        bound.callback(http.socket.unlink, missing_ok=True)
        checks = bound.enter_context(contextlib.closing(bind_agent(agent.host, agent.port))) if agent.port else None
        yield Listeners(tcp=tcp, unix=unix, agent=checks)


def supervise(settings: Settings) -> None:
    """Run one daemon to its end.

    Raises:
        StartupError: it cannot run here and now.
    """
    with _alone(settings.daemon.state_dir), _listening(settings) as listeners:
        host, port = listeners.tcp.getsockname()[:2]
        logger.info("http on {}:{} and {}", host, port, settings.http.socket)
        if listeners.agent:
            logger.info("agent checks on {}:{}", *listeners.agent.getsockname()[:2])
        asyncio.run(Daemon(settings, listeners=listeners).run())


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchai-supervisord", description="Keep model servers truthful and alive: probe, publish, restart."
    )
    parser.add_argument(
        "--settings",
        type=Path,
        help="settings file (default: the first there is of "
        f"${settings_file.FILE_VARIABLE}, ./settings.toml, {settings_file.DEFAULT_FILE})",
    )
    parser.add_argument("--check", action="store_true", help="say what is wrong with the settings, and start nothing")
    parser.add_argument("--version", action="version", version=f"benchai-supervisord {__version__}")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run `benchai-supervisord`; return 0, 1 where it cannot start here and now, 2 where the settings are wrong."""
    arguments = _arguments(argv)
    try:
        path = settings_file.find(arguments.settings)
        settings = settings_file.load(path)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for a person, before there is a log
        return EXIT_SETTINGS
    if arguments.check:
        print(f"{path}: good; backends: {len(settings.backends)}, routers: {len(settings.routers)}")  # noqa: T201
        return 0
    logs.hide(build.secrets(settings))
    logs.set_up(settings.daemon.log_level, form=settings.daemon.log_format)
    faulthandler.enable()  # a watchdog that strikes leaves in the log what stood still
    try:
        supervise(settings)
    except StartupError as error:
        logger.error("cannot start: {}", error)
        return EXIT_STARTUP
    return 0


if __name__ == "__main__":
    sys.exit(main())
