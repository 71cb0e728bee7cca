"""Follow what a container prints, over the engine's own stream: one connection and one thread for each that follows.

The stream waits for whoever reads it, so that a slow reader costs no memory; it ends with the container, and goes on
from the same line with its next life.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import Condition, Thread
from typing import Any, Protocol

from docker import APIClient

from supervisor.engines.base import Log, NewLife
from supervisor.engines.docker_pool import SDK_ERRORS, connect
from supervisor.engines.docker_state import Attributes
from supervisor.errors import SupervisorError

MOST_AHEAD_BYTES = 256 * 1024  # that were read and not asked for yet
MOST_OF_A_LINE = 16 * 1024
PAUSE_S = 0.05  # no restart is faster
SETTLES_S = 1.0  # the engine tells of a start a little later than its first words come
LOOK_AGAIN_S = 0.5  # at a container that does not run


Find = Callable[[], Awaitable[Attributes | None]]


class Closable(Protocol):
    """A stream of the SDK's, which another thread may end."""

    def close(self) -> None:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """What was printed at once; `stamp` is the engine's time of it, which orders."""

    stamp: bytes
    text: bytes


@dataclass(slots=True)
class Place:
    """How far a reader has come: in which container, in which life of it, and up to which stamp."""

    container: str
    began: str
    stamp: bytes = b""
    may_be_new_until: float = 0.0

    @property
    def since(self) -> int:
        """The second that the last piece was of, in the engine's time; 0: none was."""
        return int(_time(self.stamp)) if self.stamp else 0

    def moves_to(self, container: Attributes) -> bool:
        """Go on in the present life of a container; False where that is the one it is in."""
        life = (container["Id"], container["State"]["StartedAt"])
        if life == (self.container, self.began):
            return False
        self.stamp = self.stamp if self.container == life[0] else b""
        self.container, self.began = life
        return True

    def was_still_before(self, news: list[Piece]) -> bool:
        """Go on to the last of `news`, and return whether there was a pause before, as a restart makes one."""
        for piece in news:
            at = _time(piece.stamp)
            if self.stamp and at - _time(self.stamp) >= PAUSE_S:
                self.may_be_new_until = at + SETTLES_S
            self.stamp = piece.stamp
        return bool(news) and _time(news[-1].stamp) < self.may_be_new_until


def pieces(client: APIClient, container: Attributes, *, tail: int | str, since: int = 0, follow: bool = False) -> Any:
    """Return the SDK's stream of the log, each piece with its time before it."""
    asked: dict[str, Any] = {"stream": True, "follow": follow, "timestamps": True, "tail": tail, "since": since or None}
    return client.logs(container["Id"], **asked)


def read(stream: Iterable[bytes | str], container: Attributes) -> Iterator[Piece]:
    """Yield the pieces of a stream; one of a terminal comes letter by letter, and has no pieces but lines."""
    is_tty = (container.get("Config") or {}).get("Tty")
    for each in _lines(stream) if is_tty else stream:
        stamp, _, text = (each.encode() if isinstance(each, str) else each).partition(b" ")
        yield Piece(stamp, text)


def ending(client: APIClient, container: Attributes, *, lines: int, max_bytes: int) -> tuple[bytes, bytes]:
    """Return the end of what was printed so far, and the stamp of its last piece."""
    told = list(read(pieces(client, container, tail=lines), container))
    text = b"".join(piece.text for piece in told)
    return (text[-max_bytes:] if max_bytes > 0 else b""), (told[-1].stamp if told else b"")


async def follow(find: Find, place: Place, *, host: str, connect_timeout_s: float) -> Log:
    """Yield what comes after `place`, for ever; `find` looks the container up, by a name that others may get."""
    while True:
        container = await _running(find)
        if place.moves_to(container):
            yield NewLife()
        stream = LogStream(container, since=place.since, host=host, connect_timeout_s=connect_timeout_s)
        try:
            while told := await stream.next():
                # The engine counts from the beginning of the second.
                news = [piece for piece in told if piece.stamp > place.stamp]
                # Its stream may go on into the next life of the same container, as if nothing had happened.
                began = await _began_anew(find, place) if place.was_still_before(news) else None
                before = [piece for piece in news if began is None or piece.stamp < began]
                yield _text(before)
                if began is not None:
                    yield NewLife()
                    yield _text(news[len(before) :])
        finally:
            stream.cut()
        await asyncio.sleep(LOOK_AGAIN_S)


