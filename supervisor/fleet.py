"""All that is watched, as a set that changes while we run: who joins, who changes, who leaves. It decides nothing.

What the settings leave as it was is not touched. A target to which something is being done is waited for, and only then
let go or given to another keeper.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from loguru import logger

from supervisor import build
from supervisor.build import Plan
from supervisor.engines.base import Changed, Engine
from supervisor.engines.process import ProcessEngine
from supervisor.errands import Runner
from supervisor.history import UNUSABLE
from supervisor.member import Member, Shared, of_old
from supervisor.messages import EngineStirred
from supervisor.operate import Operator
from supervisor.publish.board import Board
from supervisor.recall import Recall
from supervisor.settings import Settings, TargetSettings
from supervisor.turn import Keeper

SPREAD = 4  # of a tick: four looks at once would be four times the load for an instant


@dataclass(slots=True, kw_only=True)
class Changes:
    """What becomes of the targets, by name."""

    added: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)  # go by other settings, and all that was seen stays
    renewed: list[str] = field(default_factory=list)  # are looked at anew
    removed: list[str] = field(default_factory=list)


class Fleet:
    """The targets, by name, in the order of the settings."""

    def __init__(
        self, shared: Shared, *, board: Board, recall: Recall, heard: Callable[[str, Changed], None] = lambda *_: None
    ) -> None:
        """`heard` is told of everything that an engine reports, with the settings' word for the engine."""
        self.keepers: dict[str, Keeper] = {}  # the same mapping for ever: others read it
        self._shared = shared
        self._board = board
        self._recall = recall
        self._heard = heard
        self._members: dict[str, Member] = {}
        self._engines: dict[str, Engine] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._has_stopped = False
        self._known: set[tuple[str, str]] = set()  # what engines have been asked about: their word, and its name there
        self.operator = Operator(board, self.keepers)

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody who is watched."""
        return tuple(self._members)

    @property
    def runners(self) -> tuple[Runner, ...]:
        """The slow work of all."""
        return tuple(member.runner for member in self._members.values())

    @property
    def longest_grace_s(self) -> float:
        """How long the most patient stop may take."""
        return max((member.target.policy.stop_grace_s for member in self._members.values()), default=0.0)

    def plan_of(self, name: str) -> Plan | None:
        """Return what one that is watched was made by."""
        member = self._members.get(name)
        return None if member is None else member.plan

    def engine(self, word: str) -> Engine | None:
        """Return an engine by the settings' word for it, if anybody has needed it."""
        return self._engines.get(word)

    def engine_of(self, name: str) -> tuple[Engine, str] | None:
        """Return the engine of one that is watched, and by which name it knows it."""
        member = self._members.get(name)
        return None if member is None else (member.target.engine, member.target.engine_name)

    async def settle(self, settings: Settings) -> Changes:
        """Watch what these settings say, and nothing else; return what became of whom.

        Not for two at once. Where it is cut short, the next call does the rest.
        """
        wanted = {each.name: each for each in settings.targets}
        plans = {name: build.plan(settings, each) for name, each in wanted.items()}
        changes = self._compare(plans)
        self._prepare(settings, changes)
        for name in changes.settled:
            self._members[name].settle(plans[name])
        for name in changes.removed:
            self._members[name].runner.leave()  # before anybody else may come to watch the same container
        await self._welcome(settings, [wanted[name] for name in changes.added])
        self._publish(settings)
        async with asyncio.TaskGroup() as replacing:
            for name in changes.renewed:
                replacing.create_task(self._renew(settings, wanted[name]))
            for name in changes.removed:
                replacing.create_task(self._let_go(name, settings))
        self._tidy(settings)
        self._order(wanted)
        self._publish(settings)
        if changes.removed:
            await self._recall.close_strangers(self.names)
        return changes

    def stop(self) -> None:
        """Decide nothing more, nor for whoever joins after this; what is being done to anybody goes on."""
        self._has_stopped = True
        for member in self._members.values():
            member.stops()
        for watch in self._watches.values():
            watch.cancel()

    async def keep_baselines(self) -> None:
        """Write down what is normal for everybody."""
        for member in self._members.values():
            if not await self._keep_baseline(member):
                return

    async def close(self) -> None:
        """Let everything go; targets run on."""
        for member in self._members.values():
            if member.target.progress is not None:
                member.target.progress.let_go()
            await member.target.client.aclose()
        for word, engine in self._engines.items():
            try:
                await engine.close()
            except Exception as error:  # noqa: BLE001 - at our end nobody waits for an engine that fails
                logger.debug("{}: {}", word, error)

    def _compare(self, plans: Mapping[str, Plan]) -> Changes:
        changes = Changes(removed=[name for name in self._members if name not in plans])
        for name, plan in plans.items():
            member = self._members.get(name)
            if member is None:
                changes.added.append(name)
            elif not plan.is_of_same_server(member.plan):
                changes.renewed.append(name)
            elif plan != member.plan:
                changes.settled.append(name)
        return changes

    def _prepare(self, settings: Settings, changes: Changes) -> None:
        """Have at hand what any of them may need from here on: engines, commands, and the rules for all."""
        self._engines = build.engines(settings, self._engines)
        process = self._engines.get("process")
        if isinstance(process, ProcessEngine):
            # Whoever is let go may be in the midst of a restart, and is started again by its old command.
            stays = {self._members[name].target.engine_name for name in (*changes.removed, *changes.renewed)}
            process.settle(build.programs(settings), keep=stays)
        for word, engine in self._engines.items():
            if word not in self._watches:
                self._watches[word] = self._shared.for_ever(self._watch(word, engine), name=f"watch {word}")
        self._shared.guard.settle(build.restartable(settings), build.rules(settings))
        self.operator.settle(build.exclusive(settings))

    async def _welcome(self, settings: Settings, wanted: list[TargetSettings]) -> None:
        targets = [build.target(settings, each, self._engines) for each in wanted]
        pasts = [await self._recall.past(target) for target in targets]
        for index, (target, past) in enumerate(zip(targets, pasts, strict=True)):
            since = None if past.incident is None else past.incident.opened_at
            self._shared.guard.meets(target.identity.name, ill_since=since)
            member = Member(target, self._shared, of_old(target, past))
            self._join(member)
            member.begins(delay_s=target.policy.tick_s * index / len(targets) / SPREAD)

    async def _renew(self, settings: Settings, wanted: TargetSettings) -> None:
        old = self._members[wanted.name]
        await self._until_nothing_is_done_to(old)
        target = build.target(settings, wanted, self._engines)  # from here on at once, or it might be acted upon
        member = Member(target, self._shared, old.left(for_target=target))
        self._join(member)
        member.begins(delay_s=0.0)
        member.resettles()
        self._publish(settings)
        await old.ends(heir=member)

    async def _let_go(self, name: str, settings: Settings) -> None:
        member = self._members[name]
        await self._until_nothing_is_done_to(member)
        del self._members[name], self.keepers[name]
        self._shared.guard.forget(name)
        self._shared.directly.forget(name)
        self._publish(settings)
        await member.ends()
        await self._keep_baseline(member)

    async def _until_nothing_is_done_to(self, member: Member) -> None:
        if member.is_in_an_act:
            logger.info("{}: something is being done to it, and is waited for", member.name)
        while member.is_in_an_act:
            await self._board.change()

    def _join(self, member: Member) -> None:
        self._members[member.name] = member
        self.keepers[member.name] = member.keeper
        if self._has_stopped:  # while it was made: nobody else would ever stop it
            member.stops()

    def _order(self, names: Iterable[str]) -> None:
        self._members = {name: self._members[name] for name in names}
        self.keepers.clear()
        self.keepers.update({name: member.keeper for name, member in self._members.items()})

    def _tidy(self, settings: Settings) -> None:
        """Have the engines keep nothing about whom nobody watches any more."""
        process = self._engines.get("process")
        if isinstance(process, ProcessEngine):
            process.settle(build.programs(settings))
        known = {(str(each.engine), each.engine_name) for each in settings.targets}
        for word, name in self._known - known:
            self._engines[word].forget(name)
        self._known = known

    def _publish(self, settings: Settings) -> None:
        snapshots = [keeper.snapshot() for keeper in self.keepers.values()]
        self._board.settle(snapshots, valid_for_s=settings.daemon.valid_for_s, mode=self._shared.guard.mode)

    async def _keep_baseline(self, member: Member) -> bool:
        try:
            await self._shared.store.keep_baseline(member.name, member.keeper.baseline)
        except UNUSABLE as error:
            logger.error("history: cannot write down what is normal: {}", error)
            return False
        return True

    async def _watch(self, word: str, engine: Engine) -> None:
        """Pass on what an engine reports; after a gap in the reports anything may have happened to any target."""
        async for change in engine.watch():
            self._heard(word, change)
            for member in self._of(engine):
                if change.name in (None, member.target.engine_name):
                    logger.debug("{}: {}: {}", word, member.target.engine_name, change.what)
                    member.keeper.post(EngineStirred())

    def _of(self, engine: Engine) -> Iterator[Member]:
        return (member for member in list(self._members.values()) if member.target.engine is engine)
