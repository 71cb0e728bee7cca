"""Read the supervisor's liveness: which model server may be sent a request, and which one first.

For routers. One file to copy into them: the standard library only, Python 3.9 and later, thread-safe. It starts no
thread, and what it reads never makes it raise: a document that is expired, missing or unreadable means *unknown*, and
then nothing is refused.

    liveness = Liveness("/run/benchai-supervisor/liveness.json", own_table=[Backend("code", "http://127.0.0.1:8093")])

    choice = liveness.pick("code", "general")  # "code" if it can, else "general"
    if choice.refuse:  # a fresh document says that neither can: 503 with Retry-After, at once
        return unavailable(choice.reason, choice.retry_after_s)
    for backend in choice.candidates:  # best first; where one fails, the next
"""

from __future__ import annotations

import http.client
import io
import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import mktime_tz, parsedate_tz
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

SCHEMA = 1
PATH = "/v1/liveness"
MAX_DOCUMENT_BYTES = 1 << 20  # a thousand backends fit in half of it; more is not ours
DEFAULT_RETRY_AFTER_S = 5.0  # where the document does not say when to come back
LONGEST_PAUSE_S = 5.0  # between two fetches: a third of a document's life

Clock = Callable[[], float]


@dataclass(frozen=True)
class Backend:
    """One model server. A router's own table needs no more than name, URL and aliases."""

    name: str
    url: str
    models: tuple[str, ...] = ()  # the aliases it serves
    routable: bool = True
    weight: float = 1.0  # 1.0 ready, less where busy or slow
    verdict: str | None = None  # ready, busy, suspect, hung …; None where nobody said
    reason: str | None = None
    message: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Choice:
    """The answer to "who may have this request?": `refuse`, or try the `candidates` in turn.

    Not `known`: no fresh document covers all that was asked for, and the candidates are where requests went before, or
    the router's own table. Nobody vouches for them: use short deadlines.
    """

    candidates: tuple[Backend, ...]  # best first
    known: bool
    retry_after_s: float
    reason: str  # for people; empty where there is nothing to explain

    @property
    def backend(self) -> Backend | None:
        """The best candidate. None alone does not mean "refuse": see `refuse`."""
        return self.candidates[0] if self.candidates else None

    @property
    def refuse(self) -> bool:
        """True only where a fresh document says that nothing asked for is routable: answer 503 now, never wait."""
        return self.known and not self.candidates


@dataclass(frozen=True)
class Snapshot:
    """One document, read-only: several questions to one snapshot get answers that agree."""

    known: bool  # False: expired, missing or unreadable; the rest is what was last known
    why_unknown: str = ""
    epoch: str = ""  # a new one per life of the supervisor
    revision: int = 0
    expires_at: datetime | None = None
    valid_for_s: float = 0.0
    backends: tuple[Backend, ...] = ()  # in the document's order
    models: Mapping[str, tuple[Backend, ...]] = field(default_factory=dict)  # by alias, best first
    own_table: Mapping[str, tuple[Backend, ...]] = field(default_factory=dict, repr=False)

    def find(self, name: str) -> Backend | None:
        """Return what the document says about backend `name`; None where it says nothing."""
        return next((backend for backend in self.backends if backend.name == name), None)

    def is_routable(self, name: str) -> bool:
        """Say whether backend `name` may be sent requests: True unless a fresh document says no."""
        backend = self.find(name) if self.known else None
        return backend is None or backend.routable

    def pick(self, alias: str, *more: str) -> Choice:
        """Choose among the backends of `alias`, then of each further alias, in this order of preference.

        Within an alias the higher weight comes first, and equal weights keep the document's order. While unknown,
        what was last said not to be routable comes after all others, but it comes: silence takes nobody out.
        """
        aliases = (alias, *more)
        asked: dict[str, Backend] = {}
        for one in aliases:
            # An alias that no document names is not supervised, which says nothing against it.
            for backend in self.models.get(one, self.own_table.get(one, ())):
                asked.setdefault(backend.name, backend)
        found = sorted((b for b in asked.values() if self.is_routable(b.name)), key=lambda b: not b.routable)
        refusals = (f"{b.name}: {b.message or b.reason or b.verdict}" for b in asked.values() if not found)
        waits_s = (b.retry_after_s for b in asked.values() if b.retry_after_s is not None)
        return Choice(
            candidates=tuple(found),
            known=self.known and all(one in self.models for one in aliases),
            retry_after_s=min(waits_s, default=DEFAULT_RETRY_AFTER_S),
            reason="; ".join(refusals) if self.known else self.why_unknown,
        )


