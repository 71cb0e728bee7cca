"""Who made a container or process of the testbed, so that what an interrupted run left behind can be told from ours."""

import os
import socket

import psutil


def me() -> str:
    """Return this process as `host:pid:start`; a pid alone may be somebody else's tomorrow."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_gone(owner: str) -> bool:
    """Say whether the process that `me` described has ended; one on another host is taken to be alive."""
    host, _, rest = owner.partition(":")
    pid, _, started = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True
