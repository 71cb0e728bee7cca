"""What the checks look at: the settings, the daemon's own word where it answers, the engine, this machine's sockets.

Whatever several checks need is asked once, by the first, and the others wait for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from supervisor.doctor import unit_files
from supervisor.doctor.account import PROC, Account, of_daemon
from supervisor.doctor.listeners import Listener, listeners
from supervisor.doctor.restarting import is_restarter
from supervisor.doctor.unit_files import OUR_UNIT
from supervisor.engines.docker_survey import Survey, survey
from supervisor.settings import BackendSettings, RouterSettings, Settings, TargetSettings

T = TypeVar("T")
CALL_S = 3.0  # one question to an engine or a server


class Once(Generic[T]):
    """Something that is found out once, by whoever needs it first."""

    def __init__(self, find: Callable[[], T]) -> None:
        self._find = find
        self._lock = Lock()
        self._found: list[T] = []

    def __call__(self) -> T:
        """Return it, when it is known."""
        with self._lock:
            if not self._found:
                self._found.append(self._find())
            return self._found[0]


@dataclass(kw_only=True)
class Around:
    """Everything that a check may look at; `status` is None where no daemon answers."""

    settings: Settings
    path: Path  # of the settings
    status: Mapping[str, Any] | None = None
    silence: str = ""  # why none does
    label_problems: tuple[str, ...] = ()  # of containers that are to be found by their labels
    names: frozenset[str] = frozenset()  # the targets that are asked about; empty: all
    root: Path = Path("/")
    proc: Path = PROC
    unit: dict[str, str] = field(init=False)  # our own, as it is written
    account: Account = field(init=False)
    engine: Once[Survey] = field(init=False)
    listeners: Once[list[Listener]] = field(init=False)

    def __post_init__(self) -> None:
        self.unit = unit_files.of_unit(OUR_UNIT, self.root)
        self.account = of_daemon(self.status, self.unit)
        self.engine = Once(self._survey)
        self.listeners = Once(lambda: listeners(self.proc))

    @property
    def targets(self) -> list[TargetSettings]:
        """The targets that are asked about."""
        return [each for each in self.settings.targets if not self.names or each.name in self.names]

    @property
    def backends(self) -> list[BackendSettings]:
        """Those of them that are model servers."""
        return [each for each in self.targets if isinstance(each, BackendSettings)]

    @property
    def routers(self) -> list[RouterSettings]:
        """Those of them that are routers."""
        return [each for each in self.targets if isinstance(each, RouterSettings)]

    def uses(self, engine: str) -> bool:
        """Whether some target has this engine."""
        return any(each.engine == engine for each in self.settings.targets)

    def told(self, name: str) -> Mapping[str, Any]:
        """Return what the daemon tells of a target, nothing where it does not."""
        targets = (self.status or {}).get("targets") or []
        return next((each for each in targets if each.get("name") == name), {})

    def container(self, target: TargetSettings) -> Mapping[str, Any] | None:
        """Return what the engine says of a target's container."""
        return self.engine().inspected.get(target.engine_name) if target.engine == "docker" else None

    def _survey(self) -> Survey:
        names = tuple(each.engine_name for each in self.settings.targets if each.engine == "docker")
        return survey(self.settings.docker.host, wanted=is_restarter, names=names, timeout_s=CALL_S)
