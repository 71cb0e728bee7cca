"""What the Docker engine's own words mean: the state of a container, and whether somebody asked for its end.

Pure: reads what the engine answered and asks it nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.arguments import SLEEP_VARIABLE, sleep_idle_s
from supervisor.engines.masked import without_secrets

Attributes = Mapping[str, Any]  # as the engine's JSON has it

# Signals that by custom tell a server something and leave it running: HUP, USR1, USR2, CONT, STOP, TSTP, URG, WINCH.
HARMLESS_SIGNALS = frozenset({1, 10, 12, 18, 19, 20, 23, 28})
KILLED_BY = 128  # the exit code of what signal n ended is 128 + n
LONGEST_GRACE_S = 300.0  # that anyone is expected to give, from the kill to the death
GPU_DEVICES = ("/dev/nvidia", "/dev/dri", "/dev/kfd", "/dev/dxg")  # device files by which a container has a GPU
# The engine brings these back by itself whatever they died of, so one that stays down was stopped by hand. It leaves no
# other trace where that happened between two of its own restarts, or before the engine was restarted.
TIRELESS_POLICIES = frozenset({"always", "unless-stopped"})

MEMORY_EVENTS = 256  # how many the engine keeps

LIVES = {
    "running": Life.RUNNING,
    "paused": Life.PAUSED,
    "restarting": Life.RESTARTING,
    "created": Life.EXITED,
    "exited": Life.EXITED,
    "removing": Life.EXITED,
    "dead": Life.EXITED,
}
REMOVED = ("removing", "dead")  # dead: the engine could not remove it


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEvent:
    """One event of the engine about a container; `at` is the engine's clock, seconds since the epoch."""

    id: str
    names: tuple[str, ...]
    action: str
    at: float
    signal: int | None = None
    exit_code: int | None = None

    @property
    def is_meant_to_end(self) -> bool:
        """Whether somebody asked for the container's end."""
        return self.action == "stop" or (self.action == "kill" and self.signal not in HARMLESS_SIGNALS)

    def __str__(self) -> str:
        if self.signal is not None:
            return f"{self.action} (signal {self.signal})"
        return self.action if self.exit_code is None else f"{self.action} (exit code {self.exit_code})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the engine still knows of the past: its last events, about everything."""

    events: tuple[ContainerEvent, ...]
    keeps_containers: bool  # its containers survive its own end (live-restore)
    asked_at: float = 0.0  # by the engine's clock

    @property
    def goes_back_to_start(self) -> bool:
        """Whether nothing has been forgotten since the engine was started."""
        return len(self.events) < MEMORY_EVENTS


def read_event(event: Attributes) -> ContainerEvent:
    """Read one event; a rename carries both names."""
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    names = (attributes.get("name", ""), attributes.get("oldName", ""))
    return ContainerEvent(
        id=actor.get("ID", ""),
        names=tuple(name.removeprefix("/") for name in names if name),
        action=event.get("Action", ""),
        at=event.get("timeNano", 0) / 1e9,
        signal=_number(attributes.get("signal")),
        exit_code=_number(attributes.get("exitCode")),
    )


def read_container(container: Attributes, *, now: float) -> EngineSeen:
    """Return what an inspection says, but for who asked for an end; `now` is wall time."""
    state = container["State"]
    # Podman, which answers to the same API, has words of its own.
    life = LIVES.get(state["Status"]) or (Life.RUNNING if state["Running"] else Life.EXITED)
    started, ended = read_time(state["StartedAt"]), read_time(state["FinishedAt"])
    runs = life in (Life.RUNNING, Life.PAUSED)
    if state["Status"] == "created" and not state.get("Error"):
        life = Life.CREATED  # Compose may be waiting for what it depends on
    return EngineSeen(
        life=life,
        instance=f"{container['Id'][:12]}@{stamp(started)}" if started else None,
        age_s=max(0.0, now - started.timestamp()) if runs and started else None,
        pid=state["Pid"] or None,
        started_at=stamp(started) if started else None,
        ended_at=stamp(ended) if ended and not runs else None,
        exit_code=state["ExitCode"] if life is Life.EXITED and (started or state.get("Error")) else None,
        oom_killed=state["OOMKilled"],
        uses_gpu=_uses_gpu(container),
        sleep_idle_s=_sleep_idle_s(container),
        restart_policy=_restart_policy(container),
        detail=without_secrets(state.get("Error") or "")
        or ("being removed by somebody" if state["Status"] in REMOVED else ""),
    )


