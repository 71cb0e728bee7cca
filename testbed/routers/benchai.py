"""A router of BenchAI's shape with its guard on, installed as a user does: a folder and one file beside it."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import httpx

from testbed.cache import REPOSITORY
from testbed.routers.base import Router

PACKAGE: Final = REPOSITORY / "integrations" / "benchai" / "benchai_liveness"
CLIENT: Final = REPOSITORY / "supervisor" / "client.py"
PROGRAM: Final = REPOSITORY / "testbed" / "benchai_app" / "llm_router.py"
LINE: Final = "import benchai_liveness; benchai_liveness.guard(globals())\n"
BEFORE: Final = ("manager = ModelManager()\n", 'if __name__ == "__main__":\n')  # where a person puts the line
GUARD: Final = "guard"  # in `Served.extra`: "wrapper" (the default), "lines" in the program itself, or "none"


class BenchaiRouter(Router):
    """`testbed/benchai_app/llm_router.py`, guarded. Whatever else is in `Served.extra` goes to its environment."""

    kind = "benchai"
    hears_within_s: ClassVar[float] = 0.0  # it reads the document anew for each request

    def command(self) -> Sequence[str]:
        """Install it into `folder`, and return its command line."""
        program = self.folder / PROGRAM.name
        guard = self.served.extra.get(GUARD, "wrapper")
        program.write_text(_with_lines(PROGRAM.read_text()) if guard == "lines" else PROGRAM.read_text())
        if guard != "none":
            install(self.folder)
        return [sys.executable, "-u", *(["-m", PACKAGE.name] if guard == "wrapper" else []), program.name]

    def environment(self) -> Mapping[str, str]:
        """Say where everything is. What the router would start by itself ends at once, and kills nobody."""
        behind = {alias: names[0] for alias, names in self.served.models.items() if alias != "auto"}
        ports = {alias: httpx.URL(self.served.backends[name]).port for alias, name in behind.items()}
        return {
            "BENCHAI_PORT": str(self.port),
            "BENCHAI_PORTS": json.dumps(ports),
            "BENCHAI_START_COMMAND": "true",
            "BENCHAI_LIVENESS": str(self.served.liveness_file),
            "BENCHAI_LIVENESS_REPORT_TO": f"unix://{self.served.control_socket}",
            **{key: value for key, value in self.served.extra.items() if key != GUARD},
        }

    def is_answering(self) -> bool:
        """Say whether it takes requests."""
        return httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).is_success


def install(folder: Path) -> None:
    """Put the guard into a router's folder, by the two commands of docs/routers/benchai.md."""
    shutil.copytree(PACKAGE, folder / PACKAGE.name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CLIENT, folder / PACKAGE.name / CLIENT.name)


def _with_lines(program: str) -> str:
    for place in BEFORE:
        program = program.replace(f"\n{place}", f"\n{LINE}{place}")
    return program
