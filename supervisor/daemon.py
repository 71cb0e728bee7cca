"""One daemon's life: build the parts, run them in one task group, stop them in order."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from supervisor import __version__, build, logs
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import TrafficSeen
from supervisor.core.restraint import Hold
from supervisor.discovery import Discovery
from supervisor.engines.base import Changed
from supervisor.fleet import Fleet
from supervisor.guard import Guard
from supervisor.herald import Herald
from supervisor.history import UNUSABLE
from supervisor.history.store import Store
from supervisor.holding import Holding, Troubles
from supervisor.member import Shared
from supervisor.printed import Printed
from supervisor.probes.host import Host
from supervisor.probing import Prober
from supervisor.publish.agent import AgentServer
from supervisor.publish.api import Api
from supervisor.publish.board import Board
from supervisor.publish.file import LivenessFile
from supervisor.publish.server import HttpServer
from supervisor.publish.services import Services
from supervisor.pulse import Pulse
from supervisor.recall import Recall
from supervisor.reload import Reloads
from supervisor.rotation import Rotation
from supervisor.routed import Directly
from supervisor.schedule import Schedule
from supervisor.settings import Settings
from supervisor.signalling import Signaller

HISTORY_EVERY_S = 5.0
DOCKER = "docker"
FOUND = "found.json"  # containers that were found by their labels
MOST_WAITING = 100  # messages to one keeper, before more reports say nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The sockets we serve on, bound already."""

    tcp: socket.socket
    unix: socket.socket
    agent: socket.socket | None = None  # HAProxy's agent checks, where they are wanted


