"""Put the parts together as the settings say. The only place that knows every engine and probe by name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from supervisor.core.policy import Policy
from supervisor.core.restraint import EVERY, Window
from supervisor.core.shared import Freeze
from supervisor.core.state import FIRST, STOPPED_BY_HAND, Phase, State
from supervisor.engines.base import Engine
from supervisor.engines.docker import DockerEngine
from supervisor.engines.docker_pool import UNIX
from supervisor.engines.masked import MASK, masked
from supervisor.engines.none import NoEngine
from supervisor.engines.process import ProcessEngine, Program
from supervisor.engines.systemd import SystemdEngine
from supervisor.guard import Rules
from supervisor.history.store import Memory
from supervisor.messages import Identity
from supervisor.probes import http
from supervisor.probes.answer import Checker
from supervisor.probes.base import CanaryProbe, Easing, ProgressProbe
from supervisor.probes.canary import Canary
from supervisor.probes.easing import ModelEasing
from supervisor.probes.known_errors import KNOWN_AS_BUSY, KNOWN_ERRORS
from supervisor.probes.witness import witness
from supervisor.settings import BackendSettings, CanaryKind, RouterSettings, Settings, TargetSettings

# What decides which server is looked at, and how: where one of these differs, nothing that was seen so far counts.
WHICH_SERVER = ("url", "engine", "engine_name", "api_key", "progress", "canary_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the settings as a whole mean for one target; two that are equal make the same target."""

    wanted: TargetSettings
    models: tuple[str, ...]
    policy: Policy
    ways: Mapping[str, CanaryKind]  # what a router is asked for, which the backends decide
    is_on_this_host: bool  # else neither its processes nor its GPUs are ours to see
    given_back_s: float  # how long the GPU memory of a life that has ended is waited for

    def is_of_same_server(self, other: "Plan") -> bool:
        """Whether what was seen by the other plan is true by this one."""
        mine, its = self.wanted, other.wanted
        is_alike = type(mine) is type(its) and bool(self.ways) == bool(other.ways)
        return is_alike and all(getattr(mine, key) == getattr(its, key) for key in WHICH_SERVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target's parts."""

    plan: Plan
    identity: Identity
    policy: Policy
    engine: Engine
    engine_name: str
    client: httpx.AsyncClient
    progress: ProgressProbe | None
    canary: CanaryProbe
    easing: Easing | None  # a router has no model of its own to end
    secret: str
    ways: tuple[str, ...] = ()  # the aliases that a router is asked for, in turn

    @property
    def is_on_this_host(self) -> bool:
        """Whether its processes and its GPUs are ours to see."""
        return self.plan.is_on_this_host


def engines(settings: Settings, known: Mapping[str, Engine] | None = None) -> dict[str, Engine]:
    """Return every engine that some target needs, by the settings' word for it; those that are `known` stay."""
    makers: dict[str, Callable[[], Engine]] = {
        "docker": lambda: _docker(settings),
        "process": lambda: _process(settings),
        "systemd": lambda: SystemdEngine(bus=settings.systemd.bus, timeout_s=settings.systemd.timeout_s),
        "none": NoEngine,
    }
    there = dict(known or {})
    wanted = [each.engine for each in settings.targets] + ["docker"] * settings.docker.discover
    return there | {word: makers[word]() for word in dict.fromkeys(wanted) if word not in there}


def plan(settings: Settings, wanted: TargetSettings) -> Plan:
    """Return what the settings mean for one target."""
    return Plan(
        wanted=wanted,
        models=settings.models_of(wanted),
        policy=settings.policy_of(wanted),
        ways=settings.ways_through(wanted) if isinstance(wanted, RouterSettings) else {},
        is_on_this_host=_is_on_this_host(settings, wanted),
        given_back_s=settings.recovery.vram_given_back_s,
    )


def target(settings: Settings, wanted: TargetSettings, known: Mapping[str, Engine]) -> Target:
    """Return the parts of one target."""
    planned = plan(settings, wanted)
    client = http.client(wanted.url, api_key=wanted.api_key.get_secret_value())
    progress = witness(wanted.progress, client, model=wanted.canary_model)
    return _target(planned, known[wanted.engine], client, progress)


def changed(before: Target, after: Plan) -> Target:
    """Return the parts of a target by another plan for the same server: what looks at it stays."""
    return _target(after, before.engine, before.client, before.progress)


def _target(planned: Plan, engine: Engine, client: httpx.AsyncClient, progress: ProgressProbe | None) -> Target:
    wanted = planned.wanted
    is_backend = isinstance(wanted, BackendSettings)
    model = wanted.canary_model or (planned.models[0] if planned.models else "auto")
    return Target(
        plan=planned,
        identity=Identity(
            name=wanted.name,
            kind="backend" if is_backend else "router",
            url=wanted.url.rstrip("/"),
            models=planned.models,
            restartable=wanted.engine != "none",
            has_counters=progress is not None,
            sleeps_after_s=wanted.sleeps_after_s,
            stands_in_for=wanted.stands_in_for if isinstance(wanted, BackendSettings) else None,
        ),
        policy=planned.policy,
        engine=engine,
        engine_name=wanted.engine_name,
        client=client,
        progress=progress,
        canary=Canary(
            client,
            kind=wanted.canary,
            kinds=planned.ways,
            model=model,
            max_tokens=wanted.canary_max_tokens,
            checker=_checker(wanted),
        ),
        easing=ModelEasing(client, model=model) if is_backend else None,
        secret=wanted.api_key.get_secret_value(),
        ways=tuple(planned.ways),
    )


def rules(settings: Settings) -> Rules:
    """Return how we hold ourselves back."""
    recovery = settings.recovery
    windows = (
        Window(
            begins=each.begins,
            ends=each.ends,
            days=frozenset(each.days),
            targets=frozenset(each.targets or {EVERY}),
            why=each.why,
        )
        for each in settings.maintenance
    )
    return Rules(
        observes=settings.daemon.mode == "observe",
        restarts_at_once=recovery.restarts_at_once,
        freeze=Freeze(share=recovery.shared_share, window_s=recovery.shared_window_s, lasts_s=recovery.shared_freeze_s),
        windows=tuple(windows),
        groups={each.name: each.gpu_group for each in settings.targets if each.gpu_group},
        stand_ins={each.name: each.stands_in_for for each in settings.backends if each.stands_in_for},
    )


def restartable(settings: Settings) -> tuple[str, ...]:
    """Return the backends that we might restart, whose troubles may be one."""
    return tuple(each.name for each in settings.backends if each.engine != "none")


def programs(settings: Settings) -> dict[str, Program]:
    """Return the commands that we run ourselves."""
    return {
        each.engine_name: Program(command=each.command, environment=each.environment, cwd=Path.cwd())
        for each in settings.targets
        if each.engine == "process"
    }


def exclusive(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return those of which one at most may run on their GPU, themselves included, by each of their names."""
    groups: dict[str, tuple[str, ...]] = {}
    for each in settings.targets:
        if each.gpu_exclusive and each.gpu_group:
            groups[each.gpu_group] = (*groups.get(each.gpu_group, ()), each.name)
    return {name: members for members in groups.values() for name in members}


def secrets(settings: Settings) -> tuple[str, ...]:
    """Return what no log may hold: our token, servers' keys, and what their commands and environments carry."""
    keys = [settings.http.token, *(each.api_key for each in settings.targets)]
    given = [value for each in settings.targets for value in _given_secretly(each)]
    return (*(key.get_secret_value() for key in keys), *given)


def _given_secretly(wanted: TargetSettings) -> list[str]:
    variables = [
        value for name, value in wanted.environment.items() if masked([f"{name}={value}"]) != [f"{name}={value}"]
    ]
    arguments = [each for each, shown in zip(wanted.command, masked(wanted.command), strict=False) if shown == MASK]
    return [*variables, *arguments]


def first_state(identity: Identity, memory: Memory, *, now: float) -> State:
    """Return where a target begins: what an operator stopped stays stopped, and earlier restarts still count."""
    was_stopped = memory.phase in (Phase.STOPPED, Phase.STOPPING)
    return State(
        phase=Phase.STOPPED if was_stopped else Phase.UNKNOWN,
        judgement=STOPPED_BY_HAND if was_stopped else FIRST,
        since=now,
        restartable=identity.restartable,
        restarts=tuple(now - age_s for age_s in memory.restart_ages_s),
        in_a_row=len(memory.restart_ages_s),
        for_need=memory.for_need and identity.stands_in_for is not None,
    )


def _is_on_this_host(settings: Settings, wanted: TargetSettings) -> bool:
    match wanted.engine:
        case "docker":
            return settings.docker.host.startswith(UNIX)
        case "systemd":
            return settings.systemd.bus.startswith("unix:")
        case "process" | "none":
            return True


def _checker(wanted: TargetSettings) -> Checker:
    errors = (pattern for name in wanted.errors_of for pattern in KNOWN_ERRORS[name])
    busy = (pattern for name in wanted.errors_of for pattern in KNOWN_AS_BUSY[name])
    return Checker(
        error_patterns=tuple(re.compile(pattern) for pattern in (*wanted.error_patterns, *errors)),
        busy_patterns=tuple(re.compile(pattern) for pattern in busy),
    )


def _docker(settings: Settings) -> DockerEngine:
    return DockerEngine(host=settings.docker.host, timeout_s=settings.docker.timeout_s, workers=settings.docker.workers)


def _process(settings: Settings) -> ProcessEngine:
    return ProcessEngine(
        programs=programs(settings),
        state_dir=settings.daemon.state_dir,
        log_max_bytes=settings.process.log_max_bytes,
        log_backups=settings.process.log_backups,
        stop_on_exit=settings.process.stop_on_exit,
    )
