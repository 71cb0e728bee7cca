"""Look at a settings file alone: no daemon, no engine, no network. Both commands say what is wrong in these words."""

from dataclasses import dataclass
from pathlib import Path

from supervisor import settings_file
from supervisor.errors import SettingsError
from supervisor.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What became of it: the settings, or one line for each thing that is wrong with them."""

    path: Path
    settings: Settings | None = None
    problems: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What to tell a person."""
        if self.settings is None:
            return "\n".join(self.problems)
        return f"{self.path}: good; backends: {len(self.settings.backends)}, routers: {len(self.settings.routers)}"


def check(given: Path | None) -> Checked:
    """Check the file that is given, or the first there is of the usual places."""
    path = settings_file.find(given)
    try:
        return Checked(path=path, settings=settings_file.load(path))
    except SettingsError as error:
        return Checked(path=path, problems=tuple(str(error).splitlines()))
