"""The shape of the settings: frozen, with every key, its type and its default. `settings_file.py` reads them.

Nothing here looks at a file, the network or an engine.
"""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, create_model
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from supervisor.core.policy import Policy

ENV_PREFIX = "BENCHAI_SUPERVISOR_"
DEFAULT_FILE = Path("/etc/benchai-supervisor/settings.toml")
# Read by the commands themselves, not settings of the daemon.
OTHER_ENV = {f"{ENV_PREFIX}SETTINGS", f"{ENV_PREFIX}SERVER", f"{ENV_PREFIX}TOKEN"}

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MAX_SHOWN = 120

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen part of the file that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=False)


class DaemonSettings(Section):
    """Where the daemon keeps what it must not forget, and how it talks."""

    state_dir: Path = Path("/var/lib/benchai-supervisor")
    liveness_file: Path = Path("/run/benchai-supervisor/liveness.json")
    valid_for_s: Positive = 15.0
    log_level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class HttpSettings(Section):
    """The daemon's own HTTP server."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8090  # 0: any free one
    socket: Path = Path("/run/benchai-supervisor/control.sock")
    token: SecretStr = SecretStr("")


class DockerSettings(Section):
    """The Docker engine."""

    host: Annotated[str, Field(min_length=1)] = "unix:///var/run/docker.sock"
    timeout_s: Positive = 10.0
    workers: Annotated[int, Field(ge=1, le=64)] = 4


class ProcessSettings(Section):
    """Targets that we run ourselves."""

    log_max_bytes: Annotated[int, Field(ge=4096)] = 10_000_000
    log_backups: Annotated[int, Field(ge=0, le=100)] = 3
    stop_on_exit: bool = False


# The core owns the names, the types and the defaults; here they only gain "greater than zero".
_policy_fields: dict[str, Any] = {
    f.name: (Annotated[f.type, Field(gt=0, allow_inf_nan=False)], f.default) for f in fields(Policy)
}
PolicySettings = create_model("PolicySettings", __base__=Section, **_policy_fields)


class TargetSettings(Section):
    """What backends and routers have in common."""

    name: Name
    url: str
    engine: Literal["docker", "process", "none"] = "docker"
    container: str | None = None
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    progress: Literal["llama.cpp", "none"] = "llama.cpp"
    api_key: SecretStr = SecretStr("")
    canary_model: str | None = None
    canary_max_tokens: Annotated[int, Field(ge=1, le=256)] = 4
    error_patterns: tuple[str, ...] = ()
    policy: dict[str, Any] = {}

    @property
    def engine_name(self) -> str:
        """What the engine calls this target."""
        return self.container or self.name


class BackendSettings(TargetSettings):
    """A model server. `models` are the aliases it serves, as clients ask for them."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]


class RouterSettings(TargetSettings):
    """What clients talk to."""

    engine: Literal["docker", "process", "none"] = "none"
    progress: Literal["llama.cpp", "none"] = "none"


class Settings(BaseSettings):
    """Everything there is to set, in the order of settings.toml."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENV_PREFIX, env_nested_delimiter="__", case_sensitive=False
    )

    daemon: DaemonSettings = DaemonSettings()
    http: HttpSettings = HttpSettings()
    docker: DockerSettings = DockerSettings()
    process: ProcessSettings = ProcessSettings()
    policy: dict[str, Any] = {}
    backends: tuple[BackendSettings, ...] = ()
    routers: tuple[RouterSettings, ...] = ()

    @property
    def targets(self) -> tuple[TargetSettings, ...]:
        """Backends and routers, in the order of the file."""
        return (*self.backends, *self.routers)

    def policy_of(self, target: TargetSettings) -> Policy:
        """Return the policy that holds for `target`: its own keys over the common ones over the defaults."""
        return Policy(**PolicySettings(**{**self.policy, **target.policy}).model_dump())

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
