"""Benches: they make real targets for the engines under test, out of a few lines of Python, and remove them again."""

import asyncio
import contextlib
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import docker
import psutil
from docker.errors import APIError, NotFound

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.base import Changed, Engine
from supervisor.engines.docker import DockerEngine
from supervisor.engines.process import ProcessEngine, Program
from testbed import owner
from testbed.container_servers import OWNER_LABEL
from testbed.image import LABEL, PYTHON

T = TypeVar("T")

TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = 20.0  # how long a test waits for what ought to come at once
POLL_S: Final = 0.02
PROC: Final = Path("/proc")

# The first process of a container is deaf to signals that it does not handle, so each target says what it does.
OBEYS: Final = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
while True:
    time.sleep(3600)
"""
IGNORES: Final = """
import signal, time
for deaf_to in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(deaf_to, signal.SIG_IGN)
print("up", flush=True)
while True:
    time.sleep(3600)
"""
HEARS_HUP: Final = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGHUP, lambda *_: print("heard", flush=True))
print("up", flush=True)
while True:
    time.sleep(3600)
"""
BURNS: Final = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
while True:
    pass
"""
EXITS: Final = "raise SystemExit(3)"
CRASHES: Final = "import ctypes; ctypes.string_at(0)"


class Bench(Protocol):
    """Makes targets that `engine` can start, by any name."""

    @property
    def engine(self) -> Engine:
        """The engine under test."""
        ...

    @property
    def proc(self) -> Path:
        """Where the kernel tells of its targets' processes, by the numbers that the engine knows them by."""
        ...

    def make(self, code: str) -> str:
        """Make a target that runs `code`, started by nobody yet, and return its name."""
        ...

    def make_unstartable(self) -> str:
        """Make a target whose command does not exist."""
        ...

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal from outside, past the engine."""
        ...


class ProcessBench:
    """Programs on this machine."""

    proc: Final = PROC

    def __init__(self, state_dir: Path, **more: Any) -> None:
        self.programs: dict[str, Program] = {}
        settings = {"log_max_bytes": 1_000_000, "log_backups": 2, "stop_on_exit": True, "exit_grace_s": 0.0} | more
        self.engine = ProcessEngine(programs=self.programs, state_dir=state_dir, **settings)

    def make(self, code: str) -> str:
        """Make a program that runs `code`."""
        return self.add(Program(command=(sys.executable, "-c", code)))

    def make_unstartable(self) -> str:
        """Make a program that does not exist."""
        return self.add(Program(command=("/no/such/program",)))

    def add(self, program: Program) -> str:
        """Take a program as it is."""
        name = f"target-{len(self.programs)}"
        self.programs[name] = program
        return name

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the program alone."""
        seen = await self.engine.inspect(name)
        assert seen.pid is not None
        os.kill(seen.pid, number)

    async def close(self) -> None:
        """Stop all programs."""
        await self.engine.close()


