"""Take the screens of the README anew: a real stack in a few troubles, `benchai-supervisorctl` in a real terminal.

    usage: .venv/bin/python -m testbed.engine run -- .venv/bin/python -m scripts.screens

tmux is the terminal, and what it shows is drawn as SVG into docs/screens/. Look at them before they are committed.
"""

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import docker
from docker.models.containers import Container
from rich.console import Console
from rich.text import Text

from testbed import engine, tiny_model
from testbed.cache import REPOSITORY
from testbed.clients import busy, wait_until
from testbed.debian import ensure_tool
from testbed.stack import DEFAULT_PORTS, Plan, Stack, is_free

SCREENS: Final = REPOSITORY / "docs" / "screens"
COLUMNS, ROWS = 110, 45
PREFIX: Final = "benchai-"
PROG: Final = "benchai-supervisorctl"
PROMPT: Final = "$ "
LOOKS_S: Final = 3.0  # for a live view to have drawn itself
BUSY_TOKENS: Final = 7500
# No fonts from anywhere: a page that is only read must ask nobody for anything.
SVG: Final = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Terminal:
    """One window of tmux, on a server of its own."""

    def __init__(self, stack: Stack) -> None:
        """`stack` has the daemon that the commands ask."""
        self._name = f"screens-{uuid.uuid4().hex[:8]}"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        known = {"SERVER": f"unix://{stack.socket}", "SETTINGS": stack.settings_file}
        ours = [f"BENCHAI_SUPERVISOR_{name}={value}" for name, value in known.items()]
        shell = ["env", f"PATH={path}", f"PS1={PROMPT}", *ours, "sh", "-i"]
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), shlex.join(shell))

    def close(self) -> None:
        """End it and all that runs in it."""
        self._tmux("kill-server")

    def run(self, command: str, *, lasts_s: float | None = None) -> str:
        """Run a command and return the screen with its colours; one that does not end by itself is ended with q."""
        self._tmux("send-keys", "-l", f"clear; {command}")
        self._tmux("send-keys", "Enter")
        if lasts_s is None:
            wait_until(self._is_at_prompt, f"{command} has ended")
            return self._without_prompt(command)
        time.sleep(lasts_s)
        screen = self._tmux("capture-pane", "-e", "-p").rstrip()
        self._tmux("send-keys", "q")
        wait_until(self._is_at_prompt, f"{command} has ended")
        return screen

    def _is_at_prompt(self) -> bool:
        return self._tmux("capture-pane", "-p").rstrip().splitlines()[-1:] == [PROMPT.rstrip()]

    def _without_prompt(self, command: str) -> str:
        lines = self._tmux("capture-pane", "-e", "-p").rstrip().splitlines()
        return "\n".join([f"{PROMPT}{command}", *lines[:-1]])

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def draw(name: str, screen: str) -> None:
    """Write a screen as SVG."""
    text = Text.from_ansi(screen)
    columns = max(text.cell_len for text in text.split("\n"))
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=max(columns, 40), file=nowhere, force_terminal=True)
        console.print(text, soft_wrap=True)
        path = SCREENS / f"{name}.svg"
        path.write_text(console.export_svg(title=PROG, code_format=SVG, unique_id=f"screen-{name}"))
    print(f"screens: {path.relative_to(REPOSITORY)}")


@contextlib.contextmanager
def stack_in_trouble() -> Iterator[Stack]:
    """Have four servers and a router: one hung and held, one busy, one stopped by hand, and another who restarts."""
    with contextlib.ExitStack() as closing:
        found = closing.enter_context(engine.engine())
        client = closing.enter_context(contextlib.closing(found.client()))
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="benchai-screens-")))
        ports = DEFAULT_PORTS if all(is_free(port) for port in DEFAULT_PORTS.values()) else {}
        plan = Plan(prefix=PREFIX, ports=ports, models={"planner": tiny_model.ensure(shape=tiny_model.SLOW)})
        stack = closing.enter_context(Stack(folder, tiny_model.ensure(), plan, client=client))
        stack.start_all()
        closing.callback(_start_watchtower(client).remove, force=True)
        stack.ctl("hold", "code", "-m", "new driver")
        closing.enter_context(stack.freeze("code"))
        stack.wait_target("code", verdict="hung")
        client.containers.get(f"{PREFIX}vision").stop(timeout=1)
        stack.wait_target("vision", state="STOPPED")
        closing.enter_context(busy(stack.url("planner"), tokens=BUSY_TOKENS)).wait_first_token()
        stack.wait_target("planner", verdict="busy")
        yield stack


def _start_watchtower(client: docker.DockerClient) -> Container:
    """Start a container of that name, which is what there is to be seen of it; it does nothing."""
    image = str(client.containers.get(f"{PREFIX}general").attrs["Image"])
    sleeps = ["-c", "import time; time.sleep(600)"]
    return client.containers.run(image, sleeps, entrypoint="/usr/bin/python3", name="watchtower", detach=True)


def main() -> None:
    """Take every screen."""
    ensure_tool("tmux", "tmux")
    SCREENS.mkdir(exist_ok=True)
    with stack_in_trouble() as stack, contextlib.closing(Terminal(stack)) as terminal:
        draw("status", terminal.run(f"{PROG} status"))
        draw("why", terminal.run(f"{PROG} why code"))
        draw("doctor", terminal.run(f"{PROG} doctor"))
        draw("live", terminal.run(f"{PROG} status -w", lasts_s=LOOKS_S))


if __name__ == "__main__":
    main()