async def _running(find: Find) -> Attributes:
    while True:
        with contextlib.suppress(SupervisorError):
            container = await find()
            if container is not None and container["State"]["Running"]:
                return container
        await asyncio.sleep(LOOK_AGAIN_S)


async def _began_anew(find: Find, place: Place) -> bytes | None:
    """Return when the next life of the container began, in the words of stamps; None: it is the same life."""
    with contextlib.suppress(SupervisorError):
        container = await find()
        if container is not None and container["Id"] == place.container and place.moves_to(container):
            return _stamped(container["State"]["StartedAt"])
    return None


def _text(pieces: list[Piece]) -> bytes:
    return b"".join(piece.text for piece in pieces)


def _time(stamp: bytes) -> float:
    return datetime.fromisoformat(stamp.decode()).timestamp()


def _stamped(text: str) -> bytes:
    """Return a time of the engine's as its stamps are written: with all nine digits."""
    seconds, _, digits = text.removesuffix("Z").partition(".")
    return f"{seconds}.{digits:0<9}Z".encode()


class LogStream:
    """One connection to the log of a container that runs, until that ends."""

    def __init__(self, container: Attributes, *, since: int, host: str, connect_timeout_s: float) -> None:
        self._container = container
        self._since = since
        self._host = host
        self._connect_timeout_s = connect_timeout_s
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self._room = Condition()  # guards the next three
        self._read: list[Piece] = []
        self._read_bytes = 0
        self._is_cut = self._is_over = False
        self._stream: Closable | None = None
        Thread(target=self._run, name="docker-log", daemon=True).start()

    async def next(self) -> list[Piece]:
        """Return what has come meanwhile, and wait for something if nothing has; none at all: nothing more will."""
        await self._came.wait()
        with self._room:
            pieces, self._read, self._read_bytes = self._read, [], 0
            if not self._is_over:
                self._came.clear()
            self._room.notify()
        return pieces

    def cut(self) -> None:
        """End the connection and with it the thread, wherever it is."""
        with self._room:
            self._is_cut = True
            self._room.notify()
        if self._stream is not None:
            with contextlib.suppress(AttributeError, *SDK_ERRORS):  # what has already ended has no socket any more
                self._stream.close()

    def _run(self) -> None:
        try:
            with contextlib.suppress(*SDK_ERRORS, ValueError, AttributeError):  # the last two: cut while being read
                self._follow()
        finally:
            with self._room:
                self._is_over = True
            self._tell()

    def _follow(self) -> None:
        with contextlib.closing(connect(self._host, timeout_s=self._connect_timeout_s)) as client:
            stream = self._stream = pieces(client, self._container, tail="all", since=self._since, follow=True)
            if self._is_cut:  # while we connected, when there was no stream to close
                self.cut()
            for piece in read(stream, self._container):  # to its end, or its socket would stay open
                self._put(piece)

    def _put(self, piece: Piece) -> None:
        with self._room:
            self._room.wait_for(lambda: self._read_bytes < MOST_AHEAD_BYTES or self._is_cut)
            if self._is_cut:
                return
            self._read.append(piece)
            self._read_bytes += len(piece.text)
            is_first = len(self._read) == 1
        if is_first:
            self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._came.set)


def _lines(stream: Iterable[bytes | str]) -> Iterator[bytes]:
    line = bytearray()
    for letters in stream:
        line += letters.encode() if isinstance(letters, str) else letters
        if line.endswith(b"\n") or len(line) >= MOST_OF_A_LINE:
            yield bytes(line)
            line.clear()
    if line:
        yield bytes(line)
