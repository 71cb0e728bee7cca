"""What no value shows by itself: addresses, duplicates, and values that contradict one another.

Pure: it looks at settings whose types are right, and says what is wrong with them and what would be right.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from supervisor.core.policy import complaints
from supervisor.settings import SYSTEM_BUS, Settings, TargetSettings

Key = tuple[str | int, ...]
Placed = list[tuple[Key, TargetSettings]]

EXAMPLE = 'write e.g. "http://127.0.0.1:8091"'
HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+(%\w+)?")
PORTS = {"http": 80, "https": 443}
BUS = re.compile(r"(unix:(path|abstract)|tcp:host)=[^=]+.*")
NAMED_BY = {"docker": "container", "systemd": "unit"}  # the key under which what an engine knows stands
OTHER_UNITS = re.compile(r".*\.(socket|device|mount|automount|swap|target|path|timer|slice|scope)")
ALL = "all"  # what benchai-supervisorctl calls every target


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: the key's path, the value that stands there, and what would be right.

    `origin` says where the value comes from if it was not written at `key`.
    """

    key: Key
    value: object
    cure: str
    origin: str = ""


def contradictions(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong, each thing once."""
    targets = placed(settings)
    if not targets and not settings.docker.discover:
        yield Finding(("backends",), [], "is empty; describe at least one [[backends]] with name, url and models")
    yield from _nameless_paths(settings)
    yield from _http_contradictions(settings, targets)
    if not BUS.fullmatch(settings.systemd.bus):
        yield Finding(("systemd", "bus"), settings.systemd.bus, f'is no D-Bus address; write e.g. "{SYSTEM_BUS}"')
    yield from _policy_contradictions(settings)
    yield from _maintenance_contradictions(settings, targets)
    yield from _duplicates(targets)
    yield from _stand_in_contradictions(settings)
    for at, target in targets:
        yield from _target_contradictions(at, target)
        yield from _own_policy_contradictions(settings, at, target)


def placed(settings: Settings) -> Placed:
    """Return every target and where it stands."""
    kinds = {"backends": settings.backends, "routers": settings.routers}
    return [((kind, index), target) for kind, targets in kinds.items() for index, target in enumerate(targets)]


def _nameless_paths(settings: Settings) -> Iterator[Finding]:
    for key in (("daemon", "state_dir"), ("daemon", "liveness_file"), ("http", "socket")):
        path = getattr(getattr(settings, key[0]), key[1])
        if not path.name:
            yield Finding(key, path, 'names nothing; write a whole path, e.g. "/run/benchai-supervisor/name"')


def _http_contradictions(settings: Settings, targets: Placed) -> Iterator[Finding]:
    http = settings.http
    token = http.token.get_secret_value()
    if not _is_loopback(http.host) and not token:
        cure = "reaches beyond this machine, so http.token must be set (or use 127.0.0.1)"
        yield Finding(("http", "host"), http.host, cure)
    if why := _header_cure(token):
        yield Finding(("http", "token"), None, why)
    yield from _ports_of_others("http", http.host, http.port, targets)
    yield from _ports_of_others("agent", settings.agent.host, settings.agent.port, targets)
    if settings.agent.port and settings.agent.port == http.port:
        yield Finding(("agent", "port"), settings.agent.port, "is http.port too; choose a free one")


def _ports_of_others(section: str, host: str, port: int, targets: Placed) -> Iterator[Finding]:
    own = "localhost" if host in ("0.0.0.0", "::") else _same_name(host)
    for at, target in targets:
        if port and _address(target.url) == (own, port):
            cure = f"is the port of {at[0]}.{target.name}.url too; choose a free one"
            yield Finding((section, "port"), port, cure)


def _policy_contradictions(settings: Settings) -> Iterator[Finding]:
    common = settings.policy_of()
    for key, cure in complaints(common):
        origin = "" if key in settings.policy.model_fields_set else "default"
        yield Finding(("policy", key), getattr(common, key), cure, origin)
    lasts_s, needed_s = settings.daemon.valid_for_s, 2 * common.tick_s + common.look_timeout_s
    if lasts_s < needed_s:
        origin = "" if "valid_for_s" in settings.daemon.model_fields_set else "default"
        cure = f"must outlive two looks, 2 x tick_s + look_timeout_s = {needed_s:g}"
        yield Finding(("daemon", "valid_for_s"), lasts_s, cure, origin)


def _stand_in_contradictions(settings: Settings) -> Iterator[Finding]:
    backends = {each.name: each for each in settings.backends}
    for index, backend in enumerate(settings.backends):
        at, first = ("backends", index), backend.stands_in_for
        if first is None:
            if not backend.models:
                origin = "" if "models" in backend.model_fields_set else "default"
                yield Finding((*at, "models"), [], f'is empty; write e.g. models = ["{backend.name}"]', origin)
            continue
        others = ", ".join(name for name, each in backends.items() if each.stands_in_for is None) or "none"
        if first not in backends or backends[first].stands_in_for is not None:
            cure = f"must name a backend that stands in for nobody itself; there are: {others}"
            yield Finding((*at, "stands_in_for"), first, cure)
        if backend.engine == "none":
            cure = "is for targets that we may start; give it an engine"
            yield Finding((*at, "stands_in_for"), first, cure)


def _maintenance_contradictions(settings: Settings, targets: Placed) -> Iterator[Finding]:
    names = [target.name for _, target in targets]
    for index, window in enumerate(settings.maintenance):
        if window.begins == window.ends:
            cure = "is when it begins too; a window that never closes is a hold (benchai-supervisorctl hold)"
            yield Finding(("maintenance", index, "ends"), str(window.ends), cure)
        for place, name in enumerate(window.targets or ()):
            if name not in names and not settings.docker.discover:  # it may be a container that is found
                cure = f"is no target; there are {', '.join(names)}"
                yield Finding(("maintenance", index, "targets", place), name, cure)


def _own_policy_contradictions(settings: Settings, at: Key, target: TargetSettings) -> Iterator[Finding]:
    """Yield what is wrong with a target's own policy; what the common one has wrong was told of already."""
    own, written = settings.policy_of(target), target.policy.model_fields_set
    known = complaints(settings.policy_of())
    for key, cure in complaints(own):
        if (key, cure) in known:
            continue
        origin = "from [policy]" if key in settings.policy.model_fields_set else "default"
        yield Finding((*at, "policy", key), getattr(own, key), cure, "" if key in written else origin)
    lasts_s = settings.daemon.valid_for_s
    if written & {"tick_s", "look_timeout_s"} and lasts_s < 2 * own.tick_s + own.look_timeout_s:
        key = "tick_s" if "tick_s" in written else "look_timeout_s"
        cure = f"is too slow: two looks, 2 x tick_s + look_timeout_s, must fit into daemon.valid_for_s = {lasts_s:g}"
        yield Finding((*at, "policy", key), getattr(own, key), cure)


def _duplicates(targets: Placed) -> Iterator[Finding]:
    """Yield whatever two targets share that each needs for itself, at the later of the two."""
    names: set[str] = set()
    addresses: dict[tuple[str, int], str] = {}
    engines: dict[tuple[str, str], str] = {}
    for at, target in targets:
        place = f"{at[0]}.{target.name}"
        if target.name in names:
            yield Finding((*at, "name"), target.name, "is the name of another target too; each needs its own")
        names.add(target.name)
        if (address := _address(target.url)) and addresses.setdefault(address, place) != place:
            cure = f"leads to the same server as {addresses[address]}.url; each needs its own"
            yield Finding((*at, "url"), target.url, cure)
        key = NAMED_BY.get(target.engine)
        if key and (owner := engines.setdefault((key, target.engine_name), place)) != place:
            cure = f"is the {key} of {owner} too; two would fight over it"
            yield Finding((*at, key), target.engine_name, cure, "" if getattr(target, key) else "its name")


def _target_contradictions(at: Key, target: TargetSettings) -> Iterator[Finding]:
    if target.name == ALL:
        yield Finding((*at, "name"), target.name, "is what benchai-supervisorctl calls all of them; choose another")
    if cure := _url_cure(target.url):
        yield Finding((*at, "url"), target.url, cure)
    if cure := _header_cure(target.api_key.get_secret_value()):
        yield Finding((*at, "api_key"), None, cure)
    yield from _engine_contradictions(at, target)
    if target.gpu_exclusive and target.gpu_group is None:
        cure = 'is only for members of a group; name those who share its GPU, e.g. gpu_group = "gpu0"'
        yield Finding((*at, "gpu_exclusive"), True, cure)
    if target.gpu_exclusive and target.engine == "none":
        yield Finding((*at, "gpu_exclusive"), True, "is for targets that we may stop; give it an engine")
    for index, pattern in enumerate(target.error_patterns):
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            yield Finding((*at, "error_patterns", index), pattern, f"is not a regular expression: {error}")


def _engine_contradictions(at: Key, target: TargetSettings) -> Iterator[Finding]:
    if target.engine == "process" and not target.command:
        yield Finding((*at, "command"), [], 'is empty; engine = "process" needs the command to run')
    only_for = {"command": "process", "environment": "process", "container": "docker", "unit": "systemd"}
    for key, engine in only_for.items():
        value = getattr(target, key)
        if value and target.engine != engine:
            yield Finding((*at, key), value, f'is only for engine = "{engine}", not "{target.engine}"')
    if target.unit and OTHER_UNITS.fullmatch(target.unit):
        yield Finding((*at, "unit"), target.unit, 'is no service; name the unit that runs it, e.g. "benchai.service"')


def _header_cure(secret: str) -> str | None:
    if secret.isascii() and secret.isprintable() and " " not in secret:
        return None
    return "must be plain ASCII without spaces or line ends: it is sent in an HTTP header"


def _url_cure(url: str) -> str | None:
    """Say what is wrong with a target's address, or None."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not an address ({error}); {EXAMPLE}"
    if parts.scheme not in PORTS:
        return f"must begin with http:// or https://; {EXAMPLE}"
    if not parts.hostname:
        return f"has no host; {EXAMPLE}"
    if port == 0 or not HOST.fullmatch(parts.hostname):
        return f"has no host and port that can be connected to; {EXAMPLE}"
    bare = f"{parts.scheme}://{parts.netloc}"
    if url.removesuffix("/").lower() != bare.lower() or "@" in bare or bare.endswith(":"):
        return f"must be scheme, host and port alone; {EXAMPLE}"
    return None


def _address(url: str) -> tuple[str, int] | None:
    """Return where a URL really leads, so that two spellings of one place are the same; None where nowhere."""
    if _url_cure(url):
        return None
    parts: SplitResult = urlsplit(url)
    return _same_name(parts.hostname or ""), parts.port or PORTS[parts.scheme]


def _same_name(host: str) -> str:
    return "localhost" if host.lower() == "localhost" or host in ("127.0.0.1", "::1") else host.lower()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
