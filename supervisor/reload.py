"""The settings we run by, read anew while we run: what would change, and the change itself, one at a time.

Settings that cannot be used change nothing. What is found by labels comes on top of the file.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from loguru import logger

from supervisor import build, settings_file
from supervisor.core.observations import Life
from supervisor.errors import SettingsError
from supervisor.fleet import Changes, Fleet
from supervisor.own_thread import OwnThread
from supervisor.publish.answers import Refusal, no_such
from supervisor.publish.board import Board
from supervisor.settings import BackendSettings, Settings
from supervisor.settings_difference import (
    TARGETS,
    Change,
    Difference,
    TargetDifference,
    What,
    difference,
    in_force,
    with_only,
)
from supervisor.settings_rules import contradictions
from supervisor.settings_words import line

READ_WITHIN_S = 5.0
PART = "settings"
COMMANDS = {"command", "environment"}  # what runs has been started by these
PLACES = {"engine", "container", "unit"}  # another one is another server
RUNS_BY_OLD = "what runs goes on by its old command until it is restarted"
ANOTHER = "what was watched until now runs on, and is watched no more"
GOES_ON = "it runs on, and is watched no more"
TAKES = "takes a restart of the daemon"
AS_WE_RUN = "as we run, until the daemon is restarted"
LEAVING = "the supervisor is being ended, and goes by no other settings any more; the next one reads them as it starts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What the file says, and what of it can be gone by at once."""

    told: Settings
    wanted: Settings


class Reloads:
    """Keeps the settings that we run by, and takes others in their place."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        *,
        fleet: Fleet,
        board: Board,
        around: Callable[[], AbstractContextManager[None]],
        apply: Callable[[Settings], None],
        found: Callable[[Settings], tuple[BackendSettings, ...]] = lambda _: (),
        read_within_s: float = READ_WITHIN_S,
    ) -> None:
        """`around` is entered for as long as a reload lasts, whatever comes of it; `apply` is for what is no target.

        `found` returns what is to be watched beside what the settings say.
        """
        self.path = path
        self.settings = settings
        self._fleet = fleet
        self._board = board
        self._around = around
        self._apply = apply
        self._found = found
        self._read_within_s = read_within_s
        self._one_at_a_time = asyncio.Lock()
        self._thread = OwnThread("settings")
        self._asked = asyncio.Event()
        self._leaves = False

    async def begin(self) -> None:
        """Watch what the settings say at first."""
        async with self._one_at_a_time:
            await self._settle(self.settings)

    async def compare(self, names: Sequence[str]) -> dict[str, Any]:
        """Return what `difference` tells, as people and machines read it; raises what that does."""
        return self._document(await self.difference(names), applied=False)

    async def update(self, names: Sequence[str]) -> dict[str, Any]:
        """Return what `reload` has changed, as people and machines read it; raises what that does."""
        return self._document(await self.reload(names), applied=True)

    async def difference(self, names: Sequence[str] = ()) -> Difference:
        """Return what the file says otherwise than we run by, or of these targets alone; nothing is changed.

        Raises:
            SettingsError: it cannot be used; in the words of `--check`.
            Refusal: one of the names stands for nothing.
        """
        read = await self._read(names)
        return self._told(read.told)

    async def reload(self, names: Sequence[str] = ()) -> Difference:
        """Go by what the file says, or by what it says of these targets alone; return what that changed.

        Raises: as `difference`, and where we are being ended; then nothing has changed.
        """
        async with self._one_at_a_time:
            if self._leaves:
                raise Refusal(503, "Leaving", LEAVING)
            with self._around():
                return await self._reload(names)

    def hang_up(self) -> None:
        """Reload soon, because of a signal, which hears no answer; one reload stands for all that come before it."""
        self._asked.set()

    async def run(self) -> None:
        """Do so whenever it is asked for, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self.reload()
            except SettingsError:
                continue  # told already
            except Refusal as refusal:
                logger.info("settings not reloaded: {}", refusal.detail)
            except Exception as error:  # noqa: BLE001 - a fault of ours in a reload must not end the daemon
                logger.opt(exception=error).error("our own reload failed")

    async def settle_found(self) -> None:
        """Watch what is found now, and no more what is not."""
        async with self._one_at_a_time:
            if self._leaves:
                return
            changes = await self._settle(self.settings)
        for names, words in (
            (changes.added, "found by its labels, and watched from now on"),
            (changes.settled, "its labels have changed"),
            (changes.renewed, "it is found in another place, and looked at anew"),
            (changes.removed, "its container is gone, and it is watched no more"),
        ):
            for name in names:
                logger.info("{}: {}", name, words)

    def leave(self) -> None:
        """Change nothing any more: we are being ended."""
        self._leaves = True

    def close(self) -> None:
        """Let go of the thread, without waiting for a disk that hangs."""
        self._thread.close()

    async def _reload(self, names: Sequence[str]) -> Difference:
        try:
            read = await self._read(names)
            told = self._told(read.told)
            self.settings = read.wanted
            self._apply(read.wanted)
            await self._settle(read.wanted)
        except SettingsError as error:
            self._complain(str(error))
            raise
        except Refusal:
            raise
        except Exception as error:
            self._board.problems[PART] = f"our own reload failed, see the log: {type(error).__name__}"
            raise
        self._board.problems.pop(PART, None)
        _log(told)
        return told

    async def _settle(self, settings: Settings) -> Changes:
        more = settings.model_copy(update={"backends": (*settings.backends, *self._found(settings))})
        return await self._fleet.settle(more)

    async def _read(self, names: Sequence[str]) -> Read:
        try:
            async with asyncio.timeout(self._read_within_s):
                told = await self._thread.do(lambda: settings_file.load(self.path))
        except TimeoutError as error:
            why = f"could not be read within {self._read_within_s:g}s; look whether its disk answers"
            raise SettingsError(f"{self.path}: {why}") from error
        known = dict.fromkeys(each.name for each in (*self.settings.targets, *told.targets))
        for name in names:
            if name not in known:
                raise no_such("target", name, known)
        if names:
            told = with_only(self.settings, told, names)
        wanted = in_force(self.settings, told)
        if found := list(contradictions(wanted)):
            written = {kind: [{"name": each.name} for each in getattr(wanted, kind)] for kind in TARGETS}
            lines = [line(self.path, written, replace(each, origin=AS_WE_RUN)) for each in found]
            raise SettingsError("\n".join(lines))
        return Read(told=told, wanted=wanted)

    def _told(self, told: Settings) -> Difference:
        secrets = (*build.secrets(self.settings), *build.secrets(told))
        found = difference(self.settings, told, secrets=secrets)
        return replace(found, targets=tuple(replace(each, note=self._note(each)) for each in found.targets))

    def _document(self, told: Difference, *, applied: bool) -> dict[str, Any]:
        return {"file": str(self.path), "applied": applied, **asdict(told)}

    def _note(self, target: TargetDifference) -> str:
        keeper = self._fleet.keepers.get(target.name)
        engine = None if keeper is None else keeper.evidence.engine
        if engine is None or engine.life is not Life.RUNNING:
            return ""
        if target.what is What.DISAPPEARED:
            return GOES_ON
        keys = {change.key.partition(".")[0] for change in target.changes}
        if keys & PLACES:
            return ANOTHER
        return RUNS_BY_OLD if keys & COMMANDS else ""

    def _complain(self, why: str) -> None:
        """Tell of settings that cannot be used, where people look, until they can be."""
        first, *others = why.splitlines()
        more = f" (and {len(others)} more: benchai-supervisord --check)" if others else ""
        self._board.problems[PART] = f"not reloaded, and nothing has changed: {first}{more}"
        for each in (first, *others):
            logger.error("settings not reloaded, nothing has changed: {}", each)


def _log(told: Difference) -> None:
    if told.is_nothing:
        logger.info("settings read anew: nothing has changed")
    for target in told.targets:
        logger.info("settings: {}: {}{}", target.name, target.what, f"; {target.note}" if target.note else "")
        for change in target.changes:
            logger.info("settings: {}: {}", target.name, _in_words(change))
    for change in told.common:
        logger.log("WARNING" if change.takes_restart else "INFO", "settings: {}", _in_words(change))


def _in_words(change: Change) -> str:
    before, after = (change.before or "not set"), (change.after or "not set")
    return f"{change.key}: {before} -> {after}{f' ({TAKES})' if change.takes_restart else ''}"
