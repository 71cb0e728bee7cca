"""What a container says of itself by its labels, and where it can be reached: asked for, and read.

An address is told as it is from our side: a port published on this host, or the container's own address in its network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from docker import APIClient
from docker.errors import APIError
from loguru import logger

from supervisor.engines.docker_calls import DENIED, reason
from supervisor.engines.docker_looks import find
from supervisor.engines.docker_pool import UNIX
from supervisor.engines.docker_state import Attributes

LOOPBACK = "127.0.0.1"
EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
TCP = "/tcp"
MOST = 256  # containers that are looked at; nobody has so many model servers on one engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One container: `doors` are the URLs of its published ports, by the port inside, and `address` is its own."""

    name: str
    labels: Mapping[str, str]
    doors: Mapping[int, str] = field(default_factory=dict)
    address: str = ""
    exposed: tuple[int, ...] = ()
    was_started: bool = True


def read(container: Attributes, *, host: str, label: str, prefix: str) -> Labelled:
    """Return what is told of a container, of an engine at `host`; of its labels `label` and those in `prefix`."""
    labels = (container.get("Config") or {}).get("Labels") or {}
    return Labelled(
        name=container["Name"].removeprefix("/"),
        labels={key: str(value) for key, value in sorted(labels.items()) if key == label or key.startswith(prefix)},
        doors=_doors(container, host=host),
        address=_address(container) if host.startswith(UNIX) else "",
        exposed=tuple(sorted(_numbers((container.get("Config") or {}).get("ExposedPorts") or {}))),
        was_started=container["State"]["Status"] != "created",
    )


def labelled(client: APIClient, *, host: str, label: str, prefix: str) -> list[Labelled]:
    """Return the `MOST` oldest containers that have `label`, running or not; none that a proxy keeps from us."""
    listed = client.containers(all=True, filters={"label": label})
    listed.reverse()  # the oldest first: of too many, none that is watched gives way to a newer one
    found = [_inspected(client, _name(each)) for each in listed[:MOST]]
    return [read(each, host=host, label=label, prefix=prefix) for each in found if each is not None]


def _name(listed: Attributes) -> str:
    """Return its own name, not one by which another is linked to it: that has two slashes."""
    return next((name for name in listed.get("Names") or () if name.count("/") == 1), "").removeprefix("/")


def _inspected(client: APIClient, name: str) -> Attributes | None:
    """Inspect by name and not by id: a proxy lets ids through only of what was met by its name."""
    try:
        return find(client, name) if name else None  # it may be on its way out, without a name already
    except APIError as error:
        if error.status_code != DENIED:
            raise
        logger.debug("docker: {} has the label, and we are not let see it: {}", name, reason(error))
        return None


def _doors(container: Attributes, *, host: str) -> dict[int, str]:
    # While it runs, those that are; while it does not, those that will be, as far as anybody has chosen them.
    running = (container.get("NetworkSettings") or {}).get("Ports") or {}
    chosen = (container.get("HostConfig") or {}).get("PortBindings") or {}
    doors: dict[int, str] = {}
    for inside, bindings in {**chosen, **running}.items():
        for binding in bindings or ():
            port = str(binding.get("HostPort") or "0")
            if inside.endswith(TCP) and port.isdigit() and int(port):
                doors.setdefault(int(inside.removesuffix(TCP)), f"http://{_side(binding, host)}:{port}")
    return doors


def _side(binding: Mapping[str, str], host: str) -> str:
    """Return the name or address under which a published port is reached from here."""
    given = binding.get("HostIp") or ""
    if given in EVERYWHERE:
        given = LOOPBACK if host.startswith(UNIX) else urlsplit(host).hostname or LOOPBACK
    return f"[{given}]" if ":" in given else given


def _address(container: Attributes) -> str:
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    if "host" in networks:
        return LOOPBACK
    return next((each["IPAddress"] for each in networks.values() if each.get("IPAddress")), "")


def _numbers(ports: Mapping[str, object]) -> list[int]:
    return [int(each.removesuffix(TCP)) for each in ports if each.endswith(TCP)]
