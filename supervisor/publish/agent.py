"""Answer HAProxy's agent checks: one connection, one backend's name, one line that says what to do with it.

HAProxy keeps `drain` and `maint` until it hears `ready`, so every other answer begins with that. Where nothing can be
said it gets no line at all, and leaves the backend as it is.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Final

from loguru import logger

from supervisor.core.liveness import Snapshot, weight
from supervisor.core.state import Phase
from supervisor.errors import StartupError
from supervisor.publish.board import Board

MOST_CONNECTIONS: Final = 128  # at once; each is done in a millisecond, unless whoever connects says nothing
ASK_WITHIN_S: Final = 2.0  # for the name to come, and again for our line to be taken
NAME_BYTES: Final = 128  # and the end of its line
REASON_CHARS: Final = 100  # HAProxy logs it and shows it on its page
STRANGERS: Final = 20  # names that we do not watch and have complained of


def say(snapshot: Snapshot, *, now: float, patience_s: float) -> str | None:
    """Return the line for a target at `now`; None where nobody has been able to judge it yet, for `patience_s`.

    Then it is told as routers are: what an earlier daemon of ours said must not hold for ever.

    A backend that is drained or stopped by a person has HAProxy's own words for that, and keeps what it is serving.
    """
    state = snapshot.state
    if snapshot.drain is not None and state.phase is not Phase.STOPPED:
        down = state.phase in (Phase.BACKOFF, Phase.FAILED)
        return f"drain down #{_why(snapshot)}" if down else "drain 0%"
    match state.phase:
        case Phase.UNKNOWN if now - state.since < patience_s:
            return None
        case Phase.DRAINING | Phase.STOPPING:
            return "drain 0%"  # the weight says it to those of its rules that ask for no more than that
        case Phase.STOPPED:
            return f"maint down #{_printable(state.judgement.message)}"
        case phase if phase.is_routable:
            return f"ready up {max(1, round(100 * weight(snapshot, now=now)))}%"
        case _:
            return f"ready down #{_why(snapshot)}"


def _why(snapshot: Snapshot) -> str:
    judgement = snapshot.state.judgement
    return _printable(f"{judgement.verdict}: {judgement.message}")


def _printable(text: str) -> str:
    """Return so much of a text as may stand in a line of a log: a server's own words may be in it."""
    plain = "".join(each if each.isascii() and each.isprintable() else "?" for each in text)
    return plain[:REASON_CHARS].strip()


def listen(host: str, port: int) -> socket.socket:
    """Bind at once, so that a taken port stops the start.

    Raises:
        StartupError: the port is taken or the address is not ours.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = f"cannot listen on {host}:{port} ({error.strerror})"
        raise StartupError(f"agent: {reason}; set agent.host to an own address and agent.port to a free one") from error


class AgentServer:
    """Serves the agent checks of any number of HAProxys on one socket that is already bound."""

    def __init__(self, listener: socket.socket, board: Board, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._listener = listener
        self._board = board
        self._clock = clock
        self._silent: dict[asyncio.StreamWriter, None] = {}  # connected without a word yet, the longest first
        self._strangers: set[str] = set()

    async def run(self) -> None:
        """Serve for ever."""
        server = await asyncio.start_server(self._meet, sock=self._listener, limit=NAME_BYTES)
        async with server:
            await server.serve_forever()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one check. Whoever is slow or wordy is hung up on; of too many, who has said nothing the longest."""
        self._silent[writer] = None
        if len(self._silent) > MOST_CONNECTIONS:
            next(iter(self._silent)).transport.abort()
        try:
            with contextlib.suppress(OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
                await self._answer(reader, writer)
        finally:
            self._silent.pop(writer, None)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(ASK_WITHIN_S):
            asked = await reader.readuntil(b"\n")
        self._silent.pop(writer, None)
        if line := self._line(asked.decode("ascii", "replace").strip()):
            async with asyncio.timeout(ASK_WITHIN_S):
                writer.write(f"{line}\n".encode())
                await writer.drain()

    def _line(self, name: str) -> str | None:
        snapshot = self._board.believed(name)
        if snapshot is None:
            self._complain(name)
            return None
        # Where our own loop is late, what it last believed may be long over.
        return say(snapshot, now=self._clock(), patience_s=self._board.valid_for_s) if self._board.ticks else None

    def _complain(self, name: str) -> None:
        if name not in self._strangers and len(self._strangers) < STRANGERS:
            self._strangers.add(name)
            known = ", ".join(each.name for each in self._board.snapshots)
            logger.warning("agent: asked about {!r}, which is no target; agent-send must be one of: {}", name, known)
