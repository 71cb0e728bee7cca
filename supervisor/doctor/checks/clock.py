"""The clock: what we publish is dated, and whoever reads it elsewhere believes it by its own clock."""

import ctypes
import ipaddress
import os
from collections.abc import Callable, Iterator

from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, note, ok, warning

UNSYNCHRONISED, ERROR = 0x40, 5  # of the kernel's status word, and of what adjtimex returns
MOST_AHEAD_S = 2.0
COMMAND = "timedatectl set-ntp true"


class _Timex(ctypes.Structure):
    """The beginning of the kernel's `struct timex`, with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def is_synchronised() -> bool | None:
    """Return whether something keeps this machine's clock right; None where the kernel does not tell."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        told = _Timex(modes=0)  # nothing is set, so nobody needs a right for it
        state = int(libc.adjtimex(ctypes.byref(told)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != ERROR and not told.status & UNSYNCHRONISED


def look(around: Around, *, asks: Callable[[], bool | None] = is_synchronised) -> Iterator[Finding]:
    """Look at our clock, and at the engine's."""
    found: list[Finding] = []
    if asks() is False:
        seen = "nothing keeps this machine's clock right (NTP is not synchronised)"
        is_read_elsewhere = not _is_loopback(around.settings.http.host)
        cure = "switch NTP on: what routers on other machines read expires by their clock"
        found.append((warning if is_read_elsewhere else note)(seen, cure=cure, command=COMMAND))
    if around.uses("docker"):
        ahead_s = around.engine().ahead_s
        if ahead_s is not None and abs(ahead_s) > MOST_AHEAD_S:
            seen = f"the engine's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} ours"
            cure = "switch NTP on, on both machines: who stopped a container is told by the time"
            found.append(warning(seen, cure=cure, command=COMMAND))
    yield from found or [ok(f"the clock is right, as far as {os.uname().nodename} knows")]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
