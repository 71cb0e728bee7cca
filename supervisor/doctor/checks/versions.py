"""Versions: this command and the daemon, and the copies of our client that routers carry."""

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from supervisor import __version__
from supervisor.doctor import listeners, unit_files
from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, note, ok, warning
from supervisor.doctor.text_files import beginning
from supervisor.settings import RouterSettings

CLIENT = "client.py"
OURS = "Read the supervisor's liveness"
SCHEMA = re.compile(r"^SCHEMA = (\d+)$", re.MULTILINE)
MOST_BYTES = 256 * 1024


def look(around: Around) -> Iterator[Finding]:
    """Look at the daemon's version, and into routers' folders."""
    running = ((around.status or {}).get("daemon") or {}).get("version")
    if running and running != __version__:
        seen = f"the daemon that runs is version {running}, and this command is {__version__}"
        command = "systemctl restart benchai-supervisor"
        yield warning(seen, cure="restart the daemon, so that it is the one that is installed", command=command)
    elif running:
        yield ok(f"daemon and command are version {__version__}")
    ours = resources.files("supervisor").joinpath(CLIENT).read_text()
    for router in around.routers:
        for path in _copies(_folder(around, router)):
            yield _compared(path, ours, router)


def _compared(path: Path, ours: str, router: RouterSettings) -> Finding:
    theirs = beginning(path, most_bytes=MOST_BYTES)
    command = f"cp {resources.files('supervisor').joinpath(CLIENT)} {path}"
    read, written = SCHEMA.search(theirs), SCHEMA.search(ours)
    if read and written and read[1] != written[1]:
        seen = f"{path} reads schema {read[1]} of the liveness document, and the daemon writes {written[1]}"
        return error(seen, cure="copy the present client, and restart the router", command=command, target=router.name)
    if theirs != ours:
        seen = f"{path} is another version of our client, and reads the same schema"
        return note(seen, cure="copy the present one when it suits", command=command, target=router.name)
    return ok(f"{path} is our present client", target=router.name)


def _copies(folder: Path | None) -> Iterator[Path]:
    """Yield what looks like our client in a folder, and one below it."""
    if folder is None:
        return
    try:
        found = [*folder.glob(CLIENT), *folder.glob(f"*/{CLIENT}")]
    except OSError:
        return
    yield from (path for path in sorted(found)[:10] if OURS in beginning(path, most_bytes=MOST_BYTES))


def _folder(around: Around, router: RouterSettings) -> Path | None:
    if router.engine == "systemd":
        folder = unit_files.of_unit(router.engine_name, around.root).get("WorkingDirectory")
        if folder:
            return Path(folder)
    parts = urlsplit(router.url)
    for each in listeners.on_port(around.listeners(), parts.port or 80, host=parts.hostname or ""):
        try:
            return (around.proc / str(each.pid) / "cwd").readlink() if each.pid else None
        except OSError:
            return None
    return None
