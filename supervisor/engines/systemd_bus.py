"""The system bus: one connection to systemd that is made anew when it breaks, calls bounded in time, and its signals.

Translates errors and retries nothing but the connection itself, on the next call.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from supervisor.engines.masked import without_secrets
from supervisor.errors import EngineRefused, EngineUnreachable, SupervisorError, TargetMissing

T = TypeVar("T")

SYSTEMD = "org.freedesktop.systemd1"
MANAGER, MANAGER_PATH = f"{SYSTEMD}.Manager", "/org/freedesktop/systemd1"
UNIT, UNIT_PATH = f"{SYSTEMD}.Unit", f"{MANAGER_PATH}/unit"
PROPERTIES = "org.freedesktop.DBus.Properties"
BUS, BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
MATCHES = (
    f"type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',member='PropertiesChanged',"
    f"path_namespace='{UNIT_PATH}',arg0='{UNIT}'",
    f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'",
    f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='Reloading'",
    # systemd has left the bus or is back on it: either way it knows nothing of our subscription any more.
    f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'",
)
NOT_THERE = frozenset({f"{SYSTEMD}.NoSuchUnit", f"{BUS}.Error.UnknownObject", f"{BUS}.Error.InvalidArgs"})
NO_ANSWER = frozenset(
    f"{BUS}.Error.{word}"
    for word in ("NoReply", "Timeout", "TimedOut", "ServiceUnknown", "NameHasNoOwner", "Disconnected", "LimitsExceeded")
)
NOT_ALLOWED = frozenset(f"{BUS}.Error.{word}" for word in ("AccessDenied", "InteractiveAuthorizationRequired"))
NOBODY_TO_KILL = f"{SYSTEMD}.NoSuchProcess"
CUT_OFF = "CutOff"  # no signal of theirs
CLOSE_WITHIN_S = 1.0
BROKEN = (OSError, EOFError, DBusFastError)


class NobodyToKill(EngineRefused):
    """What was to be killed has ended meanwhile."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of systemd's, or of the bus about it; CUT_OFF is the last."""

    member: str
    path: str
    body: list[Any]


@dataclass(eq=False, slots=True)
class Connection:
    """One connection, until it breaks or is dropped; `held` are the units that systemd keeps for it."""

    bus: MessageBus
    held: dict[str, bool] = field(default_factory=dict)  # by unit: whether systemd agreed
    listeners: list[Callable[[Signal], None]] = field(default_factory=list)
    end: asyncio.Task[None] | None = None  # done once it has ended

    @property
    def is_up(self) -> bool:
        """Whether it still can be used, for all we know."""
        return bool(self.bus.connected)

    def drop(self) -> None:
        """End it: whoever waits for an answer hears so at once."""
        if self.is_up:
            self.bus.disconnect()

    async def follow(self) -> None:
        """Wait until it has come to an end, whatever that was, and tell."""
        with contextlib.suppress(*BROKEN):
            await self.bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        self._tell(Signal(CUT_OFF, "", []))

    def take(self, message: Message) -> None:
        """Hand a signal on."""
        if message.message_type is MessageType.SIGNAL:
            self._tell(Signal(message.member or "", message.path or "", message.body))

    def _tell(self, signal: Signal) -> None:
        for listener in list(self.listeners):
            listener(signal)


