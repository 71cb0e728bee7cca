"""A terminal as a whole: drawn anew in place, with its keys, its changes of size, and left as it was found."""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.text import Text

TERMINATED = 143  # what a shell says of a program that SIGTERM ended
Handler = Callable[[int, FrameType | None], Any]


class Screen:
    """The terminal's other page, while this is entered. Keys are read where standard input is a terminal too."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live: Live | None = None
        self._keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._mode: list[Any] | None = None
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        handlers: dict[int, Handler] = {
            signal.SIGWINCH: lambda *_: self.wake(),
            signal.SIGTERM: lambda *_: sys.exit(TERMINATED),
            signal.SIGTSTP: lambda *_: self._suspend(),
        }
        self._handlers = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self._close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def size(self) -> tuple[int, int]:
        """How many columns and lines there are now, whatever COLUMNS and LINES said when we began."""
        return os.get_terminal_size(sys.stdout.fileno())

    def show(self, lines: Sequence[str]) -> None:
        """Draw these lines, which may be coloured."""
        if self._live:
            self._console.size = ConsoleDimensions(*self.size)
            self._live.update(Text.from_ansi("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)

    def wake(self) -> None:
        """Have `key` return now; from any thread."""
        with suppress(BlockingIOError):  # as many have called as the pipe holds: it wakes anyway
            os.write(self._waker, b".")

    def key(self, *, within_s: float) -> str:
        """Return the key that is pressed within some time, or nothing; at the end of all input, the end-of-file key."""
        sources = [self._woken] if self._keys is None else [self._woken, self._keys]
        ready, _, _ = select.select(sources, [], [], within_s)
        if self._woken in ready:
            os.read(self._woken, 1024)
        if self._keys not in ready or self._keys is None:
            return ""
        return os.read(self._keys, 64).decode(errors="replace") or "\x04"

    def _open(self) -> None:
        if self._keys is not None:
            self._mode = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._live.start()

    def _close(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        if self._keys is not None and self._mode:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._mode)

    def _suspend(self) -> None:
        """Give the terminal back while others have it (Ctrl-Z), and take it again."""
        self._close()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._open()
        self.wake()
