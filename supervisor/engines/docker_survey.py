"""What a Docker engine answers to each question that we ask it, for whoever looks why something does not work.

Blocking. A proxy before the engine may answer some questions and deny others, so each is asked by itself; what would
change something is asked about a container that there is none of, which only who denies it refuses.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

from docker import APIClient
from docker.errors import APIError, NotFound

from supervisor.engines.docker_calls import reason
from supervisor.engines.docker_pool import SDK_ERRORS, connect
from supervisor.engines.docker_state import Attributes, read_time

NOBODY = "benchai-supervisor-asks-whether-it-may"
NO_IMAGE = f"sha256:{'0' * 64}"
DENIALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED)
Ask = Callable[[APIClient, str], object]  # ... about a container
INSPECT = "GET /containers/NAME/json"
# What the verdicts rest on, what a cure takes, and what only tells more of a trouble.
NEEDED: dict[str, Ask] = {
    INSPECT: lambda client, name: client.inspect_container(name),
    "GET /events": lambda client, _: list(client.events(since=1, until=1, decode=True)),
    "GET /containers/NAME/stats": lambda client, name: client.stats(name, stream=False, one_shot=True),
}
ACTS: dict[str, Ask] = {
    "POST /containers/NAME/restart": lambda client, name: client.restart(name),
    "POST /containers/NAME/start": lambda client, name: client.start(name),
    "POST /containers/NAME/stop": lambda client, name: client.stop(name),
    "POST /containers/NAME/unpause": lambda client, name: client.unpause(name),
}
USEFUL: dict[str, Ask] = {
    "GET /info": lambda client, _: client.info(),
    "GET /containers/NAME/logs": lambda client, name: client.logs(name, tail=1),
    "GET /containers/NAME/top": lambda client, name: client.top(name),
    "GET /images/NAME/json": lambda client, _: client.inspect_image(NO_IMAGE),  # type: ignore[no-untyped-call]
    "GET /networks": lambda client, _: client.networks(),
}


class Silence(StrEnum):
    """Why an engine could not be asked at all."""

    DENIED = "denied"  # the socket may not be opened
    MISSING = "missing"  # there is no socket
    REFUSED = "refused"  # nobody listens
    LATE = "late"  # it takes the question and does not answer
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What an engine has told; `silence` where it could not be asked, with `words` for people."""

    silence: Silence | None = None
    words: str = ""
    version: str = ""
    api: str = ""
    ahead_s: float | None = None  # of our clock
    denied: tuple[str, ...] = ()  # of what is needed
    denied_too: tuple[str, ...] = ()  # of what is only useful
    has_favourites: bool = False  # it decides by the container, so that acts cannot be tried on one that there is not
    can_list: bool = True
    containers: tuple[Attributes, ...] = ()  # as the list has them
    inspected: Mapping[str, Attributes] = field(default_factory=dict)  # by name


def survey(host: str, *, wanted: Callable[[Attributes], bool], names: tuple[str, ...], timeout_s: float) -> Survey:
    """Ask everything once; containers by their `names`, and those of the list that are `wanted`, are inspected."""
    try:
        with contextlib.closing(connect(host, timeout_s=timeout_s)) as client:
            return _survey(client, wanted, names)
    except SDK_ERRORS as error:
        silence = _silence(error)
        return Survey(silence=silence, words=reason(error) if silence is Silence.OTHER else "")


def _survey(client: APIClient, wanted: Callable[[Attributes], bool], names: tuple[str, ...]) -> Survey:
    told = client.version(api_version=False)  # as it is asked when a connection begins
    listed = _allowed(lambda: client.containers(all=True))
    found = [_name(each) for each in listed or [] if wanted(each)]
    inspected = {name: _container(client, name) for name in dict.fromkeys([*names, *found])}
    known = [name for name, container in inspected.items() if container]
    has_favourites = bool(known) and _is_denied(client, NEEDED[INSPECT], NOBODY)
    acts = {} if has_favourites else ACTS
    about = known[0] if known else NOBODY
    return Survey(
        version=str(told.get("Version", "")),
        api=str(told.get("ApiVersion", "")),
        ahead_s=_ahead_s(client),
        denied=(*_denied(client, NEEDED, about), *_denied(client, acts, NOBODY)),
        denied_too=_denied(client, USEFUL, about),
        has_favourites=has_favourites,
        can_list=listed is not None,
        containers=tuple(listed or ()),
        inspected={name: container for name, container in inspected.items() if container},
    )


def _allowed(ask: Callable[[], list[Attributes]]) -> list[Attributes] | None:
    try:
        return ask()
    except APIError:
        return None


def _container(client: APIClient, name: str) -> Attributes | None:
    try:
        container: Attributes = client.inspect_container(name)
    except APIError:  # there is none, or nobody lets us see it, which is told by itself
        return None
    return container if container["Name"] == f"/{name}" else None


def _denied(client: APIClient, calls: Mapping[str, Ask], name: str) -> tuple[str, ...]:
    return tuple(call for call, ask in calls.items() if _is_denied(client, ask, name))


def _is_denied(client: APIClient, ask: Ask, name: str) -> bool:
    try:
        ask(client, name)
    except NotFound:
        return False
    except APIError as error:
        return error.status_code in DENIALS
    return False


def _ahead_s(client: APIClient) -> float | None:
    asked_at = time.time()
    try:
        moment = read_time(str(client.info().get("SystemTime") or ""))
    except (APIError, ValueError):
        return None
    return None if moment is None else moment.timestamp() - (asked_at + time.time()) / 2


def _name(listed: Attributes) -> str:
    names = [str(each).removeprefix("/") for each in listed.get("Names") or []]
    return next((each for each in names if "/" not in each), "")  # the others are links to it


def _silence(error: BaseException) -> Silence:
    chain: list[BaseException] = []
    present: BaseException | None = error
    while present is not None and present not in chain:
        chain.append(present)
        present = present.__cause__ or present.__context__
    kinds = {
        PermissionError: Silence.DENIED,
        FileNotFoundError: Silence.MISSING,
        ConnectionRefusedError: Silence.REFUSED,
        TimeoutError: Silence.LATE,
    }
    said = (silence for cause in chain for kind, silence in kinds.items() if isinstance(cause, kind))
    return next(said, Silence.LATE if "timed out" in str(error).lower() else Silence.OTHER)
