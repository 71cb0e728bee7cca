"""settings.toml and the environment → settings, or one line for each thing that is wrong with them."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError as PydanticSettingsError

from supervisor.errors import SettingsError
from supervisor.settings import ENV_PREFIX, Settings
from supervisor.settings_rules import Finding, contradictions
from supervisor.settings_words import finding, line

FILE_VARIABLE = f"{ENV_PREFIX}SETTINGS"
DEFAULT_FILE = Path("/etc/benchai-supervisor/settings.toml")
# Read by the commands themselves, not settings of the daemon.
OTHER_VARIABLES = {FILE_VARIABLE, f"{ENV_PREFIX}SERVER", f"{ENV_PREFIX}TOKEN"}

EXAMPLE = f"section and key are joined by two underscores, e.g. {ENV_PREFIX}HTTP__PORT"


def load(path: Path) -> Settings:
    """Return the settings in `path`, with the environment laid over them.

    Raises:
        SettingsError: the file is missing or cannot be used; one line per finding.
    """
    written = _parse(path)
    try:
        settings = Settings(**{key: value for key, value in written.items() if not key.startswith("_")})
    except ValidationError as error:
        # pydantic calls a list too short that has only bad values in it; those are told of already.
        details = [each for each in error.errors(include_url=False) if each["type"] != "too_short" or not each["input"]]
        found = [finding(detail) for detail in details]
    except PydanticSettingsError as error:
        raise SettingsError(_not_json(error)) from error
    else:
        found = list(contradictions(settings))
    found += [*_unknown_options(written), *_unknown_environment()]
    if found:
        raise SettingsError("\n".join(line(path, written, each) for each in found))
    return settings


def find(given: Path | None) -> Path:
    """Return the settings file to read: the one given, or the first there is of the usual places."""
    named = os.environ.get(FILE_VARIABLE)
    candidates = [given, Path(named) if named else None]
    for candidate in candidates:
        if candidate is not None:
            return candidate
    here = Path("settings.toml")
    return here if here.exists() else DEFAULT_FILE


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: no such file; copy the project's settings.toml there, or name the one that you have"
        ) from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}; look at the quotes and brackets there") from error


def _not_json(error: PydanticSettingsError) -> str:
    field = re.search(r'field "(\w+)"', str(error))
    variable = f"{ENV_PREFIX}{field[1].upper()}" if field else str(error)
    return f"environment: {variable} is not JSON; write lists and tables there as JSON, in single quotes for the shell"


def _unknown_options(written: Mapping[str, Any]) -> list[Finding]:
    """Find keys that pydantic-settings would take for options of its own instead of refusing them."""
    return [Finding((key,), value, "is not a key we know") for key, value in written.items() if key.startswith("_")]


def _unknown_environment() -> list[Finding]:
    """Find variables with our prefix that set nothing: a typing error there must not pass unseen."""
    found = []
    for name, value in sorted(os.environ.items()):
        if not name.upper().startswith(ENV_PREFIX) or name.upper() in OTHER_VARIABLES:
            continue
        first = name[len(ENV_PREFIX) :].lower().split("__")[0]
        if first not in Settings.model_fields:
            found.append(Finding((name,), value, f"sets nothing; {EXAMPLE}"))
    return found