class SystemBus:
    """Asks systemd, and waits no longer than told."""

    def __init__(self, *, address: str, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def connection(self) -> Connection:
        """Return the connection, made first where there is none.

        Raises EngineUnreachable.
        """
        return await self._bounded(self._connected(), what="take a connection")

    async def call(self, member: str, signature: str, *body: Any, what: str) -> list[Any]:
        """Call a method of systemd's manager. `what` completes "systemd did not ..." for the errors.

        Raises:
            EngineUnreachable: no answer in time, or none at all.
            EngineRefused: systemd, or whoever decides about rights, said no.
            TargetMissing: systemd has no such unit.
        """
        return await self._ask(_message(MANAGER_PATH, MANAGER, member, signature, body), what=what)

    async def call_unit(self, unit: str, member: str, *, what: str) -> None:
        """Call a method of one unit that takes nothing; raises as `call` does."""
        await self._ask(_message(path_of(unit), UNIT, member, "", ()), what=what)

    async def properties(self, unit: str, *, what: str) -> dict[str, Any]:
        """Return all properties of a unit, of all its interfaces; systemd loads it for that where need be."""
        # An empty name asks for all interfaces at once: a single account, and not two of different moments.
        (found,) = await self._ask(_message(path_of(unit), PROPERTIES, "GetAll", "s", ("",)), what=what)
        return {key: variant.value if isinstance(variant, Variant) else variant for key, variant in found.items()}

    async def ping(self) -> None:
        """Return once systemd has answered."""
        await self._ask(_message(MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping", "", ()), what="answer")

    async def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()
            if connection.end is not None:
                await asyncio.wait([connection.end], timeout=CLOSE_WITHIN_S)

    async def _ask(self, message: Message, *, what: str) -> list[Any]:
        return await self._bounded(self._answer(message, what=what), what=what)

    async def _answer(self, message: Message, *, what: str) -> list[Any]:
        connection = await self._connected()
        reply = await connection.bus.call(message)
        if reply is None:  # the connection was dropped meanwhile
            raise EOFError("the connection was closed")
        if reply.message_type is MessageType.ERROR:
            raise refusal(reply.error_name or "", str(reply.body[0]) if reply.body else "", what=what)
        return list(reply.body)

    async def _bounded(self, work: Awaitable[T], *, what: str) -> T:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await work
        except TimeoutError as error:
            why = f"systemd did not {what} within {self.timeout_s:g}s; it hangs, or the system bus does"
            raise EngineUnreachable(why) from error
        except BROKEN as error:
            raise EngineUnreachable(f"systemd did not {what}: no answer at {self.address}: {_reason(error)}") from error

    async def _connected(self) -> Connection:
        async with self._lock:
            if self._connection is None or not self._connection.is_up:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> Connection:
        bus = MessageBus(bus_address=self.address)
        connection = Connection(bus)
        await bus.connect()
        try:
            bus.add_message_handler(connection.take)
            for rule in MATCHES:
                await _told(bus, Message(BUS, BUS_PATH, BUS, "AddMatch", signature="s", body=[rule]))
            await _told(bus, _message(MANAGER_PATH, MANAGER, "Subscribe", "", ()))
        except BaseException:
            connection.drop()
            raise
        connection.end = asyncio.get_running_loop().create_task(connection.follow(), name="systemd: connection")
        return connection


async def _told(bus: MessageBus, message: Message) -> None:
    reply = await bus.call(message)
    if reply is None or reply.message_type is MessageType.ERROR:
        words = reply.body[0] if reply is not None and reply.body else "the connection was closed"
        raise EOFError(f"{message.member}: {words}")


def _message(path: str, interface: str, member: str, signature: str, body: tuple[Any, ...]) -> Message:
    return Message(SYSTEMD, path, interface, member, signature=signature, body=list(body))


def refusal(error_name: str, words: str, *, what: str) -> SupervisorError:
    """Return our error for one of theirs."""
    told = without_secrets(words) or error_name
    if error_name in NOT_ALLOWED:
        return EngineRefused(
            f"systemd did not {what}: we are not allowed to ({told}); run the supervisor as root, or as its own"
            " user with the polkit rule of packaging/polkit/50-benchai-supervisor.rules (see docs/systemd.md)"
        )
    if error_name in NO_ANSWER:
        return EngineUnreachable(f"systemd did not {what}: no answer at the system bus: {told}")
    if error_name == NOBODY_TO_KILL:
        return NobodyToKill(f"systemd did not {what}: {told}")
    if error_name in NOT_THERE:
        return TargetMissing(f"systemd did not {what}: {told}")
    return EngineRefused(f"systemd did not {what}: {told}")


def path_of(unit: str) -> str:
    """Return the object path of a unit: all but ASCII letters and digits, and a digit in front, are escaped."""
    letters = (
        letter if letter.isascii() and letter.isalnum() and (place or not letter.isdigit()) else _escaped(letter)
        for place, letter in enumerate(unit)
    )
    return f"{UNIT_PATH}/{''.join(letters) or '_'}"


def unit_at(path: str) -> str:
    """Return the unit at an object path."""
    first, *rest = path.removeprefix(f"{UNIT_PATH}/").split("_")
    with contextlib.suppress(ValueError):
        return first + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest).decode(
            errors="replace"
        )
    return path


def _escaped(letter: str) -> str:
    return "".join(f"_{byte:02x}" for byte in letter.encode())


def _reason(error: BaseException) -> str:
    """Return why the bus could not be talked to, in words that say what to do."""
    if isinstance(error, PermissionError):
        return "permission denied; may this user talk to the system bus?"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket; does dbus run here, and is systemd.bus right?"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; does dbus run here, and is systemd.bus right?"
    return str(error) or type(error).__name__
