"""Read the supervisor's liveness (which model server may be sent a request), and tell it how the requests went.

For routers. One file to copy into them: the standard library only, Python 3.9 and later, thread-safe. What it reads
never makes it raise: a document that is expired, missing or unreadable means *unknown*, and then nothing is refused.
It starts no thread before the first report, which one sends so that nobody waits for it, or, with `follow`, the first
read: that one holds the supervisor's stream of changes open, and no reader waits for anything.

    liveness = Liveness("/run/benchai-supervisor/liveness.json", own_table=[Backend("code", "http://127.0.0.1:8093")])

    choice = liveness.pick("code", "general")  # "code" if it can, else "general"
    if choice.refuse:  # a fresh document says that neither can: 503 with Retry-After, at once
        return unavailable(choice.reason, choice.retry_after_s)
    for backend in choice.candidates:  # best first; where one fails, the next
        liveness.report(backend, ok=False, error="no answer for 30 s")  # or ok=True, first_token_s=0.4

In a coroutine the same calls do, with a file or `follow=True`; where an address is polled: `await pick_async(...)`.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import math
import os
import queue
import random
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import mktime_tz, parsedate_tz
from types import SimpleNamespace
from typing import Any, BinaryIO, cast
from urllib.parse import SplitResult, urlsplit

SCHEMA = 1
PATH = "/v1/liveness"
EVENTS_PATH = "/v1/events"
REPORTS_PATH = "/v1/observations"
MAX_DOCUMENT_BYTES = 1 << 20  # a thousand backends fit in half of it; more is not ours
MAX_CHOICES = 256  # kept of one document: what is asked for may come from users
DEFAULT_RETRY_AFTER_S = 5.0  # where the document does not say when to come back
SOONEST_RETRY_S = 1.0  # where the time it said is over
LONGEST_PAUSE_S = 5.0  # between two fetches: a third of a document's life
LONGEST_SILENCE_S = 5.0  # of a stream, however long its document lives
MAX_REPORTS = 100  # that wait to be sent; beyond it the oldest are dropped
MAX_BATCH = 20  # with the longest words, these fit the 64 KiB that the supervisor takes at once
MAX_CHARS = 200  # of an error or a name
OK_EVERY_S = 1.0  # of one backend: a second success within it says nothing new
GATHER_S = 0.5  # that a success waits for company; a failure goes at once
REST_S, LONG_REST_S = 0.05, 2.0  # after what was delivered, and after what was not
REPORT_S = 5.0  # for the supervisor to take reports: nobody waits, and asking twice would tell it twice
A_DAY_S = 86_400.0  # no first token takes longer
CLOSE_S = 1.0  # for what is left at the end
IDLE_S = 3.0  # without a report, after which their thread ends

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
    instance: str | None = None  # which life of it: what is reported of an earlier one is not held against this one


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
    mode: str = "enforce"  # or "observe": the supervisor tells, and restarts nobody
    expires_at: datetime | None = None
    valid_for_s: float = 0.0
    backends: tuple[Backend, ...] = ()  # in the document's order
    models: Mapping[str, tuple[Backend, ...]] = field(default_factory=dict)  # by alias, best first
    own_table: Mapping[str, tuple[Backend, ...]] = field(default_factory=dict, repr=False)
    # Asked on every request, and answered once.
    _by_name: dict[str, Backend] = field(default_factory=dict, init=False, repr=False, compare=False)
    _choices: dict[tuple[str, ...], Choice] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_name.update((backend.name, backend) for backend in self.backends)

    def find(self, name: str) -> Backend | None:
        """Return what the document says about backend `name`; None where it says nothing."""
        return self._by_name.get(name)

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
        choice = self._choices.get(aliases)
        if choice is None:
            if len(self._choices) >= MAX_CHOICES:
                self._choices.clear()
            choice = self._choices[aliases] = self._choose(aliases)
        return choice

    def retry_after(self, alias: str, *more: str) -> float | None:
        """Return in how many seconds to ask again for what is refused now; None where `pick` would not refuse it."""
        choice = self.pick(alias, *more)
        return choice.retry_after_s if choice.refuse else None

    def _choose(self, aliases: tuple[str, ...]) -> Choice:
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
    numbers); the others go on with what is held.

    With `follow` no caller waits once this is made, as suits an event loop: a thread holds the address's stream open
    and takes changes as they come. Where there is no stream it polls. It starts with the first read, anew in a forked
    process, and ends with `close` or with the last reference to this.

    `own_table` is the routing you would use without a supervisor; it serves the aliases that no document names.
    `report_to` is the address that reports go to. Where it is not given, that is the source itself or, beside a file,
    `control.sock` while there is one; "" sends none. `token` goes with all that is sent.
    A source or an address that this cannot use raises ValueError here; nothing raises later.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        follow: bool = False,
        own_table: Iterable[Backend] = (),
        report_to: str | None = None,
        token: str | None = None,
        timeout_s: float = 0.5,
        poll_s: float = 1.0,
        wall_clock: Clock = time.time,
        steady_clock: Clock = time.monotonic,
    ) -> None:
        self._book = _Book(_table(own_table), wall_clock, steady_clock)
        self._timeout_s = timeout_s
        self._source: _File | _Address | _Stream
        if isinstance(source, str) and "://" in source:
            self._source = address = _Address(_Peer(source, PATH, token, timeout_s), poll_s=poll_s, clock=steady_clock)
            if follow:
                peer = _Peer(source, EVENTS_PATH, token, timeout_s)
                self._source = _Stream(peer, address, self._book, steady_clock, poll_s)
                weakref.finalize(self, self._source.end)
            beside = source
        elif follow:
            raise ValueError(f"cannot follow {os.fspath(source)!r}: give http://host:port or unix:///path/of/a.sock")
        else:
            self._source = _File(os.fspath(source))
            beside = f"unix://{os.path.join(os.path.dirname(os.path.abspath(source)), 'control.sock')}"
        where = beside if report_to is None else report_to
        self._outbox = _Outbox(_Peer(where, REPORTS_PATH, token, REPORT_S), steady_clock) if where else None
        self.refresh()

    def snapshot(self) -> Snapshot:
        """Return what is known at this moment."""
        if self._source.is_due():
            self.refresh(only_if_due=True)
        return self._book.snapshot()

    async def snapshot_async(self) -> Snapshot:
        """As `snapshot`, and the event loop goes on while an address is asked: a thread of asyncio's does that."""
        if self._source.is_due() and not self._book.lock().locked():
            import asyncio  # whoever has no coroutines shall not wait for it

            with contextlib.suppress(asyncio.TimeoutError):  # all those threads may be taken
                await asyncio.wait_for(asyncio.to_thread(self.refresh, only_if_due=True), self._timeout_s)
        return self._book.snapshot()

    def refresh(self, *, only_if_due: bool = False) -> None:
        """Read the source now; do nothing while another thread is reading it."""
        lock = self._book.lock()
        if lock.acquire(blocking=False):
            try:
                if not only_if_due or self._source.is_due():
                    self._book.take(self._source.read)
            finally:
                lock.release()

    def pick(self, alias: str, *more: str) -> Choice:
        """Choose for one request; see `Snapshot.pick`."""
        return self.snapshot().pick(alias, *more)

    async def pick_async(self, alias: str, *more: str) -> Choice:
        """Choose for one request without holding up the event loop; see `snapshot_async`."""
        return (await self.snapshot_async()).pick(alias, *more)

    def retry_after(self, alias: str, *more: str) -> float | None:
        """Return in how many seconds to ask again for what is refused now; None where `pick` would not refuse it."""
        return self.snapshot().retry_after(alias, *more)

    def is_routable(self, name: str) -> bool:
        """Say whether backend `name` may be sent requests: True unless a fresh document says no."""
        return self.snapshot().is_routable(name)

    def report(self, backend: Backend | str, *, ok: bool, error: str = "", first_token_s: float | None = None) -> None:
        """Tell the supervisor how a real request went: it looks at once at one that fails, and probes a good one less.

        Give the `Backend` that you picked, which knows its instance, or a name or a URL. `error` is a short reason,
        without anything a user wrote. `first_token_s` is the time to the first piece of a streamed answer; leave it
        out where the answer came in one piece. A client that left, or a request that was wrong in itself, is no news.

        This neither waits nor raises, in a coroutine either. Reports are sent by a thread, a moment later; those that
        find no supervisor are tried once more and dropped. A forked process starts with none, and sends its own.
        """
        if self._outbox:
            self._outbox = self._outbox.of_this_process()
            picked = backend if isinstance(backend, Backend) else Backend(str(backend), "")
            instance = str(picked.instance)[:MAX_CHARS] if picked.instance else None
            report = {"backend": picked.name[:MAX_CHARS], "instance": instance, "ok": bool(ok)}
            outcome = {"error": str(error)[:MAX_CHARS], "first_token_s": _duration(first_token_s)}
            self._outbox.put({**report, **outcome})

    def close(self) -> None:
        """Send what is still to be reported, for a second at most, and follow no more; later reports are dropped."""
        if isinstance(self._source, _Stream):
            self._source.end()
        if self._outbox:
            self._outbox = self._outbox.of_this_process()
            self._outbox.close(CLOSE_S)


