"""Take the screens of the README anew: a real stack in a few troubles, `benchai-supervisorctl` in a real terminal.

    usage: .venv/bin/python -m testbed.engine run -- .venv/bin/python -m scripts.screens

tmux is the terminal, and what it shows is drawn as SVG into docs/screens/. Look at them before they are committed.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import docker
from docker.models.containers import Container
from rich.console import Console
from rich.text import Text

from supervisor.settings_file import DEFAULT_FILE
from testbed import engine, tiny_model
from testbed.cache import REPOSITORY
from testbed.clients import busy
from testbed.stack import DEFAULT_PORTS, Plan, Stack, is_free
from testbed.terminal import PROMPT, Terminal, ensure_tmux

SCREENS: Final = REPOSITORY / "docs" / "screens"
COLUMNS, LINES = 110, 45
PREFIX: Final = "benchai-"
PROG: Final = "benchai-supervisorctl"
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


class Screens:
    """A terminal in which commands ask one daemon, and what it shows."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def run(self, command: str) -> str:
        """Run a command to its end, and return the screen with its colours."""
        self._clear(command)
        self._terminal.wait(lambda screen: screen.rstrip().endswith(f"\n{PROMPT}"), f"{command} has ended")
        lines = self._terminal.screen(with_colours=True).rstrip().splitlines()
        return "\n".join([f"$ {command}", *lines[:-1]])

    def live(self, command: str, shows: str) -> str:
        """Run one that goes on until `q` is pressed, and return what it looks like once it shows a text."""
        self._clear(command)
        self._terminal.wait_for(shows)
        screen = self._terminal.screen(with_colours=True).rstrip()
        self._terminal.press("q")
        self._terminal.wait_for(PROMPT)
        return screen

    def _clear(self, command: str) -> None:
        self._terminal.type("clear")
        self._terminal.wait(lambda screen: screen.strip() == PROMPT, "the screen is clear")
        self._terminal.type(f"clear; {command}")


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


def _shell(stack: Stack) -> list[str]:
    """Return the shell in which our command asks the daemon of `stack`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    known = {"SERVER": f"unix://{stack.socket}", "SETTINGS": stack.settings_file}
    ours = [f"BENCHAI_SUPERVISOR_{name}={value}" for name, value in known.items()]
    return ["env", f"PATH={path}", *ours, "sh"]


def main() -> None:
    """Take every screen."""
    ensure_tmux()
    SCREENS.mkdir(exist_ok=True)
    with (
        stack_in_trouble() as stack,
        Terminal(stack.folder, columns=COLUMNS, lines=LINES, shell=_shell(stack)) as terminal,
    ):
        screens = Screens(terminal)
        draw("status", screens.run(f"{PROG} status"))
        draw("why", screens.run(f"{PROG} why code"))
        # The one word that is changed: where the settings lie for as long as this runs.
        doctor = screens.run(f"{PROG} doctor").replace(str(stack.settings_file), str(DEFAULT_FILE))
        draw("doctor", doctor)
        draw("live", screens.live(f"{PROG} status -w", shows="held by the operator"))


if __name__ == "__main__":
    main()
