"""A real terminal to look at: tmux, with a server of its own, running one program in one window of a known size."""

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from testbed.clients import wait_until
from testbed.debian import ensure_tool
from testbed.leaving import Leaving

TIMEOUT_S: Final = 10.0
PROMPT: Final = "ready>"


def ensure_tmux() -> None:
    """Install tmux where it is missing.

    Raises:
        NotToBeHad: it cannot be had.
    """
    ensure_tool("tmux", "tmux")


class Terminal(Leaving):
    """A shell in a window; it stays when the program that runs in it ends, so that its last words can be read."""

    def __init__(self, folder: Path, *, columns: int = 80, lines: int = 24, shell: Sequence[str] = ("sh",)) -> None:
        self._socket = folder / "tmux.socket"
        size = ["-x", str(columns), "-y", str(lines)]
        # The prompt is what shows that the shell has its terminal back; no settings of the user's are read.
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, shlex.join(["env", f"PS1={PROMPT} ", *shell]))
        self._tmux("set-option", "-g", "escape-time", "0")
        self.wait_for(PROMPT)

    def leave(self) -> None:
        """End the terminal and what runs in it."""
        self._tmux("kill-server")

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        self.press(line, is_literal=True)
        self.press("Enter")

    def run(self, words: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        """Type a command line."""
        given = [f"{name}={value}" for name, value in (environment or {}).items()]
        self.type(shlex.join(["env", *given, *words]))

    def run_to_its_end(self, words: Sequence[str], *, environment: Mapping[str, str] | None = None) -> str:
        """Type a command line on a cleared screen, and return the screen once its program has ended."""
        self.type("clear")
        self.wait(lambda screen: screen.strip() == PROMPT, "the screen is clear")
        self.run(words, environment=environment)
        return self.wait(lambda screen: screen.rstrip().endswith(f"\n{PROMPT}"), "the command is over")

    def press(self, key: str, *, is_literal: bool = False) -> None:
        """Press a key by its name in tmux (`C-c`, `Tab`), or type a text as it is."""
        self._tmux("send-keys", *(["-l"] if is_literal else []), key)

    def signal_what_runs(self, name: str) -> None:
        """Send a signal to the program in the foreground."""
        tty = self.format("pane_tty").removeprefix("/dev/")
        listed = subprocess.run(["ps", "-t", tty, "-o", "pid=,stat="], capture_output=True, text=True, check=True)
        pids = [line.split()[0] for line in listed.stdout.splitlines() if "+" in line.split()[1]]
        subprocess.run(["kill", f"-{name}", *pids], check=True)

    def resize(self, *, columns: int, lines: int) -> None:
        """Make the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self, *, with_colours: bool = False) -> str:
        """Return what stands on the screen, as text; with its colours as escape sequences where that is wanted."""
        return self._tmux("capture-pane", "-p", *(["-e"] if with_colours else []))

    def format(self, name: str) -> str:
        """Return what tmux knows of the window under a name, such as `alternate_on`."""
        return self._tmux("display-message", "-p", f"#{{{name}}}").strip()

    def wait(self, shows: Callable[[str], object], what: str, *, within_s: float = 30.0) -> str:
        """Wait until the screen is as it should be, and return it."""
        seen = ""

        def is_so() -> bool:
            nonlocal seen
            seen = self.screen()
            return bool(shows(seen))

        try:
            wait_until(is_so, what, within_s=within_s)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; the screen shows:\n{seen}") from late
        return seen

    def wait_for(self, text: str, *, within_s: float = 30.0) -> str:
        """Wait until the screen shows a text, and return the screen."""
        return self.wait(lambda screen: text in screen, f"the terminal shows {text!r}", within_s=within_s)

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._socket), *words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TMUX")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=environment)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed: {done.stderr.strip()}")
        return done.stdout
