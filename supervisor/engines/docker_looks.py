"""What is asked of the Docker engine about one container, over one client: blocking, and run by a thread of a pool."""

import contextlib
from collections.abc import Callable
from typing import Any

from docker import APIClient
from docker.errors import APIError, NotFound

from supervisor.engines.circumstances import HIDDEN, MISSING
from supervisor.engines.docker_calls import DENIED
from supervisor.engines.docker_circumstances import Around, made_for, neighbour_of
from supervisor.engines.docker_facts import PS_ARGUMENTS, read_top
from supervisor.engines.docker_pool import SDK_ERRORS, connect
from supervisor.engines.docker_state import Attributes, Memory, read_event, read_time
from supervisor.engines.waits import belongs, waits
from supervisor.errors import TargetMissing


def find(client: APIClient, name: str) -> Attributes | None:
    """Return container `name`; the engine would also take the first digits of an id for a name."""
    container = _or_none(client.inspect_container, name)
    return container if container and container["Name"] == f"/{name}" else None


def existing(container: Attributes | None, name: str, verb: str) -> Attributes:
    """Return a container that was found. Raises TargetMissing where none was."""
    if container is None:
        raise TargetMissing(f"Docker could not {verb} {name}: it has no container of that name; create it first")
    return container


def processes(client: APIClient, container: Attributes) -> list[dict[str, Any]]:
    """Return what runs in a container: what the engine's `ps` tells, and the kernel of what it shows us."""
    if not container["State"]["Running"]:
        return []
    try:
        found = read_top(client.top(container["Id"], ps_args=PS_ARGUMENTS))
    except SDK_ERRORS:  # it has just ended, its `ps` knows other arguments or hangs: the rest is known all the same
        return []
    waiting = waits(each["pid"] for each in found if belongs(each["pid"], container["Id"]))
    return [each | waiting.get(each["pid"], {}) for each in found]


def around(client: APIClient, container: Attributes) -> Around:
    """Return what the engine has around a container."""
    neighbour = neighbour_of(container)
    networks = client.networks() if made_for(container) else []
    return Around(
        has_image=_or_none(client.inspect_image, container["Image"]) is not None,
        networks={each["Name"]: each["Id"] for each in networks},
        neighbour=_state(client, neighbour) if neighbour else MISSING,
    )


def remembered(host: str, *, timeout_s: float) -> Memory:
    """Return the engine's memory.

    Over new connections, always: an engine that shuts down ends every container as if an operator had, and goes on
    answering on old connections while it does, but accepts no new ones.
    """
    with contextlib.closing(connect(host, timeout_s=timeout_s)) as client:
        # By the engine's own clock: a moment in its future would hold the call until then.
        info = client.info()
        now = read_time(info["SystemTime"])
        events = client.events(since=1, until=now.timestamp() if now else 0, decode=True)  # type: ignore[call-overload]
        return Memory(
            events=tuple(map(read_event, events)),
            keeps_containers=info.get("LiveRestoreEnabled", False),
            asked_at=now.timestamp() if now else 0.0,
        )


def _state(client: APIClient, neighbour: str) -> str:
    """Return the state of a container that is not ours, and that a proxy may let us know nothing of."""
    try:
        beside = _or_none(client.inspect_container, neighbour)
    except APIError as error:
        if error.status_code == DENIED:
            return HIDDEN
        raise
    return str(beside["State"]["Status"]) if beside else MISSING


def _or_none(inspect: Callable[[str], Attributes], what: str) -> Attributes | None:
    try:
        return inspect(what)
    except NotFound:
        return None