class _Unreadable(Exception):
    """There is no document, or not one we understand: unknown, at once."""


class _Unreachable(Exception):
    """The supervisor could not be asked: what is held counts until it expires."""


_NO_ANSWER = (OSError, http.client.HTTPException, ValueError, OverflowError)
_NO_DOCUMENT = (ValueError, TypeError, LookupError, OverflowError, RecursionError)


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


class _Book:
    """What is held, and how news changes it: by one at a time, while everybody reads."""

    def __init__(self, own_table: Mapping[str, tuple[Backend, ...]], wall_clock: Clock, steady_clock: Clock) -> None:
        self._wall_clock, self._steady_clock = wall_clock, steady_clock
        self._locks: dict[int, threading.Lock] = {}
        self._held = _Held(Snapshot(known=False, own_table=own_table))

    def lock(self) -> threading.Lock:
        """Return this process's lock for `take`: a fork may leave the parent's held by a thread that is not there."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def snapshot(self) -> Snapshot:
        held = self._held
        # Two clocks: by the wall clock alone a document lives for ever once somebody sets the clock back; the steady
        # one stands still while the machine sleeps.
        if held.fresh and self._steady_clock() < held.until_steady_s and self._wall_clock() < held.until_wall_s:
            return held.fresh
        return held.stale

    def is_of(self, epoch: str, revision: int) -> bool:
        """Say whether this is the document that is held, expired or not."""
        fresh = self._held.fresh
        return fresh is not None and (fresh.epoch, fresh.revision) == (epoch, revision)

    def wall_s(self) -> float:
        """Return the wall time here."""
        return self._wall_clock()

    def left_s(self) -> float:
        """Return how long what is held lives on; less than nothing where nothing does."""
        return self._held.until_steady_s - self._steady_clock()

    def take(self, read: Callable[[str | None], _News], *, is_told: bool = False) -> bool:
        """Read, and hold what came; return False where that is nothing of use. Hold `lock` meanwhile.

        What `is_told`, by a stream, may be repeated: it never replaces what is newer, or what still lives by what had
        expired when it came.
        """
        held, asked_at_s = self._held, self._steady_clock()
        try:
            news = read(held.etag)
            fresh = _parse(news, held.stale)
        except _Unreachable as error:
            self._held = replace(held, stale=replace(held.stale, why_unknown=str(error)), etag=None)
            return False
        except _Unreadable as error:
            self._held = _Held(stale=replace(held.stale, why_unknown=str(error)))
            return True
        until_wall_s, now_s = (fresh.expires_at.timestamp() if fresh.expires_at else -math.inf), self._wall_clock()
        left_s = until_wall_s - (news.writers_now_s or now_s)
        if news.writers_now_s:
            until_wall_s = now_s + left_s  # by our clock, and not by theirs
        if is_told and fresh.epoch == held.stale.epoch and fresh.revision < held.stale.revision:
            return True
        if is_told and left_s <= 0:
            return False
        stale = replace(fresh, known=False, why_unknown=f"the liveness document expired at {fresh.expires_at}")
        self._held = _Held(stale, fresh, news.etag, asked_at_s + min(left_s, fresh.valid_for_s), until_wall_s)
        return True


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


class _Peer:
    """Whoever listens at an address: a connection for each request, and one deadline for all of its answer."""

    def __init__(self, url: str, path: str, token: str | None, timeout_s: float) -> None:
        parts = urlsplit(url)
        if token and not token.isprintable():
            raise ValueError("the liveness token has a line break or another control character in it")
        self.url = url
        self._family, self._place = _family_and_place(parts)
        self.timeout_s = timeout_s
        # 1.0: one answer, in one piece, and then the server hangs up.
        self._head = f" {_path(parts, path)} HTTP/1.0\r\nHost: {parts.netloc or 'localhost'}\r\n".encode("ascii")
        self._head += f"Authorization: Bearer {token}\r\n".encode("ascii") if token else b""

    def is_there(self) -> bool:
        """Say whether asking is worth a try: a socket that does not exist has nobody behind it."""
        return self._family != socket.AF_UNIX or os.path.exists(self._place)

    def ask(self, method: str, header: str = "", body: bytes = b"") -> http.client.HTTPResponse:
        """Return the answer. Raises OSError, HTTPException, ValueError or OverflowError where there is none."""
        until_s = time.monotonic() + self.timeout_s  # for all of it, not per piece: a drip ends too
        with self.asked(method, header, body) as connection:
            received = io.BufferedReader(_Wire(connection, until_s)).read(2 * MAX_DOCUMENT_BYTES)
        return _answer(io.BytesIO(received))

    @contextlib.contextmanager
    def asked(self, method: str, header: str = "", body: bytes = b"") -> Iterator[socket.socket]:
        """Connect, ask, and hang up in the end."""
        with socket.socket(self._family) as connection:
            connection.settimeout(self.timeout_s)
            connection.connect(self._place)
            connection.sendall(method.encode("ascii") + self._head + header.encode("latin-1") + b"\r\n" + body)
            yield connection


class _Wire(io.RawIOBase):
    """What comes over a connection, until a moment that its reader may move."""

    def __init__(self, connection: socket.socket, until_s: float) -> None:
        super().__init__()
        self._connection, self.until_s = connection, until_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("it took too long")
        self._connection.settimeout(left_s)
        return self._connection.recv_into(buffer)


class _Address:
    """A document served by the supervisor and fetched now and then."""

    def __init__(self, peer: _Peer, *, poll_s: float, clock: Clock) -> None:
        self._peer, self._poll_s, self._clock = peer, poll_s, clock
        self._due_s = -math.inf

    def is_due(self) -> bool:
        return self._clock() >= self._due_s

    def read(self, etag: str | None) -> _News:
        began_s = self._clock()
        try:
            return _news(self._peer.ask("GET", f"If-None-Match: {etag}\r\n" if etag else ""), etag)
        except _NO_ANSWER as error:
            raise _Unreachable(f"cannot read {self._peer.url}: {error or type(error).__name__}") from error
        finally:
            # Ten times what it took: a supervisor that hangs costs its callers a tenth of their time, not half.
            ended_s = self._clock()
            self._due_s = ended_s + max(self._poll_s, min(10 * (ended_s - began_s), LONGEST_PAUSE_S))


class _Stream:
    """An address whose changes come by themselves: whoever reads has nothing to wait for."""

    def __init__(self, peer: _Peer, address: _Address, book: _Book, clock: Clock, poll_s: float) -> None:
        self._peer, self._address, self._book, self._clock, self._poll_s = peer, address, book, clock, poll_s
        self._follower: _Follower | None = None
        self._is_over = False

    def is_due(self) -> bool:
        """Never; but the first to ask in a process has the stream followed."""
        follower = self._follower
        if (follower is None or follower.pid != os.getpid()) and not self._is_over:
            self._begin(os.getpid())
        return False

    def read(self, etag: str | None) -> _News:
        return self._address.read(etag)

    def end(self) -> None:
        self._is_over = True
        if self._follower:
            self._follower.end()

    def _begin(self, pid: int) -> None:
        lock = self._book.lock()
        if lock.acquire(blocking=False):  # somebody else is at it, or fetching: the next read finds out
            try:
                if self._follower is None or self._follower.pid != pid:
                    if self._follower:
                        self._follower.let_go()
                    self._follower = _Follower(self._peer, self._address, self._book, self._clock, self._poll_s)
                    self._follower.start()
                    if self._is_over:  # ended meanwhile
                        self._follower.end()
            finally:
                lock.release()


class _Follower:
    """The thread of one process that holds the stream open; where it cannot, it fetches the document now and then."""

    def __init__(self, peer: _Peer, address: _Address, book: _Book, clock: Clock, poll_s: float) -> None:
        self._peer, self._address, self._book, self._clock = peer, address, book, clock
        self.pid = os.getpid()  # 0: it is not there
        self._retry_s = min(max(poll_s, REST_S), LONGEST_PAUSE_S)  # until the stream says how soon
        self._last_id = ""
        self._connection: socket.socket | None = None
        self._is_over = False
        self._alarm: queue.SimpleQueue[None] = queue.SimpleQueue()  # which a finalizer may use, whatever it interrupts

    def start(self) -> None:
        try:
            threading.Thread(target=self._run, name="liveness stream", daemon=True).start()
        except RuntimeError:  # no thread to be had now: the next read tries again
            self.pid = 0

    def end(self) -> None:
        """End soon, without waiting for it; in another process than its own, do nothing."""
        if self.pid == os.getpid():
            self._is_over = True
            self._alarm.put(None)
            if self._connection:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """In a forked process: close our copy of the parent's connection, which the parent goes on reading."""
        if self._connection:
            self._connection.close()

    def _run(self) -> None:
        pause_s = self._retry_s
        try:
            while not self._is_over:
                with contextlib.suppress(*_NO_ANSWER):
                    self._follow()
                if not self._is_over:
                    pause_s = self._retry_s if self._fetch() else min(2 * pause_s, LONGEST_PAUSE_S)
                    with contextlib.suppress(queue.Empty):
                        self._alarm.get(timeout=pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - not all at once
        finally:
            self.pid = 0

    def _fetch(self) -> bool:
        with self._book.lock():
            return self._book.take(self._address.read)

    def _follow(self) -> None:
        last = f"Last-Event-ID: {self._last_id}\r\n" if self._last_id else ""
        with self._peer.asked("GET", f"Accept: text/event-stream\r\n{last}") as connection:
            self._connection = connection
            if self._is_over:
                return
            wire = _Wire(connection, time.monotonic() + self._peer.timeout_s)
            answer = _answer(cast("BinaryIO", io.BufferedReader(wire)))
            if answer.status != 200 or not (answer.headers["Content-Type"] or "").startswith("text/event-stream"):
                raise OSError(f"it answered {answer.status} {answer.reason}, and no stream")
            # The first document may have been written long ago, so its own time says nothing about their clock.
            date = _date(answer)
            ahead_s = (date - self._clock(), date - self._book.wall_s()) if date else None
            for kind, data in self._events(answer):
                if kind in ("liveness", "fresh"):
                    # The steady clock stands still while the machine sleeps, and what lay in the buffer grows old.
                    now_s = ahead_s and max(ahead_s[0] + self._clock(), ahead_s[1] + self._book.wall_s())
                    self._heed(kind, data, now_s)
                    if self._book.snapshot().known:
                        wire.until_s = self._patient_until_s()

    def _patient_until_s(self) -> float:
        # A stream that lives tells of every other second; silence may be a proxy's that keeps the news to itself.
        return time.monotonic() + max(min(self._book.left_s(), LONGEST_SILENCE_S), self._peer.timeout_s)

    def _heed(self, kind: str, data: bytes, writers_now_s: float | None) -> None:
        def read(_etag: str | None) -> _News:
            return self._renewal(data, writers_now_s) if kind == "fresh" else _News(data, writers_now_s=writers_now_s)

        with self._book.lock():
            is_of_use = self._book.take(read, is_told=True)
        # It had expired by what we take for their clock, or was about a document that we do not have.
        if not is_of_use and self._address.is_due():
            self._fetch()

    def _renewal(self, data: bytes, writers_now_s: float | None) -> _News:
        try:
            renewal = json.loads(data)
            if self._book.is_of(renewal["epoch"], renewal["revision"]):
                return _News(None, expires_at=_moment(renewal["expires_at"]), writers_now_s=writers_now_s)
        except _NO_DOCUMENT as error:
            raise _Unreachable(f"{self._peer.url} sent what is no renewal: {error}"[:MAX_CHARS]) from error
        raise _Unreachable(f"{self._peer.url} renewed a document that we do not have")

    def _events(self, answer: http.client.HTTPResponse) -> Iterator[tuple[str, bytes]]:
        kind, data, event_id = "", bytearray(), self._last_id
        while line := answer.readline(MAX_DOCUMENT_BYTES + MAX_CHARS):
            name, _, value = line.rstrip(b"\r\n").partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            text = value[:MAX_CHARS].decode(errors="replace")
            if not line.endswith(b"\n") or len(data) > MAX_DOCUMENT_BYTES:
                raise OSError("an event was larger than any of ours, or broke off")
            if name == b"event":
                kind = text
            elif name == b"data":
                data += value + b"\n"
            elif name == b"id" and text.isascii() and text.isprintable():  # it goes into a header
                event_id = text
            elif name == b"retry" and text.isascii() and text.isdigit():
                self._retry_s = min(max(int(text) / 1000, REST_S), LONGEST_PAUSE_S)
            elif line in (b"\n", b"\r\n"):
                self._last_id = event_id
                yield kind, bytes(data)
                kind, data = "", bytearray()


class _Outbox:
    """Reports on their way: few at most, and a thread that ends where there are none."""

    def __init__(self, peer: _Peer, clock: Clock) -> None:
        self._peer, self._clock = peer, clock
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MAX_REPORTS)  # since when, and what
        self._last_ok_s: dict[str, float] = {}  # by backend, since its last failure
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def of_this_process(self) -> _Outbox:
        """Return this outbox or, after a fork, which leaves the thread behind and may leave a lock held, a new one."""
        return self if self._pid == os.getpid() else _Outbox(self._peer, self._clock)

    def put(self, report: dict[str, Any]) -> None:
        now_s = self._clock()
        with self._changed:
            if self._is_closing or not self._is_news(report, now_s) or not self._peer.is_there():
                return
            self._waiting.append((now_s, report))
            self._changed.notify_all()
            if self._thread is None:
                thread = threading.Thread(target=self._send_all, name="liveness reports", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread to be had now: the next report tries again
                    thread.start()
                    self._thread = thread

    def close(self, within_s: float) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread:
            thread.join(within_s)

    def _is_news(self, report: dict[str, Any], now_s: float) -> bool:
        name = report["backend"]
        if not name:  # the supervisor would refuse all that comes with it
            return False
        if not report["ok"]:
            self._last_ok_s.pop(name, None)  # that it answers again will be news
        elif now_s - self._last_ok_s.get(name, -math.inf) < OK_EVERY_S:
            return False
        else:
            if len(self._last_ok_s) >= MAX_REPORTS:  # names without end are somebody's mistake, and must not pile up
                self._last_ok_s.clear()
            self._last_ok_s[name] = now_s
        return True

    def _send_all(self) -> None:
        while batch := self._next_batch():
            delivered = self._deliver(batch)
            if not delivered:
                self._rest(LONG_REST_S)
                delivered = self._deliver(batch)
            self._rest(REST_S if delivered else LONG_REST_S)

    def _next_batch(self) -> list[tuple[float, dict[str, Any]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing, IDLE_S)
            self._changed.wait_for(self._is_urgent, GATHER_S)
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            if not batch:
                self._thread = None
            return batch

    def _is_urgent(self) -> bool:
        return self._is_closing or not all(report["ok"] for _, report in self._waiting)

    def _rest(self, rest_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, rest_s)

    def _deliver(self, batch: list[tuple[float, dict[str, Any]]]) -> bool:
        now_s = self._clock()
        told = [{**report, "age_s": round(max(0.0, now_s - at_s), 3)} for at_s, report in batch]
        body = json.dumps(told, ensure_ascii=False).encode(errors="replace")
        try:
            answer = self._peer.ask("POST", f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n", body)
        except _NO_ANSWER:
            return False
        return answer.status < 500  # with less it has said what it thinks of them, and would say so again


def _answer(received: BinaryIO) -> http.client.HTTPResponse:
    socket_like = SimpleNamespace(makefile=lambda _mode: received)
    answer = http.client.HTTPResponse(cast("socket.socket", socket_like))
    answer.begin()
    return answer


def _date(answer: http.client.HTTPResponse) -> float | None:
    date = parsedate_tz(answer.headers["Date"] or "")
    return mktime_tz(date) if date else None


def _news(answer: http.client.HTTPResponse, etag: str | None) -> _News:
    unchanged = answer.status == 304 and etag is not None
    if answer.status != 200 and not unchanged:
        raise OSError(f"it answered {answer.status} {answer.reason}")
    return _News(
        body=None if unchanged else answer.read(MAX_DOCUMENT_BYTES + 1),
        etag=answer.headers["ETag"] or etag,
        expires_at=_moment(answer.headers["Liveness-Expires-At"] or "") if unchanged else None,
        # Two hosts' clocks may disagree by more than a document's life; these two times are both the server's.
        writers_now_s=_date(answer),
    )


def _parse(news: _News, last: Snapshot) -> Snapshot:
    if news.body is None:
        return replace(_aged(last, news.expires_at), known=True, why_unknown="", expires_at=news.expires_at)
    if len(news.body) > MAX_DOCUMENT_BYTES:
        raise _Unreadable(f"the liveness document is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return _snapshot(json.loads(news.body), last.own_table)
    except _NO_DOCUMENT as error:
        raise _Unreadable(f"not a liveness document: {type(error).__name__}: {error}"[:200]) from error


def _aged(last: Snapshot, expires_at: datetime | None) -> Snapshot:
    """Return the same with shorter waits: nothing but time has changed, and a document is not sent anew for that."""
    if not (expires_at and last.expires_at and any(backend.retry_after_s for backend in last.backends)):
        return last
    passed_s = max(0.0, (expires_at - last.expires_at).total_seconds())

    def age(backend: Backend) -> Backend:
        wait_s = backend.retry_after_s
        if wait_s is None:
            return backend
        return replace(backend, retry_after_s=max(min(wait_s, SOONEST_RETRY_S), wait_s - passed_s))

    models = {alias: tuple(map(age, backends)) for alias, backends in last.models.items()}
    return replace(last, backends=tuple(map(age, last.backends)), models=models)


def _snapshot(document: Any, own_table: Mapping[str, tuple[Backend, ...]]) -> Snapshot:
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {document['schema']!r}, and this client reads {SCHEMA}: copy the newer client")
    backends = tuple(_backend(entry) for entry in _a(list, document, "backends"))
    by_name = {backend.name: backend for backend in backends}
    return Snapshot(
        known=True,
        epoch=_a(str, document, "epoch"),
        revision=_a(int, document, "revision"),
        mode=str(document.get("mode") or "enforce"),
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
        instance=entry.get("instance"),
    )


def _table(backends: Iterable[Backend]) -> dict[str, tuple[Backend, ...]]:
    table: dict[str, tuple[Backend, ...]] = {}
    for backend in backends:
        for alias in backend.models or (backend.name,):
            table[alias] = (*table.get(alias, ()), backend)
    return table


def _family_and_place(parts: SplitResult) -> tuple[socket.AddressFamily, Any]:
    if parts.scheme == "unix" and parts.path:
        return socket.AF_UNIX, parts.path
    if parts.scheme == "http" and parts.hostname:
        return socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET, (parts.hostname, parts.port or 80)
    raise ValueError(f"liveness from {parts.geturl()!r}: give a path, http://host:port or unix:///path/of/a.sock")


def _path(parts: SplitResult, wanted: str) -> str:
    if parts.scheme == "unix" or parts.path in ("", "/"):
        return wanted
    # Whoever names the document's own path has named where all the others begin.
    return parts.path if wanted == PATH else f"{parts.path.replace(PATH, '').rstrip('/')}{wanted}"


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


def _duration(value: Any) -> float | None:
    try:
        return _number(value) if 0 <= value <= A_DAY_S else None
    except (TypeError, ValueError, OverflowError):
        return None


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
