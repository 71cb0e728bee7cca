"""Say what is wrong with the settings: one line with the place, the key, the value, and what would be right.

Secrets are never shown, nor what a misspelled key may hold of them.
"""

import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from supervisor.settings import (
    ENV_PREFIX,
    BackendSettings,
    DaemonSettings,
    DockerSettings,
    HttpSettings,
    MaintenanceSettings,
    PolicySettings,
    ProcessSettings,
    RecoverySettings,
    RouterSettings,
    Settings,
)
from supervisor.settings_rules import Finding, Key

LISTS = ("backends", "routers", "maintenance")
SECTIONS: dict[str, type[BaseModel]] = {
    "daemon": DaemonSettings,
    "http": HttpSettings,
    "docker": DockerSettings,
    "process": ProcessSettings,
    "recovery": RecoverySettings,
    "maintenance": MaintenanceSettings,
    "policy": PolicySettings,
    "backends": BackendSettings,
    "routers": RouterSettings,
}
MODELS: tuple[type[BaseModel], ...] = (Settings, *SECTIONS.values())
KNOWN = {key for model in MODELS for key in model.model_fields}
SECRETS = ("token", "api_key", "secret", "password")
MISSING = object()
MAX_SHOWN = 120

# pydantic's kinds of mistakes in our words, with its own numbers put in.
CURES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a table: {{ KEY = value }}",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le:.12g}",
    "literal_error": "must be one of {expected}",
    "model_type": "must be a table: [NAME] on a line of its own, then its keys",
    "path_type": 'must be a path in quotes: "/a/path"',
    "string_pattern_mismatch": "may hold letters, digits, _ . and -, and begins with a letter or a digit",
    "string_too_long": "must not be longer than {max_length} characters",
    "string_too_short": "must not be empty",
    "string_type": 'must be a text in quotes: "text"',
    "too_short": "must not be empty",
    "time_parsing": 'must be a time of day: "02:30"',
    "time_type": 'must be a time of day: "02:30"',
    "tuple_type": 'must be a list: ["one", "two"]',
    "value_error": "{error}",
}
LISTED = "[[{}]] in two brackets for each of them (in the environment: JSON, and whole)"
NEEDED = {
    "name": '"general"',
    "url": '"http://127.0.0.1:8091"',
    "models": '["general"]',
    "begins": '"02:00"',
    "ends": '"04:30"',
}


def finding(detail: Mapping[str, Any]) -> Finding:
    """Put one of pydantic's findings into our words."""
    key: Key = detail["loc"]
    match detail["type"]:
        case "extra_forbidden":
            return Finding(key, detail["input"], f"is not a key we know; {_meant(key)}")
        case "missing":
            return Finding(key, MISSING, f"{_of_what(key)} needs it; write e.g. {key[-1]} = {NEEDED[str(key[-1])]}")
        case "tuple_type" if key[0] in LISTS and len(key) == 1:
            return Finding(key, detail["input"], f"must be a list: {LISTED.format(key[0])}")
        case kind if kind in CURES:
            return Finding(key, detail["input"], CURES[kind].format(**detail.get("ctx", {})))
        case _:
            return Finding(key, detail["input"], detail["msg"])


def _of_what(key: Key) -> str:
    return "every window" if key[0] == "maintenance" else "every target"


def line(path: Path, written: Mapping[str, Any], found: Finding) -> str:
    """Return a finding on one line."""
    variable = _variable(found.key)
    where = f"environment: {variable}" if variable else f"{path}: {_joined(_named(found.key, written))}"
    origin = f" ({found.origin})" if found.origin else ""
    return f"{where} = {shown(found)}{origin}: {found.cure}"


def _meant(key: Key) -> str:
    """Say which key an unknown one may stand for."""
    close = difflib.get_close_matches(str(key[-1]).lower(), _known_beside(key), n=1)
    return f"did you mean {close[0]}?" if close else "the project's settings.toml has them all"


def _known_beside(key: Key) -> list[str]:
    """Return the keys that may stand where `key` stands."""
    model: type[BaseModel] = Settings
    if "policy" in key[1:-1]:
        model = PolicySettings
    elif len(key) > 1:
        model = SECTIONS[str(key[0])]
    return list(model.model_fields)


def _variable(key: Key) -> str | None:
    """Return the variable that set `key`, with the way from it to the key, if one did."""
    names = {name.upper(): name for name in os.environ}
    if key[0] in os.environ:
        return str(key[0])
    wanted = [ENV_PREFIX + "__".join(map(str, key[:end])).upper() for end in range(len(key) + 1)]
    for end in range(len(key), 0, -1):
        if wanted[end] in names:
            return names[wanted[end]] + _joined(("", *key[end:]))
    return next((name for upper, name in sorted(names.items()) if upper.startswith(f"{wanted[-1]}__")), None)


def _named(key: Key, written: Mapping[str, Any]) -> Key:
    """Return a key as one would look for it in the file: a target by its name, or where that is no help its place."""
    if len(key) == 1 or not isinstance(key[1], int):
        return key
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in written[str(key[0])]]
    name = names[key[1]]
    is_telling = isinstance(name, str) and name.isprintable() and Counter(map(str, names))[name] == 1
    if is_telling and key[2:] != ("name",):
        return (key[0], str(name), *key[2:])
    return (f"{key[0]}[{key[1] + 1} of {len(names)}]", *key[2:])


def _joined(key: Key) -> str:
    return str(key[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key[1:])


def shown(finding: Finding) -> str:
    """Show the value as one would write it; secrets never, and of what may hold some only the shape."""
    if finding.value is MISSING:
        return "(missing)"
    if any(may_be_secret(str(part)) for part in finding.key):
        return "(hidden)"
    match finding.value:
        case dict():
            return "{…}" if finding.value else "{}"
        case list() | tuple():
            return "[…]" if finding.value else "[]"
    text = re.sub(r"//[^/@]*@", "//…@", json.dumps(finding.value, default=str, ensure_ascii=False))
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def may_be_secret(part: str) -> bool:
    """Whether a key looks like one for a secret, however it is spelled."""
    word = part.lower().removeprefix(ENV_PREFIX.lower()).rpartition("__")[2].replace("-", "_")
    if word in KNOWN and word not in SECRETS:
        return False
    return any(secret in word for secret in SECRETS) or bool(difflib.get_close_matches(word, SECRETS, n=1))