class DockerBench:
    """Containers, removed at the end; `client` stays the caller's."""

    proc: Final = PROC

    def __init__(self, client: docker.DockerClient, image: str, host: str, **more: Any) -> None:
        self.client = client
        self.engine = DockerEngine(host=host, **{"timeout_s": TIMEOUT_S, "workers": 4} | more)
        self._image = image
        self._labels = {LABEL: "target", OWNER_LABEL: owner.me()}
        self._names: list[str] = []

    def make(self, code: str, *, name: str | None = None, **more: Any) -> str:
        """Make a container that runs `code`; `more` goes to the SDK as it is."""
        return self.make_command([PYTHON, "-c", code], name=name, **more)

    def make_unstartable(self) -> str:
        """Make a container whose command is not in its image."""
        return self.make_command(["/no/such/program"])

    def label(self, label: str, value: str) -> None:
        """Give a label more to whatever is made from here on."""
        self._labels[label] = value

    def make_command(
        self, command: list[str], *, name: str | None = None, image: str | None = None, **more: Any
    ) -> str:
        """Make a container that runs `command`, off the network unless told otherwise."""
        name = name or f"engines-{uuid.uuid4().hex[:12]}"
        self._names.append(name)
        self.client.containers.create(
            image or self._image,
            command[1:],
            entrypoint=command[:1],
            name=name,
            labels=self._labels,
            **{"network_mode": "none"} | more,
        )
        return name

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the container's first process from the host: `docker kill` would be an operator's."""
        pid = self.client.api.inspect_container(name)["State"]["Pid"]
        script = f"import os; os.kill({pid}, {number:d})"
        await asyncio.to_thread(
            self.client.containers.run,
            self._image,
            ["-c", script],
            entrypoint=[PYTHON],
            pid_mode="host",
            network_mode="none",
            labels=self._labels,
            remove=True,
        )

    def remove(self, name: str) -> None:
        """Remove a container, whatever state it is in."""
        with contextlib.suppress(NotFound):
            self.client.api.remove_container(name, force=True)

    async def close(self) -> None:
        """Remove all containers and let go of the engine."""
        await self.engine.close()
        for name in self._names:
            # A removal under way elsewhere is as good as ours.
            with contextlib.suppress(APIError):
                self.remove(name)


async def become(what: str, look: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
    """Poll the coroutine function `look` until what it returns is true, and return that."""
    deadline = time.monotonic() + within_s
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {within_s:g}s: {what}"
        await asyncio.sleep(POLL_S)
    return found


async def ended(bench: Bench, name: str) -> EngineSeen:
    """Wait until a target has run and ended, and return what is known about it then."""

    async def find() -> EngineSeen | None:
        seen = await bench.engine.inspect(name)
        return seen if seen.life is Life.EXITED and seen.ended_at else None

    seen: EngineSeen = await become(f"{name} has ended", find)
    return seen


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not merely what is left of one."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def gone(pid: int) -> None:
    """Wait until a process is no more."""

    async def is_gone() -> bool:
        return not is_alive(pid)

    await become(f"pid {pid} is gone", is_gone)


async def start(bench: Bench, name: str) -> None:
    """Start a target and return once it has set up its signals and said so."""
    await bench.engine.start(name)
    await ups(bench, name, 1)


async def ups(bench: Bench, name: str, count: int) -> None:
    """Wait until a target has come up `count` times."""

    async def has_come_up() -> bool:
        return (await bench.engine.log_tail(name, max_bytes=10_000)).count("up\n") >= count

    await become(f"{name} came up {count} times", has_come_up)


class Watcher:
    """Collects what an engine's `watch` yields, from the first change on."""

    def __init__(self, engine: Engine) -> None:
        self.seen: list[Changed] = []
        self._task = asyncio.create_task(self._collect(engine.watch()))

    async def wait_for(self, name: str | None, what: str = "", *, within_s: float = PATIENCE_S) -> Changed:
        """Return the first change of `name` that was not returned before and whose word starts with `what`."""

        async def find() -> Changed | None:
            if self._task.done():
                self._task.result()
            return next((change for change in self.seen if change.name == name and change.what.startswith(what)), None)

        change: Changed = await become(f"{name} {what or 'changes'}", find, within_s=within_s)
        self.seen.remove(change)
        return change

    async def close(self) -> None:
        """Stop watching."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _collect(self, changes: AsyncIterator[Changed]) -> None:
        async for change in changes:
            self.seen.append(change)


@contextlib.asynccontextmanager
async def watching(engine: Engine) -> AsyncIterator[Watcher]:
    """Watch an engine, and go on once it is connected."""
    watcher = Watcher(engine)
    try:
        await watcher.wait_for(None)
        yield watcher
    finally:
        await watcher.close()


async def steady(bench: Bench, name: str) -> dict[str, str]:
    """Return the circumstances, having seen that they stay as they are while nothing changes."""
    told = [dict(await bench.engine.circumstances(name)) for _ in range(2)]

    assert told[0] == told[1]
    return told[0]


def changed(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return what differs, with what it was and what it is."""
    keys = before.keys() | after.keys()
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}
