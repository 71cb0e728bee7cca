"""Tell systemd how we are: one datagram each time, and nothing where nobody listens (sd_notify(3)).

Our own few lines: what is on PyPI for this is not kept any more, or binds to a C library that must be there.
It never raises and never waits: a service manager that is busy must not hold up who keeps the models alive.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping

MICRO = 1_000_000


class Notifier:
    """Sends to the socket that systemd has named in our environment."""

    def __init__(self, environment: Mapping[str, str] = os.environ, *, pid: int | None = None) -> None:
        """Without `NOTIFY_SOCKET`, or with an address of a kind that is no Unix socket, nothing is ever sent."""
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of an abstract address; "vsock:" and the like are for whole machines.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address if address.startswith("/") else ""
        self.watchdog_s = _watchdog_s(environment, pid or os.getpid()) if self._address else None

    @property
    def is_heard(self) -> bool:
        """Whether somebody has asked to be told."""
        return bool(self._address)

    def ready(self) -> None:
        """Say that what was begun, the start or a reload, is done."""
        self._tell("READY=1")

    def status(self, line: str) -> None:
        """Say in a line how we are."""
        self._tell(f"STATUS={' '.join(line.splitlines())}")

    def alive(self) -> None:
        """Put the watchdog off."""
        self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the settings are being read anew; `ready` says that this is over, whatever came of it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that we are on our way out."""
        self._tell("STOPPING=1")

    def extend(self, by_s: float) -> None:
        """Ask for so much more time, counted from now, to start, reload or stop."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(by_s * MICRO)}")

    def _tell(self, words: str) -> None:
        if not self._address:
            return
        # Full, or gone: the next word will find another socket, and there is nobody to tell of it.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(words.encode(), self._address)


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Return how often we must be heard of; None: nobody waits for it, or for another process than us."""
    try:
        limit_s = int(environment.get("WATCHDOG_USEC", "")) / MICRO
        is_ours = int(environment.get("WATCHDOG_PID", pid)) == pid
    except ValueError:
        return None
    return limit_s if is_ours and limit_s > 0 else None