def _uses_gpu(container: Attributes) -> bool | None:
    """Return whether it was given a GPU, whoever made that; None where it has every device of the host."""
    host = container.get("HostConfig") or {}
    paths = [str(each.get("PathOnHost", "")) for each in host.get("Devices") or []]
    asked = bool(host.get("DeviceRequests")) or host.get("Runtime") == "nvidia"
    if asked or any(path.startswith(GPU_DEVICES) for path in paths):
        return True
    return None if host.get("Privileged") else False


def _restart_policy(container: Attributes) -> str | None:
    policy = (container.get("HostConfig") or {}).get("RestartPolicy") or {}
    return policy["Name"] if policy.get("Name") not in (None, "", "no") else None


def was_asked_to_end(container: Attributes, memory: Memory, *, ours: Counter[int] | None = None) -> bool:
    """Return whether somebody, rather than a fault, ended a container.

    `ours` is how often which signal was sent through us: those are no wish for its end.
    """
    state = container["State"]
    if state["Status"] in REMOVED:
        return True
    started, ended = read_time(state["StartedAt"]), read_time(state["FinishedAt"])
    if started is None or ended is None:
        return False
    if state.get("Error"):
        # Whoever ended it wanted it to run again at once, and that start failed: the engine forgets the error with the
        # next start that does not, and has nothing to stop before.
        return False
    since = max(started.timestamp(), ended.timestamp() - LONGEST_GRACE_S)
    about_it = [event for event in memory.events if event.id == container["Id"]]
    told = _without(ours or Counter(), [event for event in about_it if event.at >= since])
    if any(_asks(event, exit_code=state["ExitCode"]) for event in told):
        return not _was_ended_by_engine(about_it, memory)
    if ours:
        return False  # a signal through the engine ends its policy too, for this life
    policy = (container["HostConfig"].get("RestartPolicy") or {}).get("Name")
    return policy in TIRELESS_POLICIES


def is_told_to_end(container: Attributes, memory: Memory) -> bool:
    """Return whether somebody has told a container to end that still lives, lately enough for it to be on its way."""
    started = read_time(container["State"]["StartedAt"])
    since = max(started.timestamp() if started else 0.0, memory.asked_at - LONGEST_GRACE_S)
    return any(event.is_meant_to_end for event in memory.events if event.id == container["Id"] and event.at >= since)


def read_time(text: str) -> datetime | None:
    """Return a time as the engine writes it (nanoseconds, cut to microseconds); its year 1 stands for "never"."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.year > 1 else None


def stamp(moment: datetime) -> str:
    """Return ISO 8601, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sleep_idle_s(container: Attributes) -> float | None:
    """Return what its command and its environment say; of the latter, which holds secrets, one variable is read."""
    arguments = [container.get("Path") or "", *(container.get("Args") or [])]
    variables = (container.get("Config") or {}).get("Env") or []
    pairs = (each.partition("=") for each in variables)
    return sleep_idle_s(arguments, {name: value for name, _, value in pairs if name == SLEEP_VARIABLE})


def _asks(event: ContainerEvent, *, exit_code: int) -> bool:
    # A signal that is harmless by custom did end a container which has no handler for it.
    return event.is_meant_to_end or (event.signal is not None and exit_code == KILLED_BY + event.signal)


def _was_ended_by_engine(about_it: list[ContainerEvent], memory: Memory) -> bool:
    """Return whether an engine that started anew after a crash stopped a container which had survived that crash.

    It does so with the same events as an operator, and before it takes any call. Its mark is a container that was ended
    in this life of the engine, and never started in it.
    """
    was_started = any(event.action == "start" for event in about_it)
    return memory.goes_back_to_start and not memory.keeps_containers and not was_started


def _without(ours: Counter[int], events: list[ContainerEvent]) -> list[ContainerEvent]:
    """Return the events but for so many kills by each signal: the engine does not tell whose they were."""
    left, told = ours.copy(), list[ContainerEvent]()
    for event in events:
        if event.action == "kill" and event.signal is not None and left[event.signal] > 0:
            left[event.signal] -= 1
        else:
            told.append(event)
    return told


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
