"""The ear of a service manager: the datagram socket that systemd gives its services, and what came in by it."""

import contextlib
import socket
from pathlib import Path
from types import TracebackType
from typing import Self


class ServiceManager:
    """Listens at `path`, which may be an abstract address ("@name")."""

    def __init__(self, path: Path | str) -> None:
        self.address = str(path)
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.address[1:]}" if self.address.startswith("@") else self.address)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def listen(self) -> list[str]:
        """Return every message that has come in so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self._socket.recv(4096).decode())
        return self.heard

    @property
    def status(self) -> str:
        """The line that was said last."""
        said = [each.removeprefix("STATUS=") for each in self.listen() if each.startswith("STATUS=")]
        return said[-1] if said else ""
