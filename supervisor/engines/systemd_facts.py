"""What is known of a unit: for the record, and for who might cure it. Named one by one, so that nothing else is told.

Pure: reads the properties that systemd told. Of the environment only names are told, of the command no secrets.
"""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from supervisor.core.cause import cleaned
from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.circumstances import MISSING, MOST, Executable, File, Place, Thing, paths_named
from supervisor.engines.masked import told_command, told_names, without_secrets
from supervisor.engines.systemd_state import Properties, arguments, program

MOST_OF_AN_ERROR = 1000  # characters
NO_UNIT = {"engine": "systemd", "state": MISSING}
UNLIMITED = (1 << 64) - 1
# Where systemd looks for a program that is named without a path.
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def read_facts(unit: Properties, seen: EngineSeen) -> dict[str, Any]:
    """Return how a unit is made and how it is; what it has nothing of is left out."""
    facts = {
        "engine": "systemd",
        "unit": unit["Id"],
        "file": unit.get("FragmentPath"),
        "drop_ins": list(unit.get("DropInPaths") or [])[:MOST],
        "type": unit.get("Type"),
        "enabled": unit.get("UnitFileState"),
        "changed_on_disk": bool(unit.get("NeedDaemonReload")) or None,
        "instance": seen.instance,
        "started_at": seen.started_at,
        "ended_at": seen.ended_at,
        "state": "never started" if seen.life is Life.CREATED else str(seen.life),
        "sub_state": unit.get("SubState"),
        "exit_code": seen.exit_code,
        "result": unit.get("Result") if seen.ended_at else None,
        "oom_killed": seen.oom_killed,
        "error": cleaned(without_secrets(seen.detail), most=MOST_OF_AN_ERROR),
        "restarts_by_engine": unit.get("NRestarts"),
        "restart_policy": seen.restart_policy,
        "command": told_command(arguments(unit)),
        "working_dir": unit.get("WorkingDirectory"),
        "user": unit.get("User"),
        "environment": told_names(str(each) for each in unit.get("Environment") or []),
        "limits": _limits(unit),
        "stop_timeout_s": _seconds(unit.get("TimeoutStopUSec")),
        "watchdog_s": _seconds(unit.get("WatchdogUSec")),
    }
    return {key: value for key, value in facts.items() if value not in (None, "", [], {})}


def around(unit: Properties) -> dict[str, str]:
    """Return the circumstances that systemd itself knows."""
    is_stale = ", changed on disk and not reloaded" if unit.get("NeedDaemonReload") else ""
    return {"unit": f"{unit['LoadState']}{is_stale}"}


def depends_on(unit: Properties, *, root: Path) -> dict[str, Thing]:
    """Return what to look at on this host, by its name among the circumstances; `root` is where its files are seen."""
    files = [unit.get("FragmentPath"), *(unit.get("DropInPaths") or [])]
    things: dict[str, Thing] = {f"unit file {path}": File(path=_seen(path, root)) for path in files if path}
    directory = str(unit.get("WorkingDirectory") or "/").lstrip("!-")
    if directory.startswith("/") and directory != "/":
        things[f"directory {directory}"] = Place(path=_seen(directory, root))
    words = arguments(unit)
    if name := program(unit):
        seen = _seen(name, root) if name.startswith("/") else name
        things["program"] = Executable(name=seen, directory=_seen("/", root), search=_search(root))
    named = paths_named(words[1:], directory=directory if directory.startswith("/") else "/")
    things |= {path: File(path=_seen(path, root)) for path in named}
    return dict(islice(things.items(), MOST))


def _seen(path: str, root: Path) -> str:
    return str(root / path.lstrip("/"))


def _search(root: Path) -> str:
    return ":".join(_seen(path, root) for path in SEARCH.split(":"))


def _limits(unit: Properties) -> Mapping[str, Any]:
    cpu_us = unit.get("CPUQuotaPerSecUSec", UNLIMITED)
    limits = {
        "memory_bytes": unit.get("MemoryMax", UNLIMITED),
        "memory_high_bytes": unit.get("MemoryHigh", UNLIMITED),
        "processes": unit.get("TasksMax", UNLIMITED),
        "files": unit.get("LimitNOFILE", UNLIMITED),
    }
    told: dict[str, Any] = {key: value for key, value in limits.items() if value != UNLIMITED}
    return told | ({"cpus": cpu_us / 1e6} if cpu_us != UNLIMITED else {})


def _seconds(us: int | None) -> float | None:
    return us / 1e6 if us and us != UNLIMITED else None
