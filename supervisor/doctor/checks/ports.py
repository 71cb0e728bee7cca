"""Ports: ours taken by somebody, targets' with nobody or somebody else behind them, two targets on one server."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from supervisor.doctor import listeners
from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, note, ok
from supervisor.doctor.listeners import Listener
from supervisor.settings import TargetSettings

PORTS = {"http": 80, "https": 443}
ONE = "take one of them out; its aliases can be the other's"
LEFT_ALONE = ("STOPPED", "STARTING", "STOPPING")  # words of status for one that nobody need answer for


def look(around: Around) -> Iterator[Finding]:
    """Look at who listens where."""
    found = list(_ours(around))
    for target in around.targets:
        host, port = _place(target)
        address = listeners.here(host)
        if address is not None and around.told(target.name).get("state") not in LEFT_ALONE:
            found += _target(around, target, address, port)
    found += [*_one_container(around), *_one_server(around)]
    yield from found or [ok("every port is with whom it should be")]


def _ours(around: Around) -> Iterator[Finding]:
    if around.status is not None:
        return  # it would not have started
    http, agent = around.settings.http, around.settings.agent
    for section, host, port in (("http", http.host, http.port), ("agent", agent.host, agent.port)):
        taken = listeners.on_port(around.listeners(), port) if port else []
        by = [each for each in taken if host in listeners.ANYWHERE or each.answers_at(listeners.here(host) or host)]
        if by:
            seen = f"our port {port} is taken by {listeners.called(by[0], around.proc)}"
            yield error(seen, cure=f"set [{section}] port to a free one, or end that process", command=_who(port))


def _target(around: Around, target: TargetSettings, address: str, port: int) -> Iterator[Finding]:
    found = [each for each in around.listeners() if each.port == port and each.answers_at(address)]
    is_open = bool(found) or listeners.is_open(address, port)
    container, told = around.container(target), around.told(target.name)
    state = (container or {}).get("State") or {}
    published = _published(container) if container is not None else None
    if container is not None and not state.get("Running") and is_open:
        by = listeners.called(found[0], around.proc) if found else "somebody"
        seen = f"port {port} is answered by {by}, and {target.engine_name} does not run ({state.get('Status')})"
        cure = "end that process or container (docker ps), or give the target its own port"
        yield error(seen, cure=cure, command=_who(port), target=target.name)
    elif container is not None and not state.get("Running"):
        seen, command = f"its container does not run ({state.get('Status')})", f"docker start {target.engine_name}"
        yield note(seen, cure="start it, if it should run", command=command, target=target.name)
    elif published is not None and port not in published:
        yield _elsewhere(around, target, found, port, published)
    elif not is_open and container is None and target.engine != "none" and told.get("state") != "RUNNING":
        command = f"benchai-supervisorctl why {target.name}"
        yield note(
            f"nobody listens on port {port}", cure="start it, if it should run", command=command, target=target.name
        )
    elif not is_open:
        cure = "check its url, and that its server runs"
        yield error(f"nobody listens on port {port}", cure=cure, command=_who(port), target=target.name)
    elif stranger := _stranger(around, target, found):
        seen = f"port {port} is answered by {listeners.called(stranger, around.proc)}, and not by {target.engine_name}"
        cure = "end that process, or give the target its own port"
        yield error(seen, cure=cure, command=_who(port), target=target.name)


def _elsewhere(
    around: Around, target: TargetSettings, found: list[Listener], port: int, published: set[int]
) -> Finding:
    name = target.engine_name
    by = listeners.called(found[0], around.proc) if found else "nobody"
    ports = ", ".join(map(str, sorted(published))) or "none"
    seen = f"port {port} is answered by {by}: {name} publishes {ports}"
    cure = "set url to the port that it publishes, or create the container with this one"
    return error(seen, cure=cure, command=f"docker port {name}", target=target.name)


def _published(container: Mapping[str, Any]) -> set[int] | None:
    """Return the ports of this machine that lead into a container; None where its network is not one of its own."""
    host = container.get("HostConfig") or {}
    if str(host.get("NetworkMode") or "").startswith(("host", "container:")):
        return None
    bound = ((container.get("NetworkSettings") or {}).get("Ports") or {}).values()
    return {int(each["HostPort"]) for bindings in bound for each in bindings or [] if each.get("HostPort")}


def _stranger(around: Around, target: TargetSettings, found: list[Listener]) -> Listener | None:
    """Return who answers in a target's place, as far as that can be seen."""
    seen = [each for each in found if each.pid is not None]
    if target.engine == "systemd":
        units = {each.inode: listeners.unit_of(each.pid or 0, around.proc) for each in seen}
        return next((each for each in seen if units[each.inode] not in ("", target.engine_name)), None)
    pid = around.told(target.name).get("pid")
    if target.engine == "process" and isinstance(pid, int):
        return next((each for each in seen if pid not in listeners.family(each.pid or 0, around.proc)), None)
    return None


def _one_container(around: Around) -> Iterator[Finding]:
    """Tell of two targets that are one container by two names or ports."""
    owners: dict[str, str] = {}
    for target in around.settings.targets:
        container = around.container(target)
        first = owners.setdefault(str(container.get("Id")), target.name) if container is not None else target.name
        if first != target.name:
            yield error(f"{first} and {target.name} are one container", cure=ONE, target=target.name)


def _one_server(around: Around) -> Iterator[Finding]:
    """Tell of two targets that are one server by two addresses; two that are written alike the settings refuse."""
    owners: dict[str, str] = {}
    for target in around.settings.targets:
        host, port = _place(target)
        for each in listeners.on_port(around.listeners(), port, host=host):
            first = owners.setdefault(each.inode, target.name)
            if first != target.name:
                yield error(f"{first} and {target.name} are one server, on port {port}", cure=ONE, target=target.name)


def _place(target: TargetSettings) -> tuple[str, int]:
    parts = urlsplit(target.url)
    return parts.hostname or "", parts.port or PORTS.get(parts.scheme, 80)


def _who(port: int) -> str:
    return f"ss -ltnp 'sport = :{port}'"
