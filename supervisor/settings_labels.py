"""The labels of a container → a backend to watch, held to the same rules as the file and told of in the same words.

Pure. A label may hold no secret: whoever may list containers reads it.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from supervisor.errors import SettingsError
from supervisor.settings import BackendSettings, Settings
from supervisor.settings_rules import Finding, contradictions
from supervisor.settings_words import MISSING, finding, shown

PREFIX = "benchai.supervisor."
POLICY = "policy."
MOST_DIGITS = 5  # of a port; of far too many Python makes no number at all
WORDS = {"true": True, "false": False}
LISTS = ("models", "errors_of")  # divided by commas
ONE_OF_LIST = ("error_patterns",)  # a pattern may hold any character, and one is all that a label has room for
KEYS = (
    *("name", "url", "port", "models", "stands_in_for", "gpu_group", "gpu_exclusive", "progress", "sleeps_after_s"),
    *("canary", "canary_model", "canary_max_tokens", "error_patterns", "errors_of"),
)
NO_SECRETS = "may not stand in a label, which everybody reads who may list containers; put this server into the file"


def is_enabled(container: str, labels: Mapping[str, str], *, label: str) -> bool:
    """Return whether a container says by `label` that it is to be watched.

    Raises:
        SettingsError: it says neither yes nor no.
    """
    said = labels.get(label, "false").strip().lower()
    if said not in WORDS:
        value = shown(Finding((label,), labels[label], ""))
        raise SettingsError(f"container {container}: label {label} = {value}: must be true or false")
    return WORDS[said]


def backend(
    container: str,
    labels: Mapping[str, str],
    *,
    label: str,
    doors: Mapping[int, str],
    address: str,
    exposed: Sequence[int],
) -> BackendSettings:
    """Return what the labels, but for `label`, say of a container, whose published ports are at `doors`.

    Raises:
        SettingsError: they cannot be used; one line per finding, each naming the container, the label and the cure.
    """
    own = {key.removeprefix(PREFIX): value for key, value in labels.items() if key.startswith(PREFIX)}
    own.pop(label.removeprefix(PREFIX), None)
    found = list(_unknown(own))
    try:
        url = own.get("url") or _url(own.get("port"), doors=doors, address=address, exposed=exposed)
    except LookupError as error:
        found.append(Finding(("port",), own.get("port", MISSING), str(error)))
        url = "http://127.0.0.1"  # whatever is said of the other labels is said at once
    try:
        wanted = BackendSettings.model_validate(_values(container, own, url))
    except ValidationError as error:
        details = [{**each, "loc": ("backends", 0, *each["loc"])} for each in error.errors(include_url=False)]
        told = [finding(each) for each in details]
        found += [Finding(each.key[2:], each.value, each.cure) for each in told]
    if found:
        raise SettingsError("\n".join(_line(container, each) for each in found))
    return wanted


def admit(settings: Settings, wanted: BackendSettings) -> Settings:
    """Return the settings with one backend more.

    Raises:
        SettingsError: it cannot be watched beside what is there; one line per finding, as above.
    """
    known = list(contradictions(settings))
    more = settings.model_copy(update={"backends": (*settings.backends, wanted)})
    mine = ("backends", len(settings.backends))
    found = [each for each in contradictions(more) if each not in known]
    if found:
        lines = [_clash(more, wanted, each, is_mine=each.key[:2] == mine) for each in found]
        raise SettingsError("\n".join(lines))
    return more


def admit_all(settings: Settings, wanted: Sequence[BackendSettings]) -> tuple[Settings, dict[str, str]]:
    """Return the settings with each of these that can be watched beside those before it; and why not, by container.

    They are looked at together where nothing clashes: hundreds of them one by one would hold our loop up for seconds.
    """
    more = settings.model_copy(update={"backends": (*settings.backends, *wanted)})
    if list(contradictions(more)) == list(contradictions(settings)):
        return more, {}
    if len(wanted) > 1:
        half = len(wanted) // 2
        there, refused = admit_all(settings, wanted[:half])
        there, also_refused = admit_all(there, wanted[half:])
        return there, refused | also_refused
    try:
        return admit(settings, wanted[0]), {}
    except SettingsError as error:
        return settings, {str(wanted[0].container): str(error)}


def _values(container: str, own: Mapping[str, str], url: str) -> dict[str, Any]:
    values: dict[str, Any] = {"name": container, **{key: own[key] for key in KEYS if key in own and key != "port"}}
    for key in LISTS:
        if key in values:
            values[key] = tuple(each.strip() for each in values[key].split(",") if each.strip())
    for key in ONE_OF_LIST:
        if key in values:
            values[key] = (values[key],)
    if not values.get("models") and "stands_in_for" not in values:
        values["models"] = (values["name"],)
    policy = {key.removeprefix(POLICY): value for key, value in own.items() if key.startswith(POLICY)}
    return {**values, "url": url, "engine": "docker", "container": container, "policy": policy}


def _unknown(own: Mapping[str, str]) -> Iterator[Finding]:
    for key, value in own.items():
        if key in KEYS or key.startswith(POLICY):
            continue
        if key.startswith("api_key"):
            yield Finding((key,), value, NO_SECRETS)
            continue
        close = difflib.get_close_matches(key.lower(), KEYS, n=1)
        cure = f"did you mean {close[0]}?" if close else f"there are {', '.join(KEYS)} and {POLICY}KEY"
        yield Finding((key,), value, f"is not a key for labels; {cure}")


def _url(port: str | None, *, doors: Mapping[int, str], address: str, exposed: Sequence[int]) -> str:
    """Return where a container answers. Raises LookupError, whose words say what would be right."""
    if port is None:
        inside = tuple(doors) or tuple(exposed)
        if len(inside) != 1:
            there = f"it has the ports {', '.join(map(str, inside))}" if inside else "it publishes no port"
            raise LookupError(f"{there}; name the one inside the container that the server listens on, e.g. 8080")
        return _at(inside[0], doors=doors, address=address)
    if not port.isdecimal() or len(port) > MOST_DIGITS or not 0 < int(port) <= 65535:
        raise LookupError("must be a port inside the container, e.g. 8080")
    return _at(int(port), doors=doors, address=address)


def _at(port: int, *, doors: Mapping[int, str], address: str) -> str:
    if port in doors:
        return doors[port]
    if not address:
        raise LookupError(f"is not published, and the container has no address yet; publish it, or set {PREFIX}url")
    return f"http://{address}:{port}"


def _line(container: str, found: Finding) -> str:
    key = ".".join(map(str, found.key))
    return f"container {container}: label {PREFIX}{key} = {shown(found)}: {found.cure}"


def _clash(settings: Settings, wanted: BackendSettings, found: Finding, *, is_mine: bool) -> str:
    container = wanted.container or wanted.name
    if is_mine and found.key[2:] == ("container",):
        return f"container {container}: {found.cure}"
    if is_mine:
        return _line(container, Finding(found.key[2:], found.value, found.cure))
    kind, place = found.key[0], found.key[1] if len(found.key) > 1 else None
    other = getattr(settings, str(kind))[place].name if isinstance(place, int) and kind != "maintenance" else None
    where = ".".join(map(str, (kind, *([other] if other else []), *found.key[2 if other else 1 :])))
    return f"container {container}: cannot be watched beside {where} = {shown(found)}, which then {found.cure}"
