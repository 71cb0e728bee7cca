"""settings.toml and the environment → settings, or one line for each thing that is wrong with them.

Each line says where it stands, the key, the value, and what would be right.
"""

import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_settings import SettingsError as PydanticSettingsError

from supervisor.core.policy import Policy, complaints
from supervisor.errors import SettingsError
from supervisor.settings import ENV_PREFIX, PolicySettings, Settings, TargetSettings

FILE_VARIABLE = f"{ENV_PREFIX}SETTINGS"
DEFAULT_FILE = Path("/etc/benchai-supervisor/settings.toml")
# Read by the commands themselves, not settings of the daemon.
OTHER_VARIABLES = {FILE_VARIABLE, f"{ENV_PREFIX}SERVER", f"{ENV_PREFIX}TOKEN"}
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MAX_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: the key's path, the value that stands there, and what would be right."""

    key: tuple[str | int, ...]
    value: object
    cure: str


def load(path: Path, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in `path`, with the environment laid over them.

    Raises:
        SettingsError: the file is missing or cannot be used; one line per finding.
    """
    environ = os.environ if environ is None else environ
    found: list[Finding]
    try:
        settings = Settings(**_parse(path))
    except ValidationError as error:
        found = [_finding(detail) for detail in error.errors(include_url=False)]
    except PydanticSettingsError as error:
        raise SettingsError(f"environment: {error}; write lists and tables there as JSON") from error
    else:
        found = list(_contradictions(settings))
    found += _unknown_environment(environ)
    if found:
        raise SettingsError("\n".join(_line(path, each, environ) for each in found))
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
            f"{path}: no such file; copy the project's settings.toml there, or name yours with --settings"
        ) from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from error


def _finding(detail: Mapping[str, Any]) -> Finding:
    """Put one of pydantic's findings into our words."""
    if detail["type"] == "extra_forbidden":
        return Finding(detail["loc"], detail["input"], "is not a key we know; check the spelling in settings.toml")
    if detail["type"] == "missing":
        return Finding(detail["loc"], None, "is missing; every target needs it")
    return Finding(detail["loc"], detail["input"], _lower_first(detail["msg"]))


def _contradictions(settings: Settings) -> Iterator[Finding]:
    """Yield what each value alone cannot show."""
    if not settings.targets:
        yield Finding(("backends",), [], "is empty; describe at least one [[backends]] with name, url and models")
    yield from _daemon_contradictions(settings)
    yield from _duplicates(settings)
    for kind, targets in (("backends", settings.backends), ("routers", settings.routers)):
        for index, target in enumerate(targets):
            yield from _target_contradictions(settings, (kind, index), target)


def _daemon_contradictions(settings: Settings) -> Iterator[Finding]:
    if settings.http.host not in LOOPBACK and not settings.http.token.get_secret_value():
        cure = "reaches beyond this machine, so http.token must be set (or use 127.0.0.1)"
        yield Finding(("http", "host"), settings.http.host, cure)
    yield from _policy_contradictions(("policy",), settings.policy, own=settings.policy)
    yield from _validity_contradictions(settings)


def _validity_contradictions(settings: Settings) -> Iterator[Finding]:
    try:
        common = Policy(**PolicySettings(**settings.policy).model_dump())
    except ValidationError:
        return  # told of already
    valid_for_s = settings.daemon.valid_for_s
    if valid_for_s < 2 * common.tick_s + common.look_timeout_s:
        cure = f"must outlive two looks, 2 x tick_s + look_timeout_s = {2 * common.tick_s + common.look_timeout_s:g}"
        yield Finding(("daemon", "valid_for_s"), valid_for_s, cure)


def _duplicates(settings: Settings) -> Iterator[Finding]:
    places = [(kind, i, t) for kind in ("backends", "routers") for i, t in enumerate(getattr(settings, kind))]
    for key in ("name", "url"):
        values = [getattr(target, key).rstrip("/") for _, _, target in places]
        counts = Counter(values)
        for (kind, index, _), value in zip(places, values, strict=True):
            if counts[value] > 1:
                same = [f"{k}[{i}]" for (k, i, _), other in zip(places, values, strict=True) if other == value]
                yield Finding((kind, index, key), value, f"stands at {' and '.join(same)}; each needs its own")


def _target_contradictions(settings: Settings, at: tuple[str, int], target: TargetSettings) -> Iterator[Finding]:
    if cure := _url_cure(target.url):
        yield Finding((*at, "url"), target.url, cure)
    yield from _engine_contradictions(at, target)
    for index, pattern in enumerate(target.error_patterns):
        try:
            re.compile(pattern)
        except re.error as error:
            yield Finding((*at, "error_patterns", index), pattern, f"is not a regular expression: {error}")
    yield from _policy_contradictions((*at, "policy"), {**settings.policy, **target.policy}, own=target.policy)


def _engine_contradictions(at: tuple[str, int], target: TargetSettings) -> Iterator[Finding]:
    if target.engine == "process" and not target.command:
        yield Finding((*at, "command"), list(target.command), 'is empty; engine = "process" needs the command to run')
    if target.engine != "process" and target.command:
        yield Finding((*at, "command"), list(target.command), f'is only for engine = "process", not "{target.engine}"')
    if target.container and target.engine != "docker":
        yield Finding((*at, "container"), target.container, f'is only for engine = "docker", not "{target.engine}"')


def _policy_contradictions(
    at: tuple[str | int, ...], merged: Mapping[str, Any], *, own: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield what is wrong with a policy, as far as its `own` keys are to blame: the common ones are told of once."""
    try:
        policy = Policy(**PolicySettings(**merged).model_dump())
    except ValidationError as error:
        findings = [_finding(detail) for detail in error.errors(include_url=False)]
        yield from (Finding((*at, *each.key), each.value, each.cure) for each in findings if each.key[0] in own)
    else:
        yield from (Finding((*at, key), getattr(policy, key), cure) for key, cure in complaints(policy) if own)


def _url_cure(url: str) -> str | None:
    """Say what is wrong with a target's address, or None."""
    example = 'write e.g. "http://127.0.0.1:8091"'
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"is not an address ({error}); {example}"
    if parts.scheme not in ("http", "https"):
        return f"must begin with http:// or https://; {example}"
    if not parts.hostname:
        return f"has no host; {example}"
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        return f"must be scheme, host and port alone; {example}"
    return None


def _unknown_environment(environ: Mapping[str, str]) -> list[Finding]:
    """Find variables with our prefix that set nothing: a typing error there must not pass unseen."""
    found = []
    for name in sorted(environ):
        if not name.upper().startswith(ENV_PREFIX) or name.upper() in OTHER_VARIABLES:
            continue
        first = name[len(ENV_PREFIX) :].lower().split("__")[0]
        if first not in Settings.model_fields:
            known = ", ".join(f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields)
            found.append(Finding((name,), environ[name], f"sets nothing; known are {known} (with __KEY)"))
    return found


def _line(path: Path, finding: Finding, environ: Mapping[str, str]) -> str:
    dotted = ""
    for part in finding.key:
        dotted += f"[{part}]" if isinstance(part, int) else f".{part}" if dotted else str(part)
    variable = ENV_PREFIX + "__".join(str(part) for part in finding.key).upper()
    where = "environment" if dotted in environ or variable in environ else str(path)
    name = variable if variable in environ else dotted
    return f"{where}: {name} = {_shown(finding)}: {finding.cure}"


def _shown(finding: Finding) -> str:
    """Show the value as one would write it, secrets never and long ones cut."""
    if any(word in str(part).lower() for part in finding.key for word in ("token", "api_key")):
        return "(hidden)"
    text = json.dumps(finding.value, default=str, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
