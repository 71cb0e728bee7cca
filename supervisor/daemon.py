"""One daemon's life: build the parts, run them in one task group, stop them in order."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Awaitable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from loguru import logger

from supervisor import __version__, build
from supervisor.acts import Acts
from supervisor.core.baseline import Baseline
from supervisor.core.incident import Incident
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import TrafficSeen
from supervisor.core.restraint import Hold
from supervisor.core.verdict import NOTHING_LEARNED
from supervisor.cure import Cure
from supervisor.engines.base import Engine
from supervisor.errands import Runner
from supervisor.examine import Examiner
from supervisor.guard import Guard
from supervisor.herald import Herald
from supervisor.history import UNUSABLE
from supervisor.history.store import Memory, Store
from supervisor.holding import Holding, Troubles
from supervisor.messages import Due, EngineStirred
from supervisor.on_gpu import Elsewhere, OnGpu
from supervisor.operate import Operator
from supervisor.probes.host import Host
from supervisor.publish.agent import AgentServer
from supervisor.publish.api import Api
from supervisor.publish.board import Board
from supervisor.publish.file import LivenessFile
from supervisor.publish.server import HttpServer
from supervisor.pulse import Pulse
from supervisor.routed import Directly, Ways
from supervisor.schedule import Schedule
from supervisor.settings import Settings
from supervisor.turn import Keeper

T = TypeVar("T")
HISTORY_EVERY_S = 5.0
MOST_WAITING = 100  # messages to one keeper, before more reports say nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What an earlier daemon knew of one target."""

    memory: Memory
    baseline: Baseline
    incident: Incident | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The sockets we serve on, bound already."""

    tcp: socket.socket
    unix: socket.socket
    agent: socket.socket | None = None  # HAProxy's agent checks, where they are wanted


class Daemon:
    """One daemon's life: its parts, its tasks, its end."""

    def __init__(self, settings: Settings, *, listeners: Listeners) -> None:
        self._settings = settings
        self._listeners = listeners
        self._store = Store(settings.daemon.state_dir / "history.sqlite")
        self._engines = build.engines(settings)
        self._targets = [build.target(settings, each, self._engines) for each in settings.targets]
        self._host = Host()
        self._pulse = Pulse()
        self._schedule = Schedule()
        self._directly = Directly()
        self._keepers: dict[str, Keeper] = {}
        self._runners: dict[str, Runner] = {}
        self._group: asyncio.TaskGroup
        self._guard: Guard
        self._board: Board
        self._file: LivenessFile
        self._herald: Herald

    async def run(self) -> None:
        """Supervise until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        pasts = [await self._past(target) for target in self._targets]
        watched = tuple(target.identity.name for target in self._targets)
        await self._remembered(self._store.close_strangers(watched), None, "old troubles stay open")
        holds = await self._remembered(self._store.holds(), (), "what was held may be restarted")
        try:
            async with asyncio.TaskGroup() as self._group:
                self._assemble(pasts, holds)
                tasks = [self._spawn(_for_ever(work, name), name=name) for name, work in self._services()]
                servers = self._serve()
                self._schedule.start()
                names = ", ".join(target.identity.name for target in self._targets)
                logger.info("benchai-supervisord {} watches {}", __version__, names)
                await stop.wait()
                logger.info("asked to end; targets run on")
                await self._wind_up(tasks, servers)
        finally:
            await self._let_go()

    def _assemble(self, pasts: list[Past], holds: Iterable[Hold]) -> None:
        """Make a keeper for each target, with its errands, and the board they all publish on."""
        now = time.monotonic()
        identities = [target.identity for target in self._targets]
        ours = [each.name for each in identities if each.restartable and each.kind == "backend"]
        ill = [(past.incident.target, past.incident.opened_at) for past in pasts if past.incident]
        self._guard = Guard(ours, rules=build.rules(self._settings), holds=holds, ill=ill)
        for target, past in zip(self._targets, pasts, strict=True):
            self._keepers[target.identity.name] = self._keeper(target, past, now=now)
        self._board = Board(
            [keeper.snapshot() for keeper in self._keepers.values()],
            valid_for_s=self._settings.daemon.valid_for_s,
            mode=self._guard.mode,
        )
        self._file = LivenessFile(
            self._settings.daemon.liveness_file, self._board, valid_for_s=self._settings.daemon.valid_for_s
        )
        self._herald = Herald(self._board, self._file, observes=self._guard.mode == "observe")
        for index, (target, keeper) in enumerate(zip(self._targets, self._keepers.values(), strict=True)):
            tick_s = target.policy.tick_s
            # Spread over the tick: four looks at once would be four times the load for an instant.
            delay_s = tick_s * index / len(self._targets) / 4
            self._schedule.add(keeper.name, partial(keeper.post, Due()), every_s=tick_s, delay_s=delay_s)

    def _keeper(self, target: build.Target, past: Past, *, now: float) -> Keeper:
        name = target.identity.name
        engine, engine_name, store = target.engine, target.engine_name, self._store
        host = self._host if target.is_on_this_host else Elsewhere()
        examiner = Examiner(name, engine=engine, engine_name=engine_name, host=host, store=store)
        given_back_s = self._settings.recovery.vram_given_back_s
        on_gpu = OnGpu(name, engine=engine, engine_name=engine_name, host=host, given_back_s=given_back_s)
        runner = Runner(
            name,
            engine_name=engine_name,
            engine=engine,
            progress=target.progress,
            canary=target.canary,
            host=host,
            acts=Acts(
                name,
                engine=engine,
                engine_name=engine_name,
                examiner=examiner,
                store=store,
                on_gpu=on_gpu,
                easing=target.easing,
            ),
            cure=Cure(engine=engine, engine_name=engine_name, host=host),
            store=store,
            policy=target.policy,
            spawn=self._spawn,
            told=self._told,
            late=self._pulse.late_s,
            secret=target.secret,
        )
        keeper = Keeper(
            target.identity,
            policy=target.policy,
            errands=runner,
            publish=self._publish,
            pace=lambda every_s: self._schedule.pace(name, every_s),
            guard=self._guard,
            state=build.first_state(target.identity, past.memory, now=now),
            incident=past.incident,
            baseline=past.baseline,
            is_called=partial(self._directly.is_called, name),
            ways=Ways(target.ways, self._directly, policy=target.policy) if target.ways else None,
        )
        runner.post = keeper.post
        self._runners[name] = runner
        return keeper

    def _publish(self, snapshot: Snapshot) -> None:
        self._directly.saw(snapshot)
        self._board.put(snapshot)

    async def _told(self, timeout_s: float) -> None:
        await self._file.told(timeout_s=timeout_s)

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=name)

    def _services(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield everything that runs as long as we do."""
        yield "liveness file", self._file.run()
        yield "pulse", self._pulse.run()
        yield "herald", self._herald.run()
        yield "history", self._watch_history()
        if self._listeners.agent:
            yield "agent checks", AgentServer(self._listeners.agent, self._board).run()
        for name, engine in self._engines.items():
            yield f"watch {name}", self._watch(name, engine)
        for keeper in self._keepers.values():
            yield f"keeper {keeper.name}", keeper.run()

    async def _watch_history(self) -> None:
        """Tell of a history that had to be begun anew, and write into it what people have said."""
        told = ""
        while True:
            if self._store.problem != told:
                told = self._board.problems["history"] = self._store.problem
                logger.error("history: {}", told)
                for hold in self._guard.holds:
                    await self._remembered(self._store.keep_hold(hold), None, "a hold does not outlive us")
            await asyncio.sleep(HISTORY_EVERY_S)

    async def _watch(self, engine_name: str, engine: Engine) -> None:
        """Pass on what an engine reports; after a gap in the reports anything may have happened to any target."""
        mine = [target for target in self._targets if target.engine is engine]
        async for change in engine.watch():
            for target in mine:
                if change.name in (None, target.engine_name):
                    logger.debug("{}: {}: {}", engine_name, target.engine_name, change.what)
                    self._keepers[target.identity.name].post(EngineStirred())

    def _serve(self) -> list[HttpServer]:
        operator = Operator(self._board, self._keepers, exclusive=build.exclusive(self._settings))
        api = Api(
            self._board,
            operate=operator.operate,
            report=self._report,
            history=self._history,
            holds=Holding(self._guard, self._store, self._keepers, problems=self._board.problems),
            incidents=Troubles(self._store),
            token=self._settings.http.token.get_secret_value(),
        )
        servers = [
            HttpServer(listener, api.app(trusted=trusted), at_end=api.end)
            for listener, trusted in ((self._listeners.tcp, False), (self._listeners.unix, True))
        ]
        for server in servers:
            self._spawn(server.run(), name="http")
        return servers

    async def _past(self, target: build.Target) -> Past:
        """Return what an earlier daemon knew of a target."""
        name, store = target.identity.name, self._store
        remembering = store.remember(name, window_s=target.policy.budget_window_s)
        memory = await self._remembered(remembering, Memory(), "what was stopped by hand may be started again")
        if memory.is_cut_short:
            logger.warning("{}: an earlier daemon died in the midst of an act on it; looking what became of it", name)
        if memory.is_cut_short or memory.is_ours:
            target.engine.mark_ours(target.engine_name, over_at=memory.over_at)
        learned = await self._remembered(store.baseline(name), None, f"what is normal for {name} is learned anew")
        reading = store.open_incident(name, now=time.monotonic())
        incident = await self._remembered(reading, None, f"the trouble that {name} may be in is taken for a new one")
        return Past(memory=memory, baseline=learned or NOTHING_LEARNED, incident=incident)

    async def _remembered(self, reading: Awaitable[T], or_else: T, so: str) -> T:
        try:
            return await reading
        except UNUSABLE as error:
            logger.error("history: cannot be read, so {}: {}", so, error)
            return or_else

    def _report(self, name: str, seen: TrafficSeen) -> bool:
        """Pass on what a router says of a request; False where there is no such target."""
        keeper = self._keepers.get(name)
        if keeper is not None and keeper.inbox.qsize() < MOST_WAITING:
            keeper.post(seen)
        return keeper is not None

    async def _history(self, name: str, limit: int) -> list[dict[str, Any]] | None:
        try:
            return await self._store.transitions(name, limit=limit)
        except UNUSABLE as error:
            logger.error("history: cannot be read: {}", error)
            return None

    async def _keep_baselines(self) -> None:
        for keeper in self._keepers.values():
            try:
                await self._store.keep_baseline(keeper.name, keeper.baseline)
            except UNUSABLE as error:
                logger.error("history: cannot write down what is normal: {}", error)
                return

    async def _wind_up(self, tasks: list[asyncio.Task[None]], servers: list[HttpServer]) -> None:
        """Decide nothing more, let engine calls end, then let everything go."""
        self._schedule.stop()
        for runner in self._runners.values():
            runner.leave()
        for task in tasks:
            if (task.get_name() or "").startswith("keeper"):
                task.cancel()
        # What is on a GPU is restarted by two calls, and its memory is waited for between them.
        longest_s = 2 * self._settings.docker.timeout_s + self._settings.recovery.vram_given_back_s
        longest_s += max(target.policy.stop_grace_s for target in self._targets)
        acts = [act for runner in self._runners.values() for act in runner.acts]
        self._herald.leave(within_s=longest_s if acts else 0.0)
        if acts:
            logger.info("waiting for {} engine call(s) to end, {:.0f}s at most", len(acts), longest_s)
            await asyncio.wait(acts, timeout=longest_s)
        for server in servers:
            server.stop()
        for task in tasks:
            task.cancel()
        for runner in self._runners.values():
            runner.forget()
        await self._keep_baselines()

    async def _let_go(self) -> None:
        for target in self._targets:
            if target.progress is not None:
                target.progress.let_go()
            await target.client.aclose()
        for engine in self._engines.values():
            with contextlib.suppress(Exception):
                await engine.close()
        self._host.close()
        self._file.close()
        self._store.close()


async def _for_ever(work: Coroutine[Any, Any, None], name: str) -> None:
    """Do it; whoever ends without having been told to takes us all along, and systemd or Docker begins us anew."""
    await work
    raise RuntimeError(f"{name}: came to an end by itself")
