"""The process that listens at an address of this machine, and the CPU that it burns: where it can be seen at all.

In a container's own healthcheck it can, and beside a server on the same host as the same user or as root.
"""

import asyncio
import contextlib
import os
import time
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import psutil

IDLE_SHARE = 0.005  # of one core: less is idle, as the daemon has it
PORTS = {"http": 80, "https": 443}
LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
INFER_THEMSELVES = ("llama-server", "llama_server", "llamafile", "koboldcpp")
WORDS_READ = 4  # of a command line: an interpreter, its switches, a script
GPU_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri", "/dev/dxg")
SHORTEST_S = 0.25  # a shorter span tells nothing


class Listener:
    """Watches one process, from the first sample on."""

    def __init__(self, url: str) -> None:
        self._port = _port(url)
        self._last: tuple[float, float] | None = None  # when, and how much it had burned by then
        self._looked = False
        self._family: list[psutil.Process] = []
        self.burned: bool | None = None  # what the last sample showed; None: nobody can tell
        self.idle_s = 0.0  # it has burned nothing for so long

    async def sample(self) -> None:
        """Look once more; in a thread, for there may be thousands of processes."""
        if self._port is not None:
            await asyncio.to_thread(self._sample)

    def _sample(self) -> None:
        if not self._looked:
            self._looked, self._family = True, _family(self._port or 0)
        spent_s, now = _spent_s(self._family), time.monotonic()
        if spent_s is None:
            return
        if self._last is None:
            self._last = now, spent_s
            return
        span_s = now - self._last[0]
        if span_s < SHORTEST_S:
            return
        self.burned = spent_s - self._last[1] > max(0.0101, IDLE_SHARE * span_s)  # the kernel counts in hundredths
        self.idle_s = 0.0 if self.burned else self.idle_s + span_s
        self._last = now, spent_s


def _port(url: str) -> int | None:
    """Return the port of an address of this machine; None for any other."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        if host in LOCAL_NAMES or ip_address(host).is_loopback:
            return parts.port or PORTS.get(parts.scheme)
    return None


def _family(port: int) -> list[psutil.Process]:
    """Return who listens there, with its children; nobody where we may not see that."""
    with contextlib.suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
                listener = psutil.Process(each.pid)
                return [listener, *listener.children(recursive=True)] if _tells_by_its_cpu(listener) else []
    return []


def _tells_by_its_cpu(process: psutil.Process) -> bool:
    """Return whether it infers by itself, and on no GPU: a port proxy is idle whatever its server does.

    With a GPU it may wait for that, with little CPU.
    """
    words = [process.name(), *(Path(word).name for word in process.cmdline()[:WORDS_READ])]
    if not any(name in word for word in words for name in INFER_THEMSELVES):
        return False
    held = (os.readlink(each) for each in Path(f"/proc/{process.pid}/fd").iterdir())  # noqa: PTH115 - a pipe is no path
    return not any(path.startswith(GPU_DEVICES) for path in held)


def _spent_s(family: list[psutil.Process]) -> float | None:
    spent = list[float]()
    for process in family:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            spent.append(times.user + times.system)
    return sum(spent) if spent else None
