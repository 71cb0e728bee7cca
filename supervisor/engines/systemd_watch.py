"""What systemd's signals tell, translated into changes, for as long as one connection lasts."""

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Final, Self

from supervisor.engines import systemd_bus
from supervisor.engines.base import Changed
from supervisor.engines.systemd_bus import Connection, Signal, unit_at

SERVICE: Final = ".service"
CUT_OFF: Final = Changed(name=None, what="cut off")
WORDS: Final = {"active": "start", "activating": "start", "deactivating": "stop", "inactive": "die", "failed": "die"}
MOST_WAITING: Final = 1000


class Changes:
    """The changes of services. Used with `with`; ends with CUT_OFF.

    That systemd has loaded a unit (UnitNew), or put it away, is no change: it does so whenever anybody asks for it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._changes: asyncio.Queue[Changed] = asyncio.Queue(MOST_WAITING)
        self._states: dict[str, tuple[str, str, str]] = {}

    def __enter__(self) -> Self:
        self._connection.listeners.append(self._take)
        if not self._connection.is_up:
            self._put(CUT_OFF)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.listeners.remove(self._take)

    async def next(self) -> Changed:
        """Return what comes next."""
        return await self._changes.get()

    def _take(self, signal: Signal) -> None:
        match signal.member:
            case "PropertiesChanged":
                self._take_properties(unit_at(signal.path), signal.body[1])
            case "Reloading" if signal.body == [False]:
                self._put(Changed(name=None, what="reloaded"))
            case "NameOwnerChanged":
                self._connection.drop()  # systemd was away, and has forgotten that we listen
            case systemd_bus.CUT_OFF:
                self._put(CUT_OFF)

    def _take_properties(self, unit: str, properties: dict[str, Any]) -> None:
        if not unit.endswith(SERVICE) or "ActiveState" not in properties:
            return
        told = ("ActiveState", "SubState", "FreezerState")
        state, sub, freezer = now = tuple(str(properties[key].value) if key in properties else "" for key in told)
        before = self._states.get(unit)
        self._states[unit] = (state, sub, freezer)
        # systemd tells of many things. And of one that it had put away and loaded anew, it tells that it is inactive.
        if now != before and (before is not None or state != "inactive"):
            self._put(Changed(name=unit, what=self._word(state, sub, freezer)))

    def _word(self, state: str, sub: str, freezer: str) -> str:
        if freezer not in ("", "running"):
            return freezer
        return f"{'die' if 'auto-restart' in sub else WORDS.get(state, state)} ({sub})"

    def _put(self, change: Changed) -> None:
        if self._changes.full():  # whoever listens must look at everything
            while not self._changes.empty():
                self._changes.get_nowait()
            change = change if change is CUT_OFF else Changed(name=None, what="too much at once")
        with contextlib.suppress(asyncio.QueueFull):
            self._changes.put_nowait(change)
