"""An engine and a host that answer as a test tells them, and write down what they were asked to do."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.base import Description
from supervisor.engines.none import NoEngine
from supervisor.probes.base import GpuMemory, HostWork

T = TypeVar("T")


class ScriptedEngine(NoEngine):
    """Has one target, in whatever state a test puts it."""

    def __init__(self) -> None:
        self.seen = EngineSeen(life=Life.RUNNING, instance="one", age_s=1.0)
        self.held: asyncio.Event | None = None  # an answer waits for it
        self.done: list[str] = []
        self.on_stop: Callable[[], object] = lambda: None  # what else comes of it
        self.acted = asyncio.Event()
        self.spent_s = 0.0
        self.refusal: Exception | None = None  # of a restart
        self.inspection: Exception | None = None
        self.log: str | Exception = ""
        self.description: Description | Exception = Description()
        self.around: Mapping[str, str] | Exception = {}

    async def inspect(self, name: str) -> EngineSeen:  # noqa: ARG002 - the Protocol's
        seen = self.seen
        if self.held is not None:
            await self.held.wait()
        if self.inspection is not None:
            raise self.inspection
        return seen

    async def restart(self, name: str, *, grace_s: float) -> None:  # noqa: ARG002
        if self.refusal is not None:
            raise self.refusal
        self.done.append(f"restart {name}")

    async def stop(self, name: str, *, grace_s: float) -> None:  # noqa: ARG002
        self.done.append(f"stop {name}")
        self.seen = replace(self.seen, life=Life.EXITED, pid=None)
        self.on_stop()

    async def start(self, name: str) -> None:
        self.done.append(f"start {name}")
        self.acted.set()

    async def cpu_s(self, name: str) -> float | None:  # noqa: ARG002
        return self.spent_s

    async def log_tail(self, name: str, *, max_bytes: int) -> str:  # noqa: ARG002
        return _said(self.log)

    async def describe(self, name: str) -> Description:  # noqa: ARG002
        return _said(self.description)

    async def circumstances(self, name: str) -> Mapping[str, str]:  # noqa: ARG002
        return _said(self.around)


class ScriptedHost:
    """Says of every process, and of the GPUs, what the test wrote down."""

    def __init__(self) -> None:
        self.says = HostWork()
        self.asked: list[int] = []
        self.may_have_gpu: list[bool] = []
        self.gpus: tuple[GpuMemory, ...] | None = None
        self.kept: tuple[GpuMemory, ...] = ()  # what is not given back in time

    async def work(self, pid: int, *, may_have_gpu: bool = True) -> HostWork:
        self.asked.append(pid)
        self.may_have_gpu.append(may_have_gpu)
        return self.says

    async def memory(self) -> tuple[GpuMemory, ...] | None:
        return self.gpus

    async def given_back(self, pids: frozenset[int], *, within_s: float) -> tuple[GpuMemory, ...]:  # noqa: ARG002
        return self.kept


def _said(answer: T | Exception) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer
