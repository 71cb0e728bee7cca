"""What the supervisor says of a backend, and what it is told of one: how real requests went.

Only what is the backend's own doing is told, and never a word of what somebody asked or was answered.
"""

import errno
import re
from collections.abc import Iterator

import httpx

from supervisor.client import Backend, Liveness

# What was sent to one of these is lost. A backend that is not routable for another reason gets nothing new and may
# finish what it has: it is being drained, or it is only suspected, and a long prefill once looked like that.
LOST = {"hung", "down", "failing", "warming"}
# Somebody's mistake or a failure in the middle of a 200: not to be told from here, so it proves neither life nor death.
ERROR_INSIDE = re.compile(rb'\{\s*"error"\s*:|^error:', re.MULTILINE)
# A router that has run out of something can reach nobody, and nobody is to blame.
OUT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
OUR_MISTAKES = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError)


class NoAnswer(ValueError):
    """What a backend sent is no answer. The message is ours, and may be told."""


def is_out(liveness: Liveness, name: str) -> bool:
    """Say whether what was sent to `name` is lost, by a fresh document."""
    snapshot = liveness.snapshot()
    entry = snapshot.find(name)
    return snapshot.known and entry is not None and not entry.routable and entry.verdict in LOST


def verdict_on(liveness: Liveness, name: str) -> str:
    """Return what the supervisor says about `name`, for people."""
    entry = liveness.snapshot().find(name)
    return f"{entry.verdict}: {entry.message}" if entry else "unknown"


def tell_success(liveness: Liveness, backend: Backend, *, first_token_s: float | None) -> None:
    """Report an answer that came whole."""
    liveness.report(backend, ok=True, first_token_s=first_token_s)


def tell_failure(liveness: Liveness, backend: Backend, error: Exception) -> None:
    """Report that `backend` failed, unless the supervisor has said so itself or the failure is our own."""
    if not is_out(liveness, backend.name) and not is_our_own(error):
        # Others' messages may quote what was sent.
        liveness.report(backend, ok=False, error=str(error) if isinstance(error, NoAnswer) else type(error).__name__)


def is_our_own(error: Exception) -> bool:
    """Say whether a request failed for a reason on this side of it."""
    lacks = any(isinstance(cause, OSError) and cause.errno in OUT_OF for cause in _causes(error))
    return lacks or isinstance(error, OUR_MISTAKES)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
