"""Which of LiteLLM's deployments may have a request, and whose fault it was when one failed.

Decides and does nothing else: it needs neither LiteLLM nor a document, only what either has said.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from supervisor.client import Backend, Snapshot

Deployment = Mapping[str, Any]  # as LiteLLM has it: model_name, litellm_params, model_info

BACKEND_KEY = "benchai_backend"  # in `model_info`: the supervisor's name, where the addresses differ
DEFAULT_RETRY_AFTER_S = 5.0
AGAIN = {"Retry-After": f"{DEFAULT_RETRY_AFTER_S:.0f}"}
MAX_ADDRESSES = 256
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
PORTS = {"http": 80, "https": 443}
# What was sent to one of these is lost, and the supervisor has said so itself.
LOST = {"hung", "down", "failing", "warming"}
# A proxy that has run out of something can reach nobody, and nobody is to blame.
OUT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
OUR_MISTAKES = (AttributeError, KeyError, TypeError, NameError)  # LiteLLM dresses them as connection errors
# Classes of several libraries, known by name: LiteLLM's and OpenAI's own, and those of the libraries beneath.
LATE = {"APITimeoutError", "Timeout", "TimeoutError"}
UNREACHABLE = {"APIConnectionError", "ConnectionError"}


class NoneRoutable(Exception):
    """A fresh document says that no server of the asked model may have a request.

    424 inside LiteLLM, which tries 5xx again after a pause, counts it against a server and logs a traceback; the
    callback turns it into 503 for the client.
    """

    status_code = 424

    def __init__(self, reason: str, retry_after_s: float) -> None:
        super().__init__(reason)
        self.headers = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}


def candidates(
    snapshot: Snapshot, model: str, deployments: Sequence[Deployment], *, avoid: Collection[str] = ()
) -> list[Deployment]:
    """Return the deployments to choose from: the best class of those that may be asked.

    `avoid` holds ids of deployments to be asked only where there is no other, such as those that have just failed this
    request. While unknown, what was last said not to be routable counts among them: silence takes nobody out. What the
    document does not name is nobody's to judge, and taken for ready.

    Raises:
        NoneRoutable: the document is fresh, and none of them may be asked.
    """
    entries = [(each, backend_of(snapshot, each)) for each in deployments]
    untried = [(each, entry) for each, entry in entries if id_of(each) not in avoid]
    tiers = [[pair for pair in tier if _is_routable(pair[1])] for tier in (untried, entries)]
    if not snapshot.known:
        tiers[1:] = [untried, entries]
    chosen = next((tier for tier in tiers if tier), [])
    if not chosen and deployments:
        raise _refusal(model, [entry for _, entry in entries if entry])
    if not snapshot.known:
        return [each for each, _ in chosen]
    best = max((_weight(entry) for _, entry in chosen), default=0.0)
    return [each for each, entry in chosen if _weight(entry) >= best]


def backend_of(snapshot: Snapshot, deployment: Deployment) -> Backend | None:
    """Return what the document says of a deployment's server: the one it names, or the one at its address."""
    named = (deployment.get("model_info") or {}).get(BACKEND_KEY)
    if named:
        return snapshot.find(str(named))
    asked = place(str((deployment.get("litellm_params") or {}).get("api_base") or ""))
    return next((entry for entry in snapshot.backends if asked and place(entry.url) == asked), None)


def id_of(deployment: Deployment) -> str:
    """Return LiteLLM's id of a deployment; "" where it has none."""
    return str((deployment.get("model_info") or {}).get("id") or "")


def tried(request: Mapping[str, Any]) -> set[str]:
    """Return the ids of the deployments that have failed this request already, as LiteLLM's router notes them."""
    notes = notes_of(request)
    before = [each.get("deployment_id") for each in notes.get("previous_models") or () if isinstance(each, Mapping)]
    excluded = (request.get("_excluded_deployment_ids"), notes.get("_failover_excluded_ids"))
    return {str(each) for each in (*before, *(one for some in excluded for one in some or ())) if each}


def notes_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dictionary in which LiteLLM keeps notes on a request: on some routes `metadata` is the client's."""
    notes = request.get("litellm_metadata") or request.get("metadata")
    return notes if isinstance(notes, dict) else {}


@lru_cache(maxsize=MAX_ADDRESSES)
def place(url: str) -> tuple[str, int, str] | None:
    """Return what two addresses of one server have in common: host, port and path, without a final /v1."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return ("localhost" if host in LOOPBACK else host, port, path) if host and port else None


def blame(error: BaseException, *, client_chose_timeout: bool = False) -> str | None:
    """Return how the server failed, in words that hold nothing of the request; None where it was not its doing.

    That is a 4xx, a timeout that the client chose, a client that left, and what went wrong inside the proxy.
    """
    if any(isinstance(each, OUR_MISTAKES) or getattr(each, "errno", None) in OUT_OF for each in _causes(error)):
        return None
    if _is_one_of(LATE, error):
        return None if client_chose_timeout else "no answer in time"
    if _is_one_of(UNREACHABLE, error):
        return "no connection, or it broke"
    status = getattr(error, "status_code", None)
    return f"it answered {status}" if isinstance(status, int) and status >= 500 else None


def refusal_of(
    error: BaseException, *, client_chose_timeout: bool = False
) -> tuple[int, str, Mapping[str, str]] | None:
    """Return status, reason and headers for the client where no server has answered; None leaves LiteLLM's.

    It would say 500 where a server could not be reached, and 408, the client's fault, where one was too slow.
    """
    if isinstance(error, NoneRoutable):
        return 503, str(error), dict(error.headers)
    if blame(error, client_chose_timeout=client_chose_timeout) is None:
        return None
    if _is_one_of(LATE, error):
        return 504, "the model's server gave no answer in time", dict(AGAIN)
    if _is_one_of(UNREACHABLE, error):
        return 503, "the model's server could not be reached, or broke off", dict(AGAIN)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_one_of(names: Collection[str], error: BaseException) -> bool:
    return any(kind.__name__ in names for each in _causes(error) for kind in type(each).__mro__)


def _is_routable(entry: Backend | None) -> bool:
    return entry is None or entry.routable


def _weight(entry: Backend | None) -> float:
    return 1.0 if entry is None else entry.weight


def _refusal(model: str, entries: Sequence[Backend]) -> NoneRoutable:
    reasons = "; ".join(dict.fromkeys(f"{one.name}: {one.message or one.reason or one.verdict}" for one in entries))
    waits_s = [one.retry_after_s for one in entries if one.retry_after_s is not None]
    return NoneRoutable(f"{model} cannot answer now: {reasons}", min(waits_s, default=DEFAULT_RETRY_AFTER_S))
