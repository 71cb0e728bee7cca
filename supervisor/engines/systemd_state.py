"""What systemd's own words mean: the state of a service, how its last life ended, and whether somebody asked for that.

Pure: reads the properties that systemd told and asks it nothing. Its own clock (monotonic, microseconds) orders what
happened.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.arguments import SLEEP_VARIABLE, sleep_idle_s
from supervisor.engines.systemd_ends import Times, has_given_up, how_it_ended, was_asked_to_end

Properties = Mapping[str, Any]

ENDED = frozenset({"inactive", "failed", "maintenance"})
BEFORE_ITS_MAIN_PROCESS = frozenset({"condition", "start-pre"})
MASKED, LOADED, NOT_FOUND = "masked", "loaded", "not-found"
FROZEN = ("frozen", "freezing")  # newer ones add "-by-parent"


def read_unit(unit: Properties, *, monotonic_s: float) -> EngineSeen:
    """Return what systemd tells of a unit, but for what an earlier daemon of ours did to it."""
    life = life_of(unit)
    has_ended = life in (Life.EXITED, Life.RESTARTING)
    times = Times.of(unit)
    instance = instance_of(unit)
    return EngineSeen(
        life=life,
        instance=instance,
        age_s=max(0.0, monotonic_s - _began_us(unit, times) / 1e6) if life in (Life.RUNNING, Life.PAUSED) else None,
        pid=unit.get("MainPID") or None,
        started_at=started_at(unit) if instance else None,
        ended_at=ended_at(unit) if has_ended and instance else None,
        exit_code=how_it_ended(unit) if has_ended and instance else None,
        oom_killed=unit.get("Result") == "oom-kill" and has_ended,
        stopped_by_operator=_is_by_somebody(unit, life),
        sleep_idle_s=_sleep_idle_s(unit),
        restart_policy=policy if (policy := unit.get("Restart", "no")) != "no" else None,
        detail=detail(unit) if has_ended else "",
    )


def is_missing(unit: Properties) -> bool:
    """Return whether systemd has nothing of that name; the file of one that still runs may be gone."""
    return unit["LoadState"] == NOT_FOUND and unit["ActiveState"] in ENDED


def life_of(unit: Properties) -> Life:
    """Return whether it lives."""
    if "auto-restart" in unit["SubState"]:
        return Life.RESTARTING
    if unit["ActiveState"] in ENDED:
        is_new = not unit.get("InvocationID") and unit["LoadState"] == LOADED
        return Life.CREATED if is_new else Life.EXITED
    if str(unit.get("FreezerState", "")).startswith(FROZEN):
        return Life.PAUSED
    return Life.RUNNING


def is_leaving(unit: Properties) -> bool:
    """Return whether it is being stopped because somebody asked for that, and not for what it did."""
    job_id = unit.get("Job", (0, "/"))[0]
    return unit["ActiveState"] == "deactivating" and bool(job_id) and unit.get("Result") == "success"


def instance_of(unit: Properties) -> str | None:
    """Return the name of its present or last life."""
    invocation = bytes(unit.get("InvocationID") or b"").hex()
    return f"{invocation[:12]}@{started_at(unit)}" if invocation else None


def started_at(unit: Properties) -> str:
    """Return when its main process was started; while something else runs before that, when it left being inactive."""
    key = "InactiveExit" if _has_no_main_yet(unit) else "ExecMainStart"
    return stamp(unit.get(f"{key}Timestamp", 0))


def ended_at(unit: Properties) -> str:
    """Return when its main process ended, or the whole of it where that had none."""
    times = Times.of(unit)
    has_ended = times.main_exit >= times.main_start > 0 and not times.ended_before_main
    return stamp(unit["ExecMainExitTimestamp" if has_ended else "InactiveEnterTimestamp"])


def detail(unit: Properties) -> str:
    """Return systemd's account of an end that an exit code does not tell."""
    load_error = unit.get("LoadError", ("", ""))
    if unit["LoadState"] == MASKED:
        return f"masked by somebody; `systemctl unmask {unit['Id']}` lets it be started again"
    if unit["LoadState"] not in (LOADED, NOT_FOUND):
        return f"systemd cannot use its unit file: {load_error[1] or unit['LoadState']}"
    times, result = Times.of(unit), unit.get("Result")
    if times.ended_before_main and result != "success":
        return f"what runs before it failed: {times.failed_before_main} ({times.code_before_main})"
    if result == "watchdog":
        return f"systemd ended it: no watchdog ping within {_seconds(unit, 'WatchdogUSec')}s"
    if result == "timeout" and times.active_exit < times.main_start:
        return f"systemd ended it: not ready within its TimeoutStartSec ({_seconds(unit, 'TimeoutStartUSec')}s)"
    if has_given_up(unit):
        most, within_s = unit.get("StartLimitBurst"), _seconds(unit, "StartLimitIntervalUSec")
        return f"systemd starts it no more: {most} times in {within_s}s are its limit (StartLimitBurst)"
    return ""


def stamp(at_us: int) -> str:
    """Return ISO 8601, UTC, milliseconds."""
    moment = datetime.fromtimestamp(at_us / 1e6, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def arguments(unit: Properties) -> list[str]:
    """Return the command line of its main process."""
    commands = unit.get("ExecStart") or []
    return [str(word) for word in commands[-1][1]] if commands else []


def program(unit: Properties) -> str:
    """Return the file of its main process."""
    commands = unit.get("ExecStart") or []
    return str(commands[-1][0]) if commands else ""


def _is_by_somebody(unit: Properties, life: Life) -> bool:
    if life is Life.PAUSED:
        return True  # we never freeze
    if life is Life.EXITED:
        return unit["LoadState"] == MASKED or was_asked_to_end(unit)
    return life is Life.RUNNING and is_leaving(unit)


def _has_no_main_yet(unit: Properties) -> bool:
    return unit["SubState"] in BEFORE_ITS_MAIN_PROCESS or not unit.get("ExecMainStartTimestamp")


def _began_us(unit: Properties, times: Times) -> int:
    return times.inactive_exit if _has_no_main_yet(unit) else times.main_start


def _seconds(unit: Properties, key: str) -> str:
    return f"{unit.get(key, 0) / 1e6:g}"


def _sleep_idle_s(unit: Properties) -> float | None:
    """Return what its command and its environment say; of the latter, which holds secrets, one variable is read."""
    pairs = (str(each).partition("=") for each in unit.get("Environment") or [])
    return sleep_idle_s(arguments(unit), {name: value for name, _, value in pairs if name == SLEEP_VARIABLE})
