"""What is known of a program of ours: for judging, for the record, and for who might cure it. Pure."""

import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

from supervisor.core.cause import cleaned
from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.arguments import sleep_idle_s
from supervisor.engines.circumstances import (
    MISSING,
    MOST,
    Executable,
    File,
    Place,
    Thing,
    paths_named,
    port_asked,
    port_key,
)
from supervisor.engines.masked import told_command, told_names, without_secrets
from supervisor.engines.process_child import Program, Record, stamp

MOST_OF_AN_ERROR = 1000  # characters
NO_PROGRAM = {"engine": "process", "state": MISSING}


def read_program(
    program: Program, record: Record | None, refusal: str, *, inherited: Mapping[str, str], now: float
) -> EngineSeen:
    """Return what is known about a program; `record` of its last child, `refusal` of its last start if that failed."""
    sleeps_after_s = sleep_idle_s(program.command, {**inherited, **program.environment})
    if record is None:
        return EngineSeen(life=Life.EXITED, sleep_idle_s=sleeps_after_s, detail=refusal)
    runs = record.ended_at is None
    return EngineSeen(
        life=Life.RUNNING if runs else Life.EXITED,
        instance=f"{record.pid}@{stamp(record.started_at)}",
        age_s=max(0.0, now - record.started_at) if runs else None,
        pid=record.pid if runs else None,
        started_at=stamp(record.started_at),
        ended_at=None if record.ended_at is None else stamp(record.ended_at),
        exit_code=record.exit_code,
        sleep_idle_s=sleeps_after_s,
        detail=refusal or record.detail,
    )


def read_facts(program: Program, record: Record | None, refusal: str) -> dict[str, Any]:
    """Return how a program is run and how it is; what it has nothing of is left out."""
    facts: dict[str, Any] = {
        "engine": "process",
        "state": "never started",
        "command": told_command(program.command),
        "working_dir": str(program.cwd or ""),
        "environment": told_names(f"{name}=" for name in program.environment),
        "error": cleaned(without_secrets(refusal), most=MOST_OF_AN_ERROR),
    }
    if record is not None:
        facts |= {
            "state": "running" if record.ended_at is None else "exited",
            "pid": record.pid if record.ended_at is None else None,
            "started_at": stamp(record.started_at),
            "ended_at": None if record.ended_at is None else stamp(record.ended_at),
            "exit_code": record.exit_code,
            "end": record.detail,
        }
    return {key: value for key, value in facts.items() if value not in (None, "", [])}


def depends_on(program: Program, *, inherited: Mapping[str, str], runs: bool) -> dict[str, Thing]:
    """Return what to look at on this host, by its name among the circumstances."""
    command, *arguments = program.command
    directory = str(program.cwd or os.curdir)
    path = {**inherited, **program.environment}.get("PATH", os.defpath)
    things: dict[str, Thing] = {"program": Executable(name=command, directory=directory, search=path)}
    if program.cwd is not None:
        things[f"directory {program.cwd}"] = Place(path=str(program.cwd))
    if port := port_asked(arguments, is_held=runs):
        things[port_key(port)] = port
    named = paths_named(arguments, directory=directory)
    return dict(islice((things | {path: File(path=path) for path in named}).items(), MOST))
