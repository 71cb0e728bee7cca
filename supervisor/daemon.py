"""One daemon's life: build the parts, run them in one task group, stop them in order."""

import asyncio
import contextlib
import signal
import socket
import sqlite3
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

from loguru import logger

from supervisor import __version__, build
from supervisor.core.baseline import Baseline
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import TrafficSeen
from supervisor.core.state import State
from supervisor.core.verdict import NOTHING_LEARNED
from supervisor.engines.base import Engine
from supervisor.errands import Runner
from supervisor.history.store import Memory, Store
from supervisor.messages import Due, EngineStirred
from supervisor.operate import Operator
from supervisor.probes.host import Host
from supervisor.publish.api import Api
from supervisor.publish.board import Board
from supervisor.publish.file import LivenessFile
from supervisor.publish.server import HttpServer
from supervisor.pulse import Pulse
from supervisor.schedule import Schedule
from supervisor.settings import Settings
from supervisor.turn import Keeper

MOST_WAITING = 100  # messages to one keeper, before more reports say nothing new


class Daemon:
    """One daemon's life: its parts, its tasks, its end."""

    def __init__(self, settings: Settings, *, listeners: tuple[socket.socket, socket.socket]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._store = Store(settings.daemon.state_dir / "history.sqlite")
        self._engines = build.engines(settings)
        self._targets = [build.target(settings, each, self._engines) for each in settings.targets]
        self._host = Host()
        self._pulse = Pulse()
        self._schedule = Schedule()
        self._keepers: dict[str, Keeper] = {}
        self._runners: dict[str, Runner] = {}
        self._group: asyncio.TaskGroup
        self._board: Board
        self._file: LivenessFile

    async def run(self) -> None:
        """Supervise until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        memories = [await self._remember(target) for target in self._targets]
        baselines = [await self._baseline(target) for target in self._targets]
        try:
            async with asyncio.TaskGroup() as self._group:
                self._assemble(memories, baselines)
                tasks = [self._spawn(work, name=name) for name, work in self._services()]
                servers = self._serve()
                self._schedule.start()
                names = ", ".join(target.identity.name for target in self._targets)
                logger.info("benchai-supervisord {} watches {}", __version__, names)
                await stop.wait()
                logger.info("asked to end; targets run on")
                await self._wind_up(tasks, servers)
        finally:
            await self._let_go()

    def _assemble(self, memories: list[Memory], baselines: list[Baseline]) -> None:
        """Make a keeper for each target, with its errands, and the board they all publish on."""
        now = time.monotonic()
        states = [build.first_state(t.identity, m, now=now) for t, m in zip(self._targets, memories, strict=True)]
        for target, state, baseline in zip(self._targets, states, baselines, strict=True):
            self._keepers[target.identity.name] = self._keeper(target, state, baseline)
        self._board = Board(
            [keeper.snapshot() for keeper in self._keepers.values()], valid_for_s=self._settings.daemon.valid_for_s
        )
        self._file = LivenessFile(
            self._settings.daemon.liveness_file, self._board, valid_for_s=self._settings.daemon.valid_for_s
        )
        for index, (target, keeper) in enumerate(zip(self._targets, self._keepers.values(), strict=True)):
            tick_s = target.policy.tick_s
            # Spread over the tick: four looks at once would be four times the load for an instant.
            delay_s = tick_s * index / len(self._targets) / 4
            self._schedule.add(keeper.name, partial(keeper.post, Due()), every_s=tick_s, delay_s=delay_s)

    def _keeper(self, target: build.Target, state: State, baseline: Baseline) -> Keeper:
        name = target.identity.name
        runner = Runner(
            name,
            engine_name=target.engine_name,
            engine=target.engine,
            progress=target.progress,
            canary=target.canary,
            host=self._host,
            store=self._store,
            policy=target.policy,
            spawn=self._spawn,
            told=self._told,
            late=self._pulse.late_s,
        )
        keeper = Keeper(
            target.identity,
            policy=target.policy,
            errands=runner,
            publish=self._publish,
            pace=lambda every_s: self._schedule.pace(name, every_s),
            state=state,
            baseline=baseline,
        )
        runner.post = keeper.post
        self._runners[name] = runner
        return keeper

    def _publish(self, snapshot: Snapshot) -> None:
        self._board.put(snapshot)

    async def _told(self, timeout_s: float) -> None:
        await self._file.told(timeout_s=timeout_s)

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=name)

    def _services(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield everything that runs as long as we do."""
        yield "liveness file", self._file.run()
        yield "pulse", self._pulse.run()
        for name, engine in self._engines.items():
            yield f"watch {name}", self._watch(name, engine)
        for keeper in self._keepers.values():
            yield f"keeper {keeper.name}", keeper.run()

    async def _watch(self, engine_name: str, engine: Engine) -> None:
        """Pass on what an engine reports; after a gap in the reports anything may have happened to any target."""
        mine = [target for target in self._targets if target.engine is engine]
        async for change in engine.watch():
            for target in mine:
                if change.name in (None, target.engine_name):
                    logger.debug("{}: {}: {}", engine_name, target.engine_name, change.what)
                    self._keepers[target.identity.name].post(EngineStirred())

    def _serve(self) -> list[HttpServer]:
        api = Api(
            self._board,
            operate=Operator(self._board, self._keepers).operate,
            report=self._report,
            history=self._history,
            token=self._settings.http.token.get_secret_value(),
        )
        tcp, unix = self._listeners
        servers = [HttpServer(tcp, api.app(trusted=False)), HttpServer(unix, api.app(trusted=True))]
        for server in servers:
            self._spawn(server.run(), name="http")
        return servers

    async def _remember(self, target: build.Target) -> Memory:
        name = target.identity.name
        try:
            memory = await self._store.remember(name, window_s=target.policy.budget_window_s)
        except (sqlite3.Error, OSError) as error:
            logger.error("history: cannot be read, so what was stopped by hand may be started again: {}", error)
            return Memory()
        if memory.is_cut_short:
            logger.warning("{}: an earlier daemon died in the midst of an act on it; looking what became of it", name)
            target.engine.mark_ours(target.engine_name)
        return memory

    async def _baseline(self, target: build.Target) -> Baseline:
        try:
            return await self._store.baseline(target.identity.name) or NOTHING_LEARNED
        except (sqlite3.Error, OSError) as error:
            logger.warning("history: what is normal for {} must be learned anew: {}", target.identity.name, error)
            return NOTHING_LEARNED

    def _report(self, name: str, seen: TrafficSeen) -> bool:
        """Pass on what a router says of a request; False where there is no such target."""
        keeper = self._keepers.get(name)
        if keeper is not None and keeper.inbox.qsize() < MOST_WAITING:
            keeper.post(seen)
        return keeper is not None

    async def _history(self, name: str, limit: int) -> list[dict[str, Any]] | None:
        try:
            return await self._store.transitions(name, limit=limit)
        except (sqlite3.Error, OSError) as error:
            logger.error("history: cannot be read: {}", error)
            return None

    async def _keep_baselines(self) -> None:
        for keeper in self._keepers.values():
            try:
                await self._store.keep_baseline(keeper.name, keeper.baseline)
            except (sqlite3.Error, OSError) as error:
                logger.error("history: cannot write down what is normal: {}", error)
                return

    async def _wind_up(self, tasks: list[asyncio.Task[None]], servers: list[HttpServer]) -> None:
        """Decide nothing more, let engine calls end, then let everything go."""
        self._schedule.stop()
        for task in tasks:
            if (task.get_name() or "").startswith("keeper"):
                task.cancel()
        acts = [act for runner in self._runners.values() for act in runner.acts]
        if acts:
            longest_s = max(target.policy.stop_grace_s for target in self._targets) + self._settings.docker.timeout_s
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
