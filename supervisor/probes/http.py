"""Put what HTTP did into the words of `Reply`, and read bodies under bounds. Knows nothing of models."""

import errno
from collections.abc import Iterator

import httpx

from supervisor.core.observations import Reply

# Ours, not theirs: no file handles, no memory, no local ports, no route.
OUR_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EACCES}
)
MAX_DETAIL = 200


class BodyTooLongError(Exception):
    """The server sent more than anyone asked for."""


def client(base_url: str, *, api_key: str) -> httpx.AsyncClient:
    """Return a client for one target.

    Every request has its own connection: an idle kept one holds a thread of the server, and old llama.cpp has three.
    Proxies from the environment are ignored, since a probe that goes through one tells about the proxy.
    """
    headers = {"Connection": "close", "User-Agent": "benchai-supervisor"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=base_url, headers=headers, limits=limits, timeout=None, trust_env=False)  # noqa: S113 - every call sits in asyncio.timeout


async def read(response: httpx.Response, *, max_bytes: int) -> bytes:
    """Return the body.

    Raises:
        BodyTooLongError: there was more than `max_bytes` of it.
    """
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLongError(f"more than {max_bytes} bytes")
    return bytes(body)


def reply_to(error: httpx.HTTPError) -> Reply:
    """Say what a failed exchange means in our words."""
    numbers = set(_errnos(error))
    if numbers & OUR_ERRNOS or isinstance(error, httpx.PoolTimeout):
        return Reply.NOT_RUN
    if errno.ECONNREFUSED in numbers:
        return Reply.REFUSED
    if isinstance(error, httpx.TimeoutException):
        return Reply.SILENT
    if isinstance(error, httpx.ConnectError) and not numbers & {errno.ECONNRESET, errno.EPIPE}:
        return Reply.NOT_RUN  # no such host, no certificate: we never reached the server
    return Reply.RESET


def detail_of(error: BaseException) -> str:
    """Return an exception in a few words."""
    return short(str(error) or type(error).__name__)


def short(text: str) -> str:
    """Return `text` on one line, cut to what a log or a table can bear."""
    flat = " ".join(text.split())
    return flat if len(flat) <= MAX_DETAIL else flat[: MAX_DETAIL - 1] + "…"


def _errnos(error: BaseException) -> Iterator[int]:
    """Yield the error numbers anywhere behind `error`; httpx hides them under causes and groups."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, OSError) and each.errno is not None:
            yield each.errno
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        pending += [each.__cause__, each.__context__]
