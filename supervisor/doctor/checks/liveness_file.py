"""The liveness file: whether the router's own user can read what it is to obey, and whether it is kept up to date."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from supervisor.doctor import account, listeners, unit_files
from supervisor.doctor.account import READ, Account
from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, ok, unseen
from supervisor.settings import RouterSettings

MOST_BYTES = 1 << 20


def look(around: Around) -> Iterator[Finding]:
    """Look at the file, and at it with each router's eyes."""
    path = around.settings.daemon.liveness_file
    if around.status is not None:
        yield from _freshness(path)
    for router in around.routers:
        reader = _user(around, router)
        if reader is None:
            continue
        may = reader.may(path, READ) if account.exists(path) else reader.may(path.parent, READ)
        if may is False:
            seen = f"{reader.name}, as whom the router runs, may not read {path}"
            cure = "let others read it, or have the router read http://127.0.0.1:PORT/v1/liveness"
            yield error(seen, cure=cure, command=f"chmod o+rx {path.parent} && chmod o+r {path}", target=router.name)
        elif may:
            yield ok(f"{reader.name}, as whom the router runs, may read it", target=router.name)


def _freshness(path: Path) -> Iterator[Finding]:
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(MOST_BYTES))
        late_s = time.time() - datetime.fromisoformat(str(told["expires_at"])).timestamp()
    except FileNotFoundError:
        yield error(f"there is no {path}, although the daemon runs", cure="see its log", command=_log())
    except OSError as problem:
        yield unseen(f"{path}: {problem.strerror}")
    except (ValueError, KeyError, TypeError):
        yield error(f"{path} holds no liveness document", cure="see who else writes there", command=f"ls -l {path}")
    else:
        if late_s > 0:
            seen = f"{path} ran out {late_s:.0f} s ago, although the daemon answers: routers know nothing"
            yield error(seen, cure="see the daemon's log for why it cannot write", command=_log())
        else:
            yield ok(f"{path} is fresh")


def _log() -> str:
    return "journalctl -u benchai-supervisor -n 50"


def _user(around: Around, router: RouterSettings) -> Account | None:
    """Return whom a router runs as; None where that is not known, or it runs in a container."""
    if router.engine == "docker":
        return None
    if router.engine == "systemd":
        name = unit_files.of_unit(router.engine_name, around.root).get("User")
        if name and (found := account.of_name(name, whose="its unit says so")):
            return found
    parts = urlsplit(router.url)
    for each in listeners.on_port(around.listeners(), parts.port or 80, host=parts.hostname or ""):
        if each.pid and (running := account.of_process(each.pid, whose="it runs as that", proc=around.proc)):
            return running
        return account.of_uid(each.uid, whose="it listens as that")
    return None
