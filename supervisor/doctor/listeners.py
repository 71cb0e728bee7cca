"""Who listens on which port of this machine, as the kernel tells; whose process it is only root may see of all."""

import contextlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop

from supervisor.doctor.account import PROC, words_of

CONNECT_S = 2.0
LISTENS = "0A"
MOST_WORDS = 80
SCRIPTS = ("python", "bash", "sh", "node", "perl")


ANYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A port that somebody listens on; `pid` is None where that is not ours to see."""

    address: str
    port: int
    uid: int
    inode: str
    pid: int | None = None

    @property
    def is_anywhere(self) -> bool:
        """Whether it listens on every address."""
        return self.address in ANYWHERE

    def answers_at(self, address: str) -> bool:
        """Whether it can be reached at an address of this machine."""
        return self.is_anywhere or self.address.removeprefix("::ffff:") == address


def listeners(proc: Path = PROC) -> list[Listener]:
    """Return everybody who listens, with their processes where they can be seen."""
    found = [*_table(proc / "net/tcp", AF_INET), *_table(proc / "net/tcp6", AF_INET6)]
    owners = dict(_owners({each.inode for each in found}, proc))
    return [replace(each, pid=owners.get(each.inode)) for each in found]


def on_port(known: Iterable[Listener], port: int, *, host: str = "") -> list[Listener]:
    """Return who listens on a port, of those who can be reached at `host`."""
    address = here(host) if host else None
    if host and address is None:
        return []
    return [each for each in known if each.port == port and (address is None or each.answers_at(address))]


def here(host: str) -> str | None:
    """Return the address of a host that is this machine; None where it is another, or nobody knows it."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return None
    return next((str(each[4][0]) for each in found if _is_ours(each[0], str(each[4][0]))), None)


def is_open(address: str, port: int) -> bool:
    """Return whether somebody takes connections there: some of Docker's ports are in no table of the kernel's."""
    try:
        with socket.create_connection((address, port), timeout=CONNECT_S):
            return True
    except OSError:
        return False


def _is_ours(family: int, address: str) -> bool:
    """Return whether what we would send there would stay here; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
            return bool(probe.getsockname()[0] == address) or address.startswith("127.")
        except OSError:
            return False


def called(listener: Listener, proc: Path = PROC) -> str:
    """Return how to call whoever listens, for people: nothing of a command line but its program's name."""
    if listener.pid is None:
        return f"a process of uid {listener.uid}"
    words = [Path(word).name for word in words_of(listener.pid, proc)[:3] if not word.startswith("-")]
    is_script = bool(words) and words[0].startswith(SCRIPTS)
    name = " ".join(words[: 2 if is_script else 1])[:MOST_WORDS]
    return f"{name or 'a process'} (pid {listener.pid})"


def family(pid: int, proc: Path = PROC) -> list[int]:
    """Return a process and those that it descends from."""
    line: list[int] = []
    while pid > 0 and pid not in line:
        line.append(pid)
        try:
            pid = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
    return line


def unit_of(pid: int, proc: Path = PROC) -> str:
    """Return the systemd unit that a process belongs to, empty where none is known."""
    try:
        groups = (proc / str(pid) / "cgroup").read_text()
    except OSError:
        return ""
    parts = [part for line in groups.splitlines() for part in line.rpartition(":")[2].split("/")]
    return next((part for part in reversed(parts) if part.endswith(".service")), "")


def _table(path: Path, family: int) -> Iterator[Listener]:
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        if len(words) > 9 and words[3] == LISTENS:
            address, _, port = words[1].partition(":")
            yield Listener(address=_address(address, family), port=int(port, 16), uid=int(words[7]), inode=words[9])


def _address(digits: str, family: int) -> str:
    """Return an address as people write it; the kernel prints words of four bytes, each the wrong way round."""
    words = [bytes.fromhex(digits[begin : begin + 8])[::-1] for begin in range(0, len(digits), 8)]
    return inet_ntop(family, b"".join(words))


def _owners(inodes: set[str], proc: Path) -> Iterator[tuple[str, int]]:
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        for end in _ends(folder / "fd"):
            if end.startswith("socket:[") and end[8:-1] in inodes:
                yield end[8:-1], int(folder.name)


def _ends(folder: Path) -> list[str]:
    """Return what a process has open; of another user's, nothing."""
    try:
        links = list(folder.iterdir())
    except OSError:
        return []
    ends = []
    for link in links:
        with contextlib.suppress(OSError):  # closed meanwhile
            ends.append(str(link.readlink()))
    return ends
