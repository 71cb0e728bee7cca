"""What stands in the way of a restart is watched, and a change that lasts is told once."""

import pytest

from supervisor.core.cause import GIB, Cause
from supervisor.cure import EVERY_S, Cure
from supervisor.errors import EngineUnreachable
from supervisor.probes.base import GpuMemory
from tests.fakes.engine import ScriptedEngine, ScriptedHost

MISSING = {"container": "4f1e", "/models/phi-3.gguf": "missing"}
THERE = {"container": "4f1e", "/models/phi-3.gguf": "900 bytes, 17"}


class Watched:
    """A cure that is watched, by a clock of ours."""

    def __init__(self) -> None:
        self.now = 100.0
        self.engine, self.host = ScriptedEngine(), ScriptedHost()
        self.cure = Cure(engine_name="benchai-general", engine=self.engine, host=self.host, clock=lambda: self.now)

    async def look(self, cause: Cause = Cause.MODEL_MISSING, *, after_s: float = EVERY_S) -> str:
        self.now += after_s
        return await self.cure.look(cause)

    def gpu(self, *, free: int, is_lost: bool = False) -> None:
        self.host.gpus = (GpuMemory(index=0, used_bytes=(12 - free) * GIB, total_bytes=12 * GIB, is_lost=is_lost),)


@pytest.fixture
def watched() -> Watched:
    return Watched()


async def test_a_change_that_lasts_is_told_once(watched: Watched) -> None:
    watched.engine.around = MISSING
    before = [await watched.look(), await watched.look()]

    watched.engine.around = THERE
    after = [await watched.look(), await watched.look(), await watched.look()]

    assert before == ["", ""]
    assert after == ["", "/models/phi-3.gguf has changed", ""]


async def test_what_is_still_being_copied_is_waited_for(watched: Watched) -> None:
    watched.engine.around = MISSING
    await watched.look()

    told = []
    for size in range(10):
        watched.engine.around = {**MISSING, "/models/phi-3.gguf": f"{size} bytes, {size}"}
        told.append(await watched.look())

    assert told == [""] * 10
    assert await watched.look() != ""


async def test_a_change_that_does_not_last_is_none(watched: Watched) -> None:
    told = []
    for around in (MISSING, THERE, MISSING, MISSING):
        watched.engine.around = around
        told.append(await watched.look())

    assert told == [""] * 4


async def test_it_is_not_looked_at_more_often_than_need_be(watched: Watched) -> None:
    watched.engine.around = MISSING
    await watched.look()
    watched.engine.around = THERE

    assert [await watched.look(after_s=1.0) for _ in range(3)] == [""] * 3


async def test_an_engine_that_does_not_answer_has_changed_nothing(watched: Watched) -> None:
    watched.engine.around = MISSING
    await watched.look()
    watched.engine.around = EngineUnreachable("no answer")

    assert [await watched.look(), await watched.look()] == ["", ""]


async def test_a_new_failure_is_measured_from_how_things_are_then(watched: Watched) -> None:
    watched.engine.around = MISSING
    await watched.look()
    watched.engine.around = THERE

    watched.cure.begin()

    assert [await watched.look(), await watched.look()] == ["", ""]


@pytest.mark.parametrize("cause", [Cause.OUT_OF_VRAM, Cause.GPU_LOST])
async def test_room_on_a_gpu_is_a_change_for_the_better(watched: Watched, cause: Cause) -> None:
    watched.gpu(free=1)
    await watched.look(cause)
    watched.gpu(free=9)

    assert [await watched.look(cause), await watched.look(cause)] == ["", "GPU 0 has changed"]


async def test_less_room_on_a_gpu_is_no_reason_to_try_again_and_is_what_more_is_measured_from(watched: Watched) -> None:
    told = []
    for free in (4, 1, 1, 3, 3):
        watched.gpu(free=free)
        told.append(await watched.look(Cause.OUT_OF_VRAM))

    assert told == ["", "", "", "", "GPU 0 has changed"]


async def test_a_gpu_that_is_found_again_is_a_change_for_the_better(watched: Watched) -> None:
    watched.gpu(free=12, is_lost=True)
    await watched.look(Cause.GPU_LOST)
    watched.gpu(free=12)

    assert [await watched.look(Cause.GPU_LOST), await watched.look(Cause.GPU_LOST)] == ["", "GPU 0 has changed"]


async def test_gpus_are_none_of_the_business_of_other_causes(watched: Watched) -> None:
    watched.gpu(free=1)
    await watched.look()
    watched.gpu(free=9)

    assert [await watched.look(), await watched.look()] == ["", ""]
