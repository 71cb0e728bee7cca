"""The shape of the settings: frozen, with every key, its type and its default. `settings_file.py` reads them.

Nothing here looks at a file, the network or an engine.
"""

from dataclasses import fields
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, create_model
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from supervisor.core.policy import Policy
from supervisor.core.restraint import DAYS, Day

ENV_PREFIX = "BENCHAI_SUPERVISOR_"
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
SERVICE = ".service"  # the only kind of systemd's units that is a target
YEAR_S = 31_536_000  # nobody means more, and calendars end


def _a_number(value: Any) -> Any:
    """Refuse true and false, which pydantic takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic wants a ValueError
    return value


Number = BeforeValidator(_a_number)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=63)]
Unit = Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.@\\-]+$", max_length=255)]
Text = Annotated[str, Field(min_length=1)]
Progress = Literal["auto", "llama.cpp", "llama-cpp-python", "vllm", "sglang", "tgi", "ollama", "none"]
CanaryKind = Literal["chat", "completion", "embeddings", "vision"]
Positive = Annotated[float, Number, Field(gt=0, le=YEAR_S, allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen part of the file that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=False)


class DaemonSettings(Section):
    """Where the daemon keeps what it must not forget, and how it talks."""

    state_dir: Path = Path("/var/lib/benchai-supervisor")
    liveness_file: Path = Path("/run/benchai-supervisor/liveness.json")
    mode: Literal["enforce", "observe"] = "enforce"
    valid_for_s: Positive = 15.0
    log_level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "text", "json"] = "auto"


class HttpSettings(Section):
    """The daemon's own HTTP server."""

    host: Text = "127.0.0.1"
    port: Annotated[int, Number, Field(ge=0, le=65535)] = 8090  # 0: any free one
    socket: Path = Path("/run/benchai-supervisor/control.sock")
    token: SecretStr = SecretStr("")


class AgentSettings(Section):
    """The port that HAProxy's agent checks ask."""

    host: Text = "127.0.0.1"
    port: Annotated[int, Number, Field(ge=0, le=65535)] = 0  # 0: not served


class DockerSettings(Section):
    """The Docker engine."""

    host: Text = "unix:///var/run/docker.sock"
    timeout_s: Positive = 10.0
    workers: Annotated[int, Number, Field(ge=1, le=64)] = 8
    discover: bool = False
    discover_label: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=255)] = (
        "benchai.supervisor.enable"
    )
    discover_grace_s: Positive = 60.0


class SystemdSettings(Section):
    """systemd, by the system bus."""

    bus: Text = SYSTEM_BUS
    timeout_s: Positive = 10.0


class ProcessSettings(Section):
    """Targets that we run ourselves."""

    log_max_bytes: Annotated[int, Number, Field(ge=4096)] = 10_000_000
    log_backups: Annotated[int, Number, Field(ge=0, le=100)] = 3
    stop_on_exit: bool = False


class RecoverySettings(Section):
    """What holds for restarts on this host, whichever target they are of."""

    restarts_at_once: Annotated[int, Number, Field(ge=1, le=64)] = 1
    shared_share: Annotated[float, Number, Field(gt=0, le=1)] = 0.5
    shared_window_s: Positive = 10.0
    shared_freeze_s: Positive = 30.0
    vram_given_back_s: Positive = 10.0


class MaintenanceSettings(Section):
    """A window in which nothing is restarted by us; local time."""

    begins: time
    ends: time
    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    targets: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None  # None: all of them
    why: str = ""


if TYPE_CHECKING:

    class PolicySettings(Section):
        """Any keys of `Policy`; which of them were written is what counts."""
else:
    # The core owns the names, the types and the defaults; here they only gain their bounds.
    _bounds = (Number, Field(gt=0, le=YEAR_S, allow_inf_nan=False))
    _keys = {f.name: (Annotated[f.type, *_bounds], f.default) for f in fields(Policy)}
    PolicySettings = create_model("PolicySettings", __base__=Section, **_keys)