class Daemon:
    """One daemon's life: its parts, its tasks, its end."""

    def __init__(self, settings: Settings, *, path: Path, listeners: Listeners) -> None:
        """`path` is the file that the settings are from, and are read anew from."""
        self._settings = settings
        self._path = path
        self._listeners = listeners
        self._store = Store(settings.daemon.state_dir / "history.sqlite")
        self._recall = Recall(self._store)
        self._host = Host()
        self._pulse = Pulse()
        self._schedule = Schedule()
        self._directly = Directly()
        self._group: asyncio.TaskGroup
        self._guard: Guard
        self._board: Board
        self._file: LivenessFile
        self._herald: Herald
        self._fleet: Fleet
        self._discovery: Discovery
        self._reloads: Reloads
        self._api: Api

    async def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; SIGHUP has the settings read anew."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self._assemble(await self._recall.holds())
        loop.add_signal_handler(signal.SIGHUP, self._reloads.hang_up)
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._reloads.begin()
                await self._recall.close_strangers(self._fleet.names)
                tasks = [self._for_ever(work, name=name) for name, work in self._services()]
                servers = self._serve()
                self._schedule.start()
                logger.info("benchai-supervisord {} watches {}", __version__, ", ".join(self._fleet.names))
                await stop.wait()
                logger.info("asked to end; targets run on")
                await self._wind_up(tasks, servers)
        finally:
            await self._let_go()
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # by default it would cut our last moments short

    def _assemble(self, holds: Iterable[Hold]) -> None:
        """Make what there is one of; nothing is watched yet."""
        self._guard = Guard((), rules=build.rules(self._settings), holds=holds)
        self._board = Board((), valid_for_s=self._settings.daemon.valid_for_s, mode=self._guard.mode)
        self._file = LivenessFile(self._settings.daemon.liveness_file, self._board)
        self._herald = Herald(self._board, self._file)
        shared = Shared(
            store=self._store,
            host=self._host,
            schedule=self._schedule,
            directly=self._directly,
            guard=self._guard,
            spawn=self._spawn,
            for_ever=self._for_ever,
            publish=self._publish,
            told=self._told,
            late_s=self._pulse.late_s,
        )
        self._discovery = Discovery(self._settings.daemon.state_dir / FOUND, problems=self._board.problems)
        self._discovery.remember()
        self._fleet = Fleet(shared, board=self._board, recall=self._recall, heard=self._heard)
        self._reloads = Reloads(
            self._path,
            self._settings,
            fleet=self._fleet,
            board=self._board,
            around=self._herald.reloading,
            apply=self._apply,
            found=self._discovery.admitted,
        )

    def _apply(self, settings: Settings) -> None:
        """Go by what the settings say of ourselves; what they say of targets is the fleet's."""
        self._settings = settings
        logs.hide(build.secrets(settings))
        logs.set_up(settings.daemon.log_level, form=settings.daemon.log_format)
        self._api.settle(token=settings.http.token.get_secret_value())
        self._discovery.stir()

    def _heard(self, engine: str, change: Changed) -> None:
        if engine == DOCKER:
            self._discovery.heard(change)

    def _publish(self, snapshot: Snapshot) -> None:
        self._directly.saw(snapshot)
        before = self._board.find(snapshot.name)
        logs.log_engine(snapshot.name, before.evidence.engine_detail if before else "", snapshot.evidence.engine_detail)
        self._board.put(snapshot)

    async def _told(self, timeout_s: float) -> None:
        await self._file.told(timeout_s=timeout_s)

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=name)

    def _for_ever(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        return self._spawn(_for_ever(work, name), name=name)

    def _services(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield everything that runs as long as we do, but for what each target needs."""
        yield "liveness file", self._file.run()
        yield "pulse", self._pulse.run()
        yield "herald", self._herald.run()
        yield "history", self._watch_history()
        yield "reloads", self._reloads.run()
        yield (
            "discovery",
            self._discovery.run(
                engine=lambda: self._fleet.engine(DOCKER),
                settings=lambda: self._settings,
                settle=self._reloads.settle_found,
            ),
        )
        if self._listeners.agent:
            yield "agent checks", AgentServer(self._listeners.agent, self._board).run()

    async def _watch_history(self) -> None:
        """Tell of a history that had to be begun anew, and write into it what people have said."""
        told = ""
        while True:
            if self._store.problem != told:
                told = self._board.problems["history"] = self._store.problem
                logger.error("history: {}", told)
                for hold in self._guard.holds:
                    await self._keep_hold(hold)
            await asyncio.sleep(HISTORY_EVERY_S)

    async def _keep_hold(self, hold: Hold) -> None:
        try:
            await self._store.keep_hold(hold)
        except UNUSABLE as error:
            logger.error("history: cannot be written, so a hold does not outlive us: {}", error)

    def _serve(self) -> list[HttpServer]:
        holding = Holding(self._guard, self._store, self._fleet.keepers, problems=self._board.problems)
        self._fleet.operator.undrain = holding.undrain
        self._api = api = Api(
            self._board,
            operate=self._fleet.operator.operate,
            report=self._report,
            history=self._history,
            holds=holding,
            incidents=Troubles(self._store),
            rereads=self._reloads,
            services=self._offered(holding),
            token=self._settings.http.token.get_secret_value(),
        )
        servers = [
            HttpServer(listener, api.app(trusted=trusted), at_end=api.end)
            for listener, trusted in ((self._listeners.tcp, False), (self._listeners.unix, True))
        ]
        for server in servers:
            self._spawn(server.run(), name="http")
        return servers

    def _offered(self, holding: Holding) -> Services:
        """Return who answers for what an operator may ask of one target, but for start, stop and holds."""
        fleet = self._fleet
        return Services(
            probe=Prober(fleet.keepers).probe,
            drain=Rotation(holding, self._board, told=self._told).drain,
            signal=Signaller(fleet.keepers, fleet.engine_of, self._store).signal,
            log=Printed(fleet.engine_of).log,
            acts=self._acts,
        )

    def _report(self, name: str, seen: TrafficSeen) -> bool:
        """Pass on what a router says of a request; False where there is no such target."""
        keeper = self._fleet.keepers.get(name)
        if keeper is not None and keeper.inbox.qsize() < MOST_WAITING:
            keeper.post(seen)
        return keeper is not None

    async def _history(self, name: str, limit: int) -> list[dict[str, Any]] | None:
        return await self._read(self._store.transitions(name, limit=limit))

    async def _acts(self, name: str, limit: int) -> list[dict[str, Any]] | None:
        return await self._read(self._store.acts(name, limit=limit))

    async def _read(self, reading: Awaitable[list[dict[str, Any]]]) -> list[dict[str, Any]] | None:
        try:
            return await reading
        except UNUSABLE as error:
            logger.error("history: cannot be read: {}", error)
            return None

    async def _wind_up(self, tasks: list[asyncio.Task[None]], servers: list[HttpServer]) -> None:
        """Decide nothing more, let engine calls end, then let everything go."""
        self._schedule.stop()
        self._reloads.leave()
        self._fleet.stop()
        # What is on a GPU is restarted by two calls, and its memory is waited for between them.
        longest_s = 2 * self._settings.docker.timeout_s + self._settings.recovery.vram_given_back_s
        longest_s += self._fleet.longest_grace_s
        acts = [act for runner in self._fleet.runners for act in runner.acts]
        self._herald.leave(within_s=longest_s if acts else 0.0)
        if acts:
            logger.info("waiting for {} engine call(s) to end, {:.0f}s at most", len(acts), longest_s)
            await asyncio.wait(acts, timeout=longest_s)
        self._fleet.operator.end()
        for server in servers:
            server.stop()
        for task in tasks:
            task.cancel()
        for runner in self._fleet.runners:
            runner.forget()
        await self._fleet.keep_baselines()

    async def _let_go(self) -> None:
        await self._fleet.close()
        self._host.close()
        self._file.close()
        self._reloads.close()
        self._discovery.close()
        self._store.close()


async def _for_ever(work: Coroutine[Any, Any, None], name: str) -> None:
    """Do it; whoever ends without having been told to takes us all along, and systemd or Docker begins us anew."""
    await work
    raise RuntimeError(f"{name}: came to an end by itself")
