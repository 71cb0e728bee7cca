"""What a person might change to cure a container, each thing in a word. Pure: reads what the engine answered."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from supervisor.engines.circumstances import (
    MISSING,
    MOST,
    File,
    Place,
    Port,
    Thing,
    is_address,
    paths_named,
    port_asked,
    port_key,
)
from supervisor.engines.docker_facts import has_network
from supervisor.engines.docker_state import Attributes

MOST_NETWORKS = 16
NEIGHBOUR = "container:"  # the network mode of one that shares the network of another
ANY_ADDRESS = "0.0.0.0"
# llama.cpp's other way to be told of files; of the environment, which holds secrets, nothing else is read.
PATH_VARIABLES = frozenset({"LLAMA_ARG_MODEL", "LLAMA_ARG_MMPROJ"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the engine has around a container."""

    has_image: bool = True
    networks: Mapping[str, str] = field(default_factory=dict)  # the ids by name, of those that there are
    neighbour: str = ""  # the state of the container whose network it shares


def read_around(container: Attributes, around: Around) -> dict[str, str]:
    """Return the circumstances that the engine itself knows."""
    memory_bytes = _part(container, "HostConfig").get("Memory") or 0
    words = {
        "container": str(container["Id"]),
        "image": str(container["Image"]) if around.has_image else MISSING,
        "memory": f"{memory_bytes} bytes" if memory_bytes else "no limit",  # `docker update` may change it
    }
    words |= {f"network {name}": _network(container, name, around) for name in made_for(container)}
    neighbour = neighbour_of(container)
    return words | ({f"container {neighbour[:12]}": around.neighbour} if neighbour else {})


def depends_on(container: Attributes, *, most: int = MOST) -> dict[str, Thing]:
    """Return what to look at on the engine's host, by its name among the circumstances."""
    things: dict[str, Thing] = {}
    for port in _ports(container):
        key = port_key(port)
        things[f"{key} at {port.address}" if key in things else key] = port
    mounts = [each for each in container.get("Mounts") or [] if each.get("Type") == "bind"]
    things |= {f"mount {each['Source']}": Place(path=each["Source"]) for each in mounts}
    devices = _part(container, "HostConfig").get("Devices") or []
    things |= {f"device {each['PathOnHost']}": Place(path=each["PathOnHost"]) for each in devices}
    for path in paths_named(_arguments(container), directory=_part(container, "Config").get("WorkingDir") or "/"):
        if source := on_host(path, container):
            things[path] = File(path=source)
    return dict(islice(things.items(), most))


def made_for(container: Attributes) -> list[str]:
    """Return the networks that a container was made for, and those that it has joined."""
    if not has_network(container):
        return []
    mode = str(_part(container, "HostConfig").get("NetworkMode") or "")
    mode = "bridge" if mode == "default" else mode
    return sorted({mode, *_endpoints(container)} - {""})[:MOST_NETWORKS]


def neighbour_of(container: Attributes) -> str:
    """Return the container whose network this one shares, empty where it does not."""
    mode = str(_part(container, "HostConfig").get("NetworkMode") or "")
    return mode.removeprefix(NEIGHBOUR) if mode.startswith(NEIGHBOUR) else ""


def runs(container: Attributes) -> bool:
    """Return whether it runs, so that what it needs is taken by itself; between two tries of the engine's it may."""
    return bool(container["State"]["Running"])


def on_host(path: str, container: Attributes) -> str | None:
    """Return where a path of the container lies on the engine's host; None where that is in its image."""
    mounts = [each for each in container.get("Mounts") or [] if _is_within(path, each["Destination"])]
    mount = max(mounts, key=lambda each: len(each["Destination"]), default=None)
    if mount is None or mount.get("Type") not in ("bind", "volume") or not mount.get("Source"):
        return None
    return posixpath.normpath(posixpath.join(mount["Source"], posixpath.relpath(path, mount["Destination"])))


def _is_within(path: str, directory: str) -> bool:
    return posixpath.commonpath((path, directory)) == posixpath.normpath(directory)


def _network(container: Attributes, name: str, around: Around) -> str:
    there_as = next((id_ for known, id_ in around.networks.items() if name in (known, id_)), None)
    endpoint = _endpoints(container).get(name)
    is_up = runs(container) and not container["State"].get("Restarting")
    has_joined = endpoint is not None and bool(endpoint.get("EndpointID") or not is_up)
    joined_as = (endpoint or {}).get("NetworkID")
    if there_as and joined_as and there_as != joined_as:
        return "there anew, and not joined since"
    return f"{'there' if there_as else MISSING}, {'joined' if has_joined else 'detached'}"


def _ports(container: Attributes) -> Iterator[Port]:
    host = _part(container, "HostConfig")
    for inner, bindings in _part(host, "PortBindings").items():
        for each in bindings or []:
            number, address = each.get("HostPort") or "", each.get("HostIp") or ANY_ADDRESS
            if number.isdecimal() and int(number) and is_address(address):  # 0, or none: any that is free
                is_udp = inner.endswith("/udp")
                yield Port(address=address, number=int(number), is_udp=is_udp, is_held=runs(container))
    asked = port_asked(_arguments(container), is_held=runs(container))
    if asked and host.get("NetworkMode") == "host":
        yield asked


def _arguments(container: Attributes) -> list[str]:
    variables = (each.partition("=") for each in _part(container, "Config").get("Env") or [])
    paths = [value for name, _, value in variables if name in PATH_VARIABLES]
    return [container.get("Path") or "", *(container.get("Args") or []), *paths]


def _endpoints(container: Attributes) -> Mapping[str, Any]:
    networks = _part(_part(container, "NetworkSettings"), "Networks")
    return {name: endpoint or {} for name, endpoint in networks.items()}


def _part(whole: Attributes, key: str) -> Attributes:
    """Return a part that may be missing, or null."""
    return whole.get(key) or {}
