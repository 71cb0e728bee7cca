"""A host with one GPU, whose driver is made up, and a target on it with a scripted engine."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.core.actions import Act
from supervisor.core.cause import GIB
from supervisor.core.events import Failed
from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.base import Description
from supervisor.on_gpu import NoRoom, OnGpu
from supervisor.probes.host import Host
from supervisor.probes.nvml import Gpus
from tests.fakes.engine import ScriptedEngine
from tests.fakes.nvml import FakeNvml, Gpu, Memory

SHORT_S = 0.05
PATIENCE_S = 20.0
PLACE = "benchai-general"
OURS = 4121
RUNNING = EngineSeen(life=Life.RUNNING, instance="4f1e@08:00", pid=OURS, uses_gpu=True)


class CountingEngine(ScriptedEngine):
    """Counts what it is asked, and starts lives of one container."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = RUNNING
        self.asked: list[str] = []
        self.lives = 0

    async def inspect(self, name: str) -> EngineSeen:
        self.asked.append("inspect")
        return await super().inspect(name)

    async def describe(self, name: str) -> Description:
        self.asked.append("describe")
        return await super().describe(name)

    async def start(self, name: str) -> None:
        await super().start(name)
        self.lives += 1
        self.seen = replace(self.seen, life=Life.RUNNING, instance=f"4f1e@09:0{self.lives}", pid=OURS + self.lives)

    def crashes(self) -> None:
        self.seen = replace(self.seen, life=Life.EXITED, pid=None, exit_code=1)


class GpuMachine:
    """A host with one GPU of 12 GiB, who is on it, and the target that acts are done to."""

    def __init__(self, proc: Path) -> None:
        self.gpu = Gpu()
        self.driver = FakeNvml(self.gpu)
        self.host = Host(
            gpus=Gpus(load=lambda: self.driver), proc=proc, kernel_limit_s=PATIENCE_S, driver_limit_s=PATIENCE_S
        )
        self.engine = CountingEngine()
        self.engine.on_stop = lambda: self.ends(OURS)
        self.now = 100.0
        self._proc = proc
        self._named(2, "kthreadd")
        self.on_gpu = self.patient_for(SHORT_S)

    def patient_for(self, given_back_s: float) -> OnGpu:
        """Return what waits for its memory for so long."""
        return OnGpu(
            "general",
            engine_name=PLACE,
            engine=self.engine,
            host=self.host,
            given_back_s=given_back_s,
            clock=lambda: self.now,
        )

    def holds(self, pid: int, name: str, gib: float) -> None:
        """Let a process hold memory."""
        self._named(pid, name)
        self.gpu.compute = [*self._pids, pid]
        self.gpu.held[pid] = int(gib * GIB)
        self._sum_up()

    def ends(self, pid: int, *, gives_back: bool = True) -> None:
        """Let a process end; the driver may not notice."""
        shutil.rmtree(self._proc / str(pid))
        if gives_back:
            self.gives_back(pid)

    def gives_back(self, pid: int) -> None:
        """Let the driver notice that a process has ended."""
        self.gpu.compute = [each for each in self._pids if each != pid]
        self._sum_up()

    async def refused(self, act: Act) -> Failed:
        """Have something done, and return how it was refused."""
        with pytest.raises(NoRoom) as raised:
            await self.on_gpu.perform(act)
        return raised.value.outcome

    @property
    def _pids(self) -> list[int]:
        assert isinstance(self.gpu.compute, list)
        return self.gpu.compute

    def _sum_up(self) -> None:
        self.gpu.memory = Memory(total=12 * GIB, used=sum(self.gpu.held[each] for each in self._pids))

    def _named(self, pid: int, name: str) -> None:
        (self._proc / str(pid)).mkdir()
        (self._proc / str(pid) / "comm").write_text(name)
