"""What several commands take: the daemon's address, targets' names, lengths of time. And the daemon at that address."""

import os
import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from supervisor.cli import suggest

if TYPE_CHECKING:
    from supervisor.cli.http import Daemon

P = ParamSpec("P")

DEFAULT_SERVER = "unix:///run/benchai-supervisor/control.sock"
DEFAULT_PORT = 8090
SERVER_VARIABLE, TOKEN_VARIABLE = "BENCHAI_SUPERVISOR_SERVER", "BENCHAI_SUPERVISOR_TOKEN"
LONGEST_WAIT_S = 3600.0
HOST = re.compile(r"([^\s:/?#@\[\]]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
ADDRESS = "supervisor.cli.address"  # where click keeps it between a group and its command


class Understood(click.ParamType[Any]):
    """A word that a function of ours reads; where it raises ValueError, that says what would be right."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what the word stands for; end the command where it stands for nothing."""
        try:
            return self._read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a number of seconds") from error
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise ValueError(f"{text} is not between 0 and {LONGEST_WAIT_S:g}")
    return seconds


SECONDS = Understood("seconds", _seconds)

some_names = click.argument(
    "names",
    metavar="NAME...",
    nargs=-1,
    required=True,
    shell_complete=suggest.targets_or_all,
    help="Targets' names as in status; all: every one.",
)
one_name = click.argument("name", metavar="NAME", shell_complete=suggest.targets, help="A target's name as in status.")


def shared_options() -> list[click.Parameter]:
    """Return the options that every command takes."""
    return [
        click.Option(
            ["-s", "--server"],
            metavar="ADDRESS",
            expose_value=False,
            callback=_remember,
            help="The daemon: unix:///path/of/a.sock or http://host:port"
            f" (${SERVER_VARIABLE}, or else {DEFAULT_SERVER}).",
        ),
        click.Option(
            ["--host"],
            metavar="HOST[:PORT]",
            expose_value=False,
            callback=_remember,
            help=f"The daemon on another machine, over HTTP ({DEFAULT_PORT}); changes need ${TOKEN_VARIABLE}.",
        ),
    ]


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta.setdefault(ADDRESS, {})[param.name] = value


def with_daemon(command: "Callable[Concatenate[Daemon, P], int]") -> Callable[P, int]:
    """Give a command the daemon that the command line or the environment names."""

    @wraps(command)
    def asks(*args: P.args, **options: P.kwargs) -> int:
        return command(daemon(click.get_current_context()), *args, **options)

    return asks


def daemon(ctx: click.Context, *, answer_s: float | None = None) -> "Daemon":
    """Return the daemon that is meant, unasked yet; end the command where the address is none."""
    from supervisor.cli.http import ANSWER_S, Daemon

    try:
        address = _address(ctx.meta.get(ADDRESS, {}))
        return Daemon(address, token=os.environ.get(TOKEN_VARIABLE, "").strip(), answer_s=answer_s or ANSWER_S)
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from error


def named_server(ctx: click.Context) -> str | None:
    """Return the address that the command line or the environment gives the daemon; None where neither does."""
    said = ctx.meta.get(ADDRESS, {})
    return _address(said) if said or os.environ.get(SERVER_VARIABLE) else None


def _address(said: dict[str, str]) -> str:
    if len(said) > 1:
        raise ValueError("--server and --host both name the daemon: give one of them")
    if "host" in said:
        return over_http(said["host"])
    return said.get("server") or os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER


def over_http(host: str) -> str:
    """Return the address of the daemon on a host: a name, an IPv4 address or an IPv6 address, perhaps with a port.

    Raises:
        ValueError: it is none; the message says what would be one.
    """
    is_bare_v6 = host.count(":") > 1 and "[" not in host
    found = HOST.fullmatch(f"[{host}]" if is_bare_v6 else host)
    if found is None:
        raise ValueError(f"{host!r} is no host: give HOST or HOST:PORT, such as gpu-box:{DEFAULT_PORT}")
    return f"http://{found[1]}:{found[2] or DEFAULT_PORT}"
