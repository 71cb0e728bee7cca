"""Put what HTTP did into the words of `Reply`, and read bodies under bounds. Knows nothing of models."""

import errno
import ssl
from collections.abc import Iterator

import httpx

from supervisor.core.observations import Reply

# Ours, not theirs: no file handles, no memory, no local ports, no route.
OUR_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EACCES}
)
THEIR_SILENCE = frozenset({errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT})
TLS_ENDS = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
MAX_DETAIL = 200
MAX_READ = 10 * MAX_DETAIL  # of a text that is to be cut anyway


class BodyTooLongError(Exception):
    """The server sent more than anyone asked for."""


def client(base_url: str, *, api_key: str) -> httpx.AsyncClient:
    """Return a client for one target.

    Every request has its own connection: an idle kept one holds a thread of the server, and old llama.cpp has three.
    Proxies from the environment are ignored, since a probe that goes through one tells about the proxy. Nothing
    compressed is asked for or unpacked: a few bytes of it can be a gigabyte.
    """
    headers = {"Connection": "close", "User-Agent": "benchai-supervisor", "Accept-Encoding": "identity"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=None,  # noqa: S113 - every call sits in asyncio.timeout
        trust_env=False,
        verify=base_url.lower().startswith("https:"),  # no megabyte of certificates for each target that has none
    )


async def read(response: httpx.Response, *, max_bytes: int) -> bytes:
    """Return the body.

    Raises:
        BodyTooLongError: there was more than `max_bytes` of it.
    """
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLongError(f"more than {max_bytes} bytes")
    return bytes(body)


def reply_to(error: httpx.HTTPError) -> Reply:
    """Say what a failed exchange means in our words."""
    causes = list(_causes(error))
    numbers = {each.errno for each in causes if isinstance(each, OSError)}
    if numbers & OUR_ERRNOS or isinstance(error, httpx.PoolTimeout):
        return Reply.NOT_RUN
    if errno.ECONNREFUSED in numbers:
        return Reply.REFUSED
    if isinstance(error, httpx.TimeoutException) or numbers & THEIR_SILENCE:
        return Reply.SILENT
    if isinstance(error, httpx.LocalProtocolError):
        return Reply.NOT_RUN  # a key that no header can hold
    if isinstance(error, httpx.RemoteProtocolError) and not str(error).startswith("Server disconnected"):
        return Reply.INVALID  # it spoke, and it was no HTTP or only half of it
    hung_up = numbers & {errno.ECONNRESET, errno.EPIPE} or any(isinstance(each, TLS_ENDS) for each in causes)
    if isinstance(error, httpx.ConnectError) and not hung_up:
        return Reply.NOT_RUN  # no such host, no certificate: we never reached the server
    return Reply.RESET


def is_loading(status: int, body: bytes) -> bool:
    """Tell llama.cpp's own 503, at every endpoint until its model is in memory, from any other one."""
    return status == httpx.codes.SERVICE_UNAVAILABLE and b"Loading model" in body


def detail_of(error: BaseException) -> str:
    """Return an exception in a few words."""
    if isinstance(error, httpx.LocalProtocolError):
        return "our own request is not HTTP: look at api_key"  # the library's words hold the key
    system = [each.strerror for each in _causes(error) if isinstance(each, OSError) and each.strerror]
    return short(system[0] if system else str(error) or type(error).__name__)


def short(text: str) -> str:
    """Return `text` on one line, cut to what a log or a table can bear.

    What a server sends may hold escape sequences for a terminal, or halves of characters that nothing can encode.
    """
    flat = "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text[:MAX_READ].split()))
    return flat if len(flat) <= MAX_DETAIL else flat[: MAX_DETAIL - 1] + "…"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield everything behind `error`; httpx hides what the system said under causes and groups."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        pending += [each.__cause__, each.__context__]
