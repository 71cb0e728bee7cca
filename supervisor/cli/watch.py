"""`status -w`: the status as it changes, until someone has seen enough. It outlives the daemon, and awaits the next."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from supervisor.cli.http import Daemon
from supervisor.cli.screen import Screen
from supervisor.cli.terminal import OK, is_coloured
from supervisor.cli.watch_view import MOST_CHANGES, Seen, view
from supervisor.errors import SupervisorError

LOOK_EVERY_S = 1.0  # uptimes and ages move on; what changes is told at once
QUIT = ("q", "Q", "\x04")  # and Ctrl-C; \x04 is Ctrl-D


def watch(daemon: Daemon, names: Sequence[str]) -> int:
    """Draw what is known of the targets until `q` or Ctrl-C."""
    with Screen() as screen:
        looker = Looker(daemon, screen.wake)
        looker.start()
        try:
            while True:
                width, height = screen.size
                now = datetime.now().astimezone()
                screen.show(view(looker.seen(), names, now=now, width=width, height=height, is_coloured=is_coloured()))
                if any(key in QUIT for key in screen.key(within_s=LOOK_EVERY_S)):
                    return OK
        except KeyboardInterrupt:
            return OK


class Looker:
    """Asks for the status again and again, at once where the daemon's stream tells of a change."""

    def __init__(self, daemon: Daemon, tell: Callable[[], None]) -> None:
        self._daemon = daemon
        self._tell = tell
        self._last = Seen()
        self._changes: deque[dict[str, Any]] = deque(maxlen=MOST_CHANGES * 10)  # of all targets; some may be asked for
        self._is_due = threading.Event()

    def start(self) -> None:
        """Look on, in threads that end with the program."""
        for work in (self._look, self._follow):
            threading.Thread(target=work, daemon=True).start()

    def seen(self) -> Seen:
        """Return what is known now."""
        return self._last._replace(changes=tuple(self._changes))

    def _look(self) -> None:
        while True:
            self._is_due.clear()
            try:
                answer = self._daemon.status()
                self._last = Seen(status=answer.content, daemon_s=answer.now_s)
            except SupervisorError as error:
                since = self._last.since or datetime.now().astimezone()
                self._last = self._last._replace(problem=str(error), since=since)
            self._tell()
            self._is_due.wait(LOOK_EVERY_S)

    def _follow(self) -> None:
        rest = threading.Event()  # nobody sets it
        while True:
            try:
                for event in self._daemon.follow():
                    if event.kind == "transition" and isinstance(event.data, dict):
                        self._changes.append(event.data)
                    self._is_due.set()
            except SupervisorError:
                pass  # whoever asks for the status says it better
            rest.wait(LOOK_EVERY_S)
