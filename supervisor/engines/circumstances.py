"""What a person might change on this host to cure a target: which files, places, programs and ports to look at.

Pure: reads a command line and looks at nothing itself.
"""

import ipaddress
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from supervisor.engines.masked import masked

MOST = 64  # circumstances of one target
MOST_OF_A_PATH = 300  # characters
MISSING = "missing"
HIDDEN = "not for us to see"
LOOPBACK = "127.0.0.1"
PORT_FLAG, ADDRESS_FLAG = "--port", "--host"
# A word is a file's name without any directory if it ends in something like .gguf; a number or an address does not.
RELATIVE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.[A-Za-z]\w{1,11}", re.ASCII)
BETWEEN_WORDS = re.compile(r"[\s=,;'\"]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file, of which it matters what is in it."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory or a device, of which it matters whether it is there."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """A program, by its path or by a name that is looked for in `search`."""

    name: str
    directory: str  # where a relative path begins
    search: str  # as in $PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of this host that the target wants to listen on, or does, if it `is_held`."""

    address: str
    number: int
    is_udp: bool = False
    is_held: bool = False


Thing = File | Place | Executable | Port


def paths_named(arguments: Iterable[str], *, directory: str) -> list[str]:
    """Return the absolute paths that a command line names, but for secrets; `directory` is where it runs."""
    named = (name for argument in masked(arguments) for name in _names(argument))
    return list(dict.fromkeys(posixpath.normpath(posixpath.join(directory, name)) for name in named))


def port_asked(arguments: Iterable[str], *, is_held: bool) -> Port | None:
    """Return the port that a server's own arguments tell it to listen on; None where they name none."""
    told = _told(arguments, (PORT_FLAG, ADDRESS_FLAG))
    number, address = told.get(PORT_FLAG, ""), told.get(ADDRESS_FLAG, LOOPBACK)
    address = LOOPBACK if address == "localhost" else address
    if not number.isdecimal() or not 0 < int(number) < 65_536 or not is_address(address):
        return None
    return Port(address=address, number=int(number), is_held=is_held)


def is_address(text: str) -> bool:
    """Return whether it is an address in numbers: a name would have to be looked up, and may take its time."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def port_key(port: Port) -> str:
    """Return what a port is called among the circumstances."""
    return f"port {port.number}/udp" if port.is_udp else f"port {port.number}"


def _names(argument: str) -> Iterator[str]:
    whole = (argument, argument.partition("=")[2])
    yield from (name for name in whole if RELATIVE.fullmatch(name) and not name.startswith("-"))
    for name in (*whole, *BETWEEN_WORDS.split(argument)):
        if name.startswith("/") and len(name) <= MOST_OF_A_PATH and name.isprintable():
            yield name


def _told(arguments: Iterable[str], flags: tuple[str, ...]) -> Mapping[str, str]:
    """Return what the last of each flag says."""
    told: dict[str, str] = {}
    previous = ""
    for argument in arguments:
        name, is_joined, value = argument.partition("=")
        if is_joined and name in flags:
            told[name] = value
        elif previous in flags:
            told[previous] = argument
        previous = argument
    return told
