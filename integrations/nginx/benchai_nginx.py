"""Keep nginx's upstreams as the supervisor says: write an include, have nginx check it, and reload it where it changed.

    python3 benchai_nginx.py --include /etc/nginx/benchai-upstreams.conf --auto general,planner,code

It needs the standard library and the supervisor's client: copy supervisor/client.py beside it as `benchai_client.py`.
Only who is in and who is out is written. Weights come and go with each request, and a reload starts new workers.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

try:
    from supervisor.client import Backend, Liveness, Snapshot
except ImportError:
    from benchai_client import Backend, Liveness, Snapshot  # type: ignore[import-not-found,no-redef,unused-ignore]

LIVENESS = "/run/benchai-supervisor/liveness.json"
AUTO = "auto"
LOOK_EVERY_S = 0.25
AGAIN_AFTER_S = 5.0  # where nginx did not take it
RUN_WITHIN_S = 10.0
RETRY_AFTER_S = 5  # the true one counts down, and each second would be a reload
PLAIN = re.compile(r"[A-Za-z0-9_.-]+")  # what may stand in nginx's file as it is
PLACE = re.compile(r"[A-Za-z0-9_.-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?")


@dataclass(frozen=True)
class Nginx:
    """How nginx is asked to check its files, and to read them again."""

    test: Sequence[str]
    reload: Sequence[str]

    def takes_it(self) -> str:
        """Have nginx check its files, then reload; return what is wrong, nothing where it went well."""
        for command in (self.test, self.reload):
            try:
                done = subprocess.run(list(command), capture_output=True, text=True, timeout=RUN_WITHIN_S, check=False)  # noqa: S603
            except (OSError, subprocess.TimeoutExpired) as problem:
                return str(problem)
            if done.returncode:
                return f"{shlex.join(command)}: {done.stderr.strip()[-500:]}"
        return ""


def aliases(snapshot: Snapshot, auto: Sequence[str]) -> dict[str, list[Backend]]:
    """Return the backends of each alias that can be written down, in the document's order; `auto` has those named."""
    usable = [backend for backend in snapshot.backends if place(backend)]
    behind = {alias: [each for each in usable if alias in each.models] for alias in snapshot.models}
    behind[AUTO] = [each for name in auto for each in usable if each.name == name]
    return {alias: backends for alias, backends in behind.items() if backends and PLAIN.fullmatch(alias)}


def place(backend: Backend) -> str:
    """Return a backend's host and port, nothing where they cannot be written down."""
    parts = urlsplit(backend.url)
    return parts.netloc if parts.scheme == "http" and PLACE.fullmatch(parts.netloc) else ""


def render(snapshot: Snapshot, auto: Sequence[str] = ()) -> str:
    """Return the include: an upstream per alias, and which of them are to be refused.

    Where the document has expired everybody is in: silence takes nobody out.
    """
    lines, refused = ["# Written by benchai_nginx.py; changes are lost."], []
    for alias, backends in aliases(snapshot, auto).items():
        well = [backend for backend in backends if snapshot.is_routable(backend.name)]
        if not well:
            refused.append(f"    {alias} {RETRY_AFTER_S};")
        lines += [f"upstream benchai_{alias} {{", "    least_conn;"]
        lines += [f"    server {place(backend)} max_fails=0;" for backend in well or backends]
        lines.append("}")
    return "\n".join([*lines, "map $benchai_alias $benchai_retry_after {", '    default "";', *refused, "}", ""])


class Include:
    """The file that nginx reads. One that nginx does not take is put back as it was."""

    def __init__(self, path: Path, nginx: Nginx) -> None:
        self._path = path
        self._nginx = nginx

    def put(self, text: str) -> str:
        """Write `text` and have nginx read it; return what went wrong, and nothing where all is well."""
        before = self._read()
        if before == text:
            return ""
        try:
            replace_file(self._path, text)
            problem = self._nginx.takes_it()
            if problem:
                replace_file(self._path, before)
        except OSError as error:
            problem = str(error)
        return problem

    def _read(self) -> str:
        with contextlib.suppress(OSError):
            return self._path.read_text()
        return ""


def replace_file(path: Path, text: str) -> None:
    """Put `text` at `path` in one step, so that nginx never reads half of it."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.replace(path)


def follow(liveness: Liveness, include: Include, auto: Sequence[str]) -> None:
    """Keep the include up to date, for ever. Before the first document it stays as it is."""
    told = ""
    while True:
        snapshot = liveness.snapshot()
        problem = include.put(render(snapshot, auto)) if snapshot.backends else snapshot.why_unknown
        if problem != told:
            say(problem or "well again")
        told = problem
        time.sleep(AGAIN_AFTER_S if problem and snapshot.backends else LOOK_EVERY_S)


def say(words: str) -> None:
    """Tell whoever reads our log."""
    print(f"benchai-nginx: {words}", file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: Iterable[str] | None = None) -> None:
    """Follow until told to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--liveness", default=LIVENESS, help="a path, http://host:port or unix:///a.sock (%(default)s)")
    parser.add_argument("--include", type=Path, required=True, help="the file that nginx includes in http {}")
    parser.add_argument("--auto", default="", help="names of the backends that `auto` may ask, with commas between")
    parser.add_argument("--test", default="nginx -t", help="checks nginx's files (%(default)s)")
    parser.add_argument("--reload", default="nginx -s reload", help="makes nginx read them again (%(default)s)")
    parser.add_argument("--once", action="store_true", help="write the include for nginx's first start, and end")
    asked = parser.parse_args(list(arguments) if arguments is not None else None)
    nginx = Nginx(test=shlex.split(asked.test), reload=shlex.split(asked.reload))
    auto = [name.strip() for name in asked.auto.split(",") if name.strip()]
    if asked.once:
        snapshot = Liveness(asked.liveness).snapshot()
        if snapshot.backends or not asked.include.exists():
            replace_file(asked.include, render(snapshot, auto))
        return
    with contextlib.suppress(KeyboardInterrupt):
        follow(Liveness(asked.liveness), Include(asked.include, nginx), auto)


if __name__ == "__main__":
    main()