class Liveness:
    """Follow the document at `source`: a path, `http://host:port` or `unix:///path/of/a.sock`.

    A file costs one `os.stat` a read while it has not changed. An address is fetched at most every `poll_s` by
    whichever caller comes first, who waits `timeout_s` at the longest (looking up a host name is not counted: prefer
    numbers); the others go on with what is held. Where no caller may wait, as on an event loop, call `refresh` from a
    thread of your own more often than every `poll_s`.

    `own_table` is the routing you would use without a supervisor; it serves the aliases that no document names.
    A source that this cannot read from raises ValueError here; nothing raises later.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        own_table: Iterable[Backend] = (),
        token: str | None = None,
        timeout_s: float = 0.5,
        poll_s: float = 1.0,
        wall_clock: Clock = time.time,
        steady_clock: Clock = time.monotonic,
    ) -> None:
        self._wall_clock, self._steady_clock = wall_clock, steady_clock
        self._lock = threading.Lock()
        self._source: _File | _Address
        if isinstance(source, str) and "://" in source:
            self._source = _Address(source, token=token, timeout_s=timeout_s, poll_s=poll_s, clock=steady_clock)
        else:
            self._source = _File(os.fspath(source))
        self._held = self._take(_Held(Snapshot(known=False, own_table=_table(own_table))))

    def snapshot(self) -> Snapshot:
        """Return what is known at this moment."""
        if self._source.is_due():
            self.refresh(only_if_due=True)
        held = self._held
        # Two clocks: by the wall clock alone a document lives for ever once somebody sets the clock back; the steady
        # one stands still while the machine sleeps.
        if held.fresh and self._steady_clock() < held.until_steady_s and self._wall_clock() < held.until_wall_s:
            return held.fresh
        return held.stale

    def refresh(self, *, only_if_due: bool = False) -> None:
        """Read the source now; do nothing while another thread is reading it."""
        if self._lock.acquire(blocking=False):
            try:
                if not only_if_due or self._source.is_due():
                    self._held = self._take(self._held)
            finally:
                self._lock.release()

    def pick(self, alias: str, *more: str) -> Choice:
        """Choose for one request; see `Snapshot.pick`."""
        return self.snapshot().pick(alias, *more)

    def is_routable(self, name: str) -> bool:
        """Say whether backend `name` may be sent requests: True unless a fresh document says no."""
        return self.snapshot().is_routable(name)

    def _take(self, held: _Held) -> _Held:
        asked_at_s = self._steady_clock()
        try:
            news = self._source.read(held.etag)
            fresh = _parse(news, held.stale)
        except _Unreachable as error:
            return replace(held, stale=replace(held.stale, why_unknown=str(error)), etag=None)
        except _Unreadable as error:
            return _Held(stale=replace(held.stale, why_unknown=str(error)))
        until_wall_s = fresh.expires_at.timestamp() if fresh.expires_at else -math.inf
        left_s = until_wall_s - (news.writers_now_s or self._wall_clock())
        if news.writers_now_s:
            until_wall_s = math.inf  # by a clock that is not ours
        stale = replace(fresh, known=False, why_unknown=f"the liveness document expired at {fresh.expires_at}")
        return _Held(stale, fresh, news.etag, asked_at_s + min(left_s, fresh.valid_for_s), until_wall_s)


class _Unreadable(Exception):
    """There is no document, or not one we understand: unknown, at once."""


class _Unreachable(Exception):
    """The supervisor could not be asked: what is held counts until it expires."""


@dataclass(frozen=True)
class _News:
    """What a source gave us."""

    body: bytes | None  # None: what is held is still true, until `expires_at`
    etag: str | None = None
    expires_at: datetime | None = None
    writers_now_s: float | None = None  # the clock by which the times were written; None: ours


@dataclass(frozen=True)
class _Held:
    """The last document in both lights, and until when the better one holds."""

    stale: Snapshot
    fresh: Snapshot | None = None
    etag: str | None = None
    until_steady_s: float = -math.inf
    until_wall_s: float = -math.inf


class _File:
    """A document on disk: written aside and renamed, so that a new one is a new inode."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None  # what marks the file that was read

    def is_due(self) -> bool:
        try:
            return _mark(os.stat(self._path)) != self._seen
        except OSError:
            return self._seen is not None

    def read(self, _etag: str | None) -> _News:
        self._seen = None  # until it is read: having run out of file handles must not stick
        try:
            # Not blocking: a pipe of that name would keep us waiting for its writer.
            with open(self._path, "rb", 0, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
                self._seen = _mark(os.fstat(file.fileno()))
                return _News(file.read(MAX_DOCUMENT_BYTES + 1) or b"")
        except OSError as error:
            raise _Unreadable(f"cannot read {self._path}: {error.strerror}") from error


class _Address:
    """A document served by the supervisor and fetched now and then."""

    def __init__(self, url: str, *, token: str | None, timeout_s: float, poll_s: float, clock: Clock) -> None:
        parts = urlsplit(url)
        if token and not token.isprintable():
            raise ValueError("the liveness token has a line break or another control character in it")
        self._url = url
        self._family, self._peer = _family_and_peer(parts)
        self._timeout_s, self._poll_s, self._clock = timeout_s, poll_s, clock
        self._due_s = -math.inf
        path = PATH if parts.scheme == "unix" or parts.path in ("", "/") else parts.path
        # 1.0: one answer, in one piece, and then the server hangs up.
        self._request = f"GET {path} HTTP/1.0\r\nHost: {parts.netloc or 'localhost'}\r\n".encode("ascii")
        self._request += f"Authorization: Bearer {token}\r\n".encode("ascii") if token else b""

    def is_due(self) -> bool:
        return self._clock() >= self._due_s

    def read(self, etag: str | None) -> _News:
        began_s = self._clock()
        try:
            return self._understand(self._exchange(etag), etag)
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            raise _Unreachable(f"cannot read {self._url}: {error or type(error).__name__}") from error
        finally:
            # Ten times what it took: a supervisor that hangs costs its callers a tenth of their time, not half.
            ended_s = self._clock()
            self._due_s = ended_s + max(self._poll_s, min(10 * (ended_s - began_s), LONGEST_PAUSE_S))

    def _exchange(self, etag: str | None) -> bytes:
        deadline_s = time.monotonic() + self._timeout_s
        condition = f"If-None-Match: {etag}\r\n" if etag else ""
        received = bytearray()
        with socket.socket(self._family) as connection:
            connection.settimeout(self._timeout_s)
            connection.connect(self._peer)
            connection.sendall(self._request + condition.encode("latin-1") + b"\r\n")
            while len(received) <= 2 * MAX_DOCUMENT_BYTES:
                left_s = deadline_s - time.monotonic()  # for the whole answer, not per piece: a drip ends too
                if left_s <= 0:
                    raise TimeoutError(f"no whole answer within {self._timeout_s} s")
                connection.settimeout(left_s)
                if not (piece := connection.recv(1 << 16)):
                    break
                received += piece
        return bytes(received)

    def _understand(self, received: bytes, etag: str | None) -> _News:
        socket_like = SimpleNamespace(makefile=lambda _mode: io.BytesIO(received))
        answer = http.client.HTTPResponse(cast("socket.socket", socket_like))
        answer.begin()
        date = parsedate_tz(answer.headers["Date"] or "")
        unchanged = answer.status == 304 and etag is not None
        if answer.status != 200 and not unchanged:
            raise OSError(f"it answered {answer.status} {answer.reason}")
        return _News(
            body=None if unchanged else answer.read(MAX_DOCUMENT_BYTES + 1),
            etag=answer.headers["ETag"] or etag,
            expires_at=_moment(answer.headers["Liveness-Expires-At"] or "") if unchanged else None,
            # Two hosts' clocks may disagree by more than a document's life; these two times are both the server's.
            writers_now_s=mktime_tz(date) if date else None,
        )


def _parse(news: _News, last: Snapshot) -> Snapshot:
    if news.body is None:
        return replace(last, known=True, why_unknown="", expires_at=news.expires_at)
    if len(news.body) > MAX_DOCUMENT_BYTES:
        raise _Unreadable(f"the liveness document is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return _snapshot(json.loads(news.body), last.own_table)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise _Unreadable(f"not a liveness document: {type(error).__name__}: {error}"[:200]) from error


def _snapshot(document: Any, own_table: Mapping[str, tuple[Backend, ...]]) -> Snapshot:
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {document['schema']!r}, and this client reads {SCHEMA}: copy the newer client")
    backends = tuple(_backend(entry) for entry in _a(list, document, "backends"))
    by_name = {backend.name: backend for backend in backends}
    return Snapshot(
        known=True,
        epoch=_a(str, document, "epoch"),
        revision=_a(int, document, "revision"),
        expires_at=_moment(_a(str, document, "expires_at")),
        valid_for_s=_number(document["valid_for_s"]),
        backends=backends,
        models={
            alias: tuple(sorted((by_name[name] for name in names), key=lambda backend: -backend.weight))
            for alias, names in _a(dict, document, "models").items()
        },
        own_table=own_table,
    )


def _backend(entry: Any) -> Backend:
    return Backend(
        name=_a(str, entry, "name"),
        url=_a(str, entry, "url"),
        models=tuple(map(str, _a(list, entry, "models"))),
        routable=_a(bool, entry, "routable"),
        weight=_number(entry["weight"]),
        retry_after_s=None if entry.get("retry_after_s") is None else _number(entry["retry_after_s"]),
        verdict=entry.get("verdict"),
        reason=entry.get("reason"),
        message=entry.get("message"),
    )


def _table(backends: Iterable[Backend]) -> dict[str, tuple[Backend, ...]]:
    table: dict[str, tuple[Backend, ...]] = {}
    for backend in backends:
        for alias in backend.models or (backend.name,):
            table[alias] = (*table.get(alias, ()), backend)
    return table


def _family_and_peer(parts: SplitResult) -> tuple[socket.AddressFamily, Any]:
    if parts.scheme == "unix" and parts.path:
        return socket.AF_UNIX, parts.path
    if parts.scheme == "http" and parts.hostname:
        return socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET, (parts.hostname, parts.port or 80)
    raise ValueError(f"liveness from {parts.geturl()!r}: give a path, http://host:port or unix:///path/of/a.sock")


def _mark(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _a(kind: type, entry: Any, key: str) -> Any:
    if type(entry[key]) is not kind:
        raise TypeError(f"{key} is not {kind.__name__}")
    return entry[key]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value} is not a number")
    return float(value)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
