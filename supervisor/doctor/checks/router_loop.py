"""BenchAI's router has a health loop of its own, which restarts model servers; it has to be handed over."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from supervisor.doctor import listeners, unit_files
from supervisor.doctor.account import words_of
from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, ok, unseen
from supervisor.doctor.text_files import beginning
from supervisor.settings import RouterSettings

SCRIPT, GUARD = "llm_router.py", "benchai_liveness"
OWN_LOOP = "_check_and_restart_models"
CURE = "hand it over: docs/routers/benchai.md"
MOST_BYTES = 1 << 20


def look(around: Around) -> Iterator[Finding]:
    """Look at each router's process and unit."""
    for router in around.routers:
        yield from _looked(around, router)


def _looked(around: Around, router: RouterSettings) -> Iterator[Finding]:
    words, folder, is_hidden = _command(around, router)
    if is_hidden:
        yield unseen("the router's process: whether it restarts model servers is not known", target=router.name)
    if words:
        yield _judged(words, folder, router)


def _judged(words: list[str], folder: Path | None, router: RouterSettings) -> Finding:
    script = next((word for word in words if Path(word).name == SCRIPT), None)
    if script is None and any(word.partition(":")[0] == Path(SCRIPT).stem for word in words):
        script = SCRIPT  # uvicorn llm_router:app
    if script is None:
        return ok("the router is none that restarts model servers", target=router.name)
    text = beginning(folder / script if folder else Path(script), most_bytes=MOST_BYTES)
    if any(Path(word).name == GUARD for word in words) or f"{GUARD}.guard" in text:
        return ok("the router has handed its health loop over", target=router.name)
    if text and OWN_LOOP not in text:
        return ok("the router has no health loop", target=router.name)
    seen = f"the router ({script}) restarts model servers by itself: two who restart would fight"
    return error(seen, cure=CURE, target=router.name)


def _command(around: Around, router: RouterSettings) -> tuple[list[str], Path | None, bool]:
    """Return a router's command line and folder, as it runs, else as its unit has it; and whether it hides them."""
    parts = urlsplit(router.url)
    found = listeners.on_port(around.listeners(), parts.port or 80, host=parts.hostname or "")
    for each in found:
        words = words_of(each.pid, around.proc) if each.pid else []
        if each.pid and words:
            return words, _folder(around.proc / str(each.pid) / "cwd"), False
    if router.engine == "systemd":
        unit = unit_files.of_unit(router.engine_name, around.root)
        folder = unit.get("WorkingDirectory")
        return unit.get("ExecStart", "").split(), Path(folder) if folder else None, False
    return [], None, bool(found)


def _folder(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:
        return None
