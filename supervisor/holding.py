"""What people say about holding us back, and what they ask about troubles: kept first, then obeyed.

Joins the guard, the history and the keepers for the HTTP face; it decides nothing.
"""

from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

from loguru import logger

from supervisor.core.restraint import EVERY, Hold
from supervisor.guard import Guard
from supervisor.history import UNUSABLE
from supervisor.history.store import Store
from supervisor.messages import Due
from supervisor.turn import Keeper


def _wall() -> datetime:
    return datetime.now(UTC)


class Holding:
    """Takes down holds, and lifts them."""

    def __init__(
        self,
        guard: Guard,
        store: Store,
        keepers: Mapping[str, Keeper],
        *,
        problems: MutableMapping[str, str],
        wall: Callable[[], datetime] = _wall,
    ) -> None:
        """`problems` is where people are told what ails ourselves, by part."""
        self._guard = guard
        self._store = store
        self._keepers = keepers
        self._problems = problems
        self._wall = wall
        self._unwritten: set[str] = set()  # the targets that the history does not say the truth about

    async def hold(self, target: str, *, for_s: float | None, why: str, drains: bool = False) -> Hold:
        """Hold `target`, or `EVERY` target, for so many seconds or until it is released; `drains`: out of rotation."""
        since = self._wall()
        until = since + timedelta(seconds=for_s) if for_s else None
        hold = Hold(target=target, since=since, until=until, why=why, drains=drains)
        self._guard.hold(hold)  # first, so that nothing is done while a slow disk takes it down
        self._tell(target)
        try:
            await self._store.keep_hold(hold)
        except UNUSABLE as error:
            self._complains(target, f"could not be written and would not outlive us: {error}")
        else:
            self._is_written(target)
        logger.info(
            "{} is {}{}: {}",
            _named(target),
            "drained" if drains else "held",
            f" until {hold.until}" if hold.until else "",
            why or "no reason",
        )
        return hold

    async def release(self, target: str) -> bool:
        """End a hold, and a drain; False where there is neither."""
        was_held = self._guard.release(target)
        await self._drop(target, self._store.drop_hold(target))
        if was_held:
            logger.info("{} is released", _named(target))
        self._tell(target)
        return was_held

    async def undrain(self, target: str) -> bool:
        """Have `target` sent requests again, and leave a hold on it; False where it is not drained."""
        was_drained = self._guard.undrain(target)
        if was_drained:
            self._tell(target)
            await self._drop(target, self._store.drop_drain(target))
            logger.info("{} is back in rotation", target)
        return was_drained

    async def _drop(self, target: str, dropping: Coroutine[Any, Any, None]) -> None:
        try:
            await dropping
        except UNUSABLE as error:
            self._complains(target, f"may come back when we are started anew: {error}")
        else:
            self._is_written(target)

    def all(self) -> tuple[Hold, ...]:
        """Return every hold that is not over."""
        return self._guard.holds

    def under_way(self) -> tuple[str, ...]:
        """Return the targets to which something of ours is being done at this moment."""
        return tuple(name for name, keeper in self._keepers.items() if keeper.state.phase.is_ours)

    def _complains(self, target: str, what: str) -> None:
        self._unwritten.add(target)
        self._problems["holds"] = f"the hold on {_named(target)} {what}"
        logger.error("holds: {}", self._problems["holds"])

    def _is_written(self, target: str) -> None:
        self._unwritten.discard(target)
        if not self._unwritten:
            self._problems.pop("holds", None)

    def _tell(self, target: str) -> None:
        for name, keeper in self._keepers.items():
            if target in (name, EVERY):
                keeper.post(Due())


class Troubles:
    """Answers questions about troubles from the history."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def several(self, *, target: str | None, limit: int) -> list[dict[str, Any]] | None:
        """Return the newest, None where the history cannot be read."""
        try:
            return await self._store.incidents(target=target, limit=limit)
        except UNUSABLE as error:
            logger.error("history: cannot be read: {}", error)
            return None

    async def one(self, id: str) -> dict[str, Any] | None:  # noqa: A002 - it is called so everywhere
        """Return one with its evidence, None where there is none of that name.

        Raises:
            LookupError: the history cannot be read.
        """
        try:
            return await self._store.incident(id)
        except UNUSABLE as error:
            logger.error("history: cannot be read: {}", error)
            raise LookupError(str(error)) from error


def _named(target: str) -> str:
    return "every target" if target == EVERY else target