class TargetSettings(Section):
    """What backends and routers have in common."""

    name: Name
    url: str
    engine: Literal["docker", "process", "systemd", "none"] = "docker"
    container: str | None = None
    unit: Unit | None = None
    command: tuple[Text, ...] = ()
    environment: dict[str, str] = {}
    gpu_group: Name | None = None
    gpu_exclusive: bool = False
    progress: Progress = "auto"
    sleeps_after_s: Positive | None = None
    api_key: SecretStr = SecretStr("")
    canary: CanaryKind = "chat"
    canary_model: str | None = None
    canary_max_tokens: Annotated[int, Number, Field(ge=1, le=256)] = 4
    error_patterns: tuple[Text, ...] = ()
    errors_of: tuple[Literal["benchai"], ...] = ()
    policy: PolicySettings = PolicySettings()

    @property
    def engine_name(self) -> str:
        """What the engine calls this target."""
        if self.engine == "systemd":
            unit = self.unit or self.name
            return unit if unit.endswith(SERVICE) else f"{unit}{SERVICE}"
        return self.container or self.name


class BackendSettings(TargetSettings):
    """A model server. `models` are the aliases it serves, as clients ask for them; a stand-in has the other's."""

    models: tuple[Text, ...] = ()
    stands_in_for: Name | None = None


class RouterSettings(TargetSettings):
    """What clients talk to. `models` are the aliases that it is asked for in turn; default: those of all backends."""

    models: tuple[Text, ...] = ()
    engine: Literal["docker", "process", "systemd", "none"] = "none"
    progress: Progress = "none"
    errors_of: tuple[Literal["benchai"], ...] = ("benchai",)


class Settings(BaseSettings):
    """Everything there is to set, in the order of settings.toml."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENV_PREFIX, env_nested_delimiter="__", case_sensitive=False
    )

    daemon: DaemonSettings = DaemonSettings()
    http: HttpSettings = HttpSettings()
    agent: AgentSettings = AgentSettings()
    docker: DockerSettings = DockerSettings()
    systemd: SystemdSettings = SystemdSettings()
    process: ProcessSettings = ProcessSettings()
    recovery: RecoverySettings = RecoverySettings()
    maintenance: tuple[MaintenanceSettings, ...] = ()
    policy: PolicySettings = PolicySettings()
    backends: tuple[BackendSettings, ...] = ()
    routers: tuple[RouterSettings, ...] = ()

    @property
    def targets(self) -> tuple[TargetSettings, ...]:
        """Backends and routers, in the order of the file."""
        return (*self.backends, *self.routers)

    def models_of(self, target: TargetSettings) -> tuple[str, ...]:
        """Return the aliases of `target`: its own, or those of the one it stands in for; none of a router."""
        if not isinstance(target, BackendSettings):
            return ()
        first = next((each for each in self.backends if each.name == target.stands_in_for), None)
        return target.models or (first.models if first else ())

    def ways_through(self, router: RouterSettings) -> dict[str, CanaryKind]:
        """Return the aliases that `router` is asked for, in turn, each with what is asked of whoever has it.

        Where nobody says otherwise those that can be asked for a chat: many a router knows no other path.
        """
        kinds = {alias: each.canary for each in self.backends for alias in self.models_of(each)}
        if router.models or router.canary_model:
            wanted = router.models or (router.canary_model or "",)
            return {alias: kinds.get(alias, router.canary) for alias in wanted}
        return {alias: kind for alias, kind in kinds.items() if kind in ("chat", "vision")} or kinds

    def policy_of(self, target: TargetSettings | None = None) -> Policy:
        """Return the policy that holds for `target`: its own keys over the common ones over the defaults."""
        own = target.policy.model_dump(exclude_unset=True) if target else {}
        return Policy(**{**self.policy.model_dump(exclude_unset=True), **own})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings names them
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; `init_settings` carries the file's path."""
        return env_settings, init_settings
