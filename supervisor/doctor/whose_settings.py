"""Which settings the daemon goes by: those it was started with, wherever the doctor is called."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from supervisor.doctor import unit_files
from supervisor.doctor.account import PROC, is_daemon, words_of
from supervisor.doctor.unit_files import OUR_UNIT
from supervisor.settings_file import DEFAULT_FILE

HERE = Path("settings.toml")


def settings_of(status: Mapping[str, Any] | None, *, root: Path = Path("/"), proc: Path = PROC) -> Path | None:
    """Return the settings of the daemon that answers, else those that its unit names; None where neither is known."""
    pid = ((status or {}).get("daemon") or {}).get("pid")
    if isinstance(pid, int) and is_daemon(words := words_of(pid, proc)):
        return of_process(pid, words, proc)
    command = unit_files.of_unit(OUR_UNIT, root).get("ExecStart", "").split()
    return (named_in(command) or DEFAULT_FILE) if command else None


def of_process(pid: int, words: list[str], proc: Path = PROC) -> Path:
    """Return what a daemon that runs was started with."""
    try:
        folder = (proc / str(pid) / "cwd").readlink()
    except OSError:  # another user's
        folder = Path("/")
    named = named_in(words)
    if named is not None:
        return folder / named
    return folder / HERE if _is_file(folder / HERE) else DEFAULT_FILE


def named_in(words: Iterable[str]) -> Path | None:
    """Return the settings that a command line names."""
    known = list(words)
    named = [after for before, after in pairwise(known) if before == "--settings"]
    named += [word.partition("=")[2] for word in known if word.startswith("--settings=")]
    return Path(named[-1]) if named else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
