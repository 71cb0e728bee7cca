"""What stands in the way of a restart is watched, each thing by itself, and a change that lasts is told once."""

from collections.abc import Iterable
from itertools import cycle, islice

import pytest

from supervisor.core.cause import GIB, Cause
from supervisor.cure import ANOTHER_TROUBLE_S, EVERY_S, Cure
from supervisor.errors import EngineUnreachable
from supervisor.probes.base import GpuMemory
from tests.fakes.engine import ScriptedEngine, ScriptedHost

MISSING = {"container": "4f1e", "/models/phi-3.gguf": "missing"}
THERE = {"container": "4f1e", "/models/phi-3.gguf": "900 bytes, 17"}
SILENT = dict.fromkeys(MISSING, "no answer")


class Watched:
    """A cure that is watched, by a clock of ours."""

    def __init__(self) -> None:
        self.now = 100.0
        self.engine, self.host = ScriptedEngine(), ScriptedHost()
        self.cure = Cure(engine_name="benchai-general", engine=self.engine, host=self.host, clock=lambda: self.now)

    async def look(self, cause: Cause = Cause.MODEL_MISSING, *, after_s: float = EVERY_S) -> str:
        self.now += after_s
        return await self.cure.look(cause)

    def gpu(self, *, free: float | None, is_lost: bool = False) -> None:
        """Let so many GiB be free; None: the driver is silent."""
        used_bytes = int((12 - (free or 0)) * GIB)
        gpu = GpuMemory(index=0, used_bytes=used_bytes, total_bytes=12 * GIB, is_lost=is_lost)
        self.host.gpus = None if free is None else (gpu,)

    async def tried_with(self, arounds: Iterable[dict[str, str]]) -> list[int]:
        """Return at which looks something had changed, where each time it is tried at once, and in vain."""
        return [number for number, around in enumerate(arounds) if await self._tried(Cause.MODEL_MISSING, around)]

    async def tried_with_free(self, frees: Iterable[float | None]) -> list[int]:
        tries = []
        for number, free in enumerate(frees):
            self.gpu(free=free)
            tries += [number] if await self._tried(Cause.OUT_OF_VRAM, {}) else []
        return tries

    async def _tried(self, cause: Cause, around: dict[str, str]) -> bool:
        self.engine.around = around
        has_changed = bool(await self.look(cause))
        if has_changed:
            self.cure.begin()
        return has_changed


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


async def test_a_change_is_told_whatever_flickers_beside_it(watched: Watched) -> None:
    told = []
    for number in range(20):
        watched.engine.around = {**(MISSING if number < 3 else THERE), "/cache/slots": f"4096 bytes, {number} ns"}
        told.append(await watched.look())

    assert [what for what in told if what] == ["/models/phi-3.gguf has changed"]


async def test_what_does_not_answer_has_not_changed(watched: Watched) -> None:
    swings = (MISSING, MISSING, SILENT, SILENT)

    assert await watched.tried_with(islice(cycle(swings), 40)) == []


async def test_silence_confirms_nothing(watched: Watched) -> None:
    assert await watched.tried_with((MISSING, THERE, SILENT, SILENT, MISSING)) == []
    assert await watched.tried_with((MISSING, THERE, SILENT, THERE)) == [3]


async def test_what_did_not_answer_when_it_failed_is_tried_once_it_does(watched: Watched) -> None:
    swings = (SILENT, SILENT, THERE, THERE)

    assert await watched.tried_with(islice(cycle(swings), 40)) == [3]


async def test_what_it_was_tried_with_in_vain_brings_no_second_attempt(watched: Watched) -> None:
    swings = (MISSING, MISSING, THERE, THERE)

    tries = await watched.tried_with(islice(cycle(swings), 100))

    assert [swings[number % len(swings)] for number in tries] == [THERE, MISSING]


async def test_yet_another_value_brings_another_attempt(watched: Watched) -> None:
    other = {**THERE, "/models/phi-3.gguf": "901 bytes, 18"}

    assert await watched.tried_with((MISSING, THERE, THERE, THERE, other, other)) == [2, 5]


async def test_what_was_tried_counts_for_one_trouble_alone(watched: Watched) -> None:
    first = await watched.tried_with((MISSING, THERE, THERE))
    watched.now += ANOTHER_TROUBLE_S

    assert (first, await watched.tried_with((MISSING, THERE, THERE))) == ([2], [2])


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


async def test_as_much_as_was_free_when_it_failed_is_no_reason_to_try_again(watched: Watched) -> None:
    assert await watched.tried_with_free((4, 1, 1, 4, 4)) == []


async def test_room_is_noticed_though_what_is_free_flickers(watched: Watched) -> None:
    before, after = (3, 4) * 3, (10, 11) * 10

    assert len(await watched.tried_with_free((*before, *after))) == 1


@pytest.mark.parametrize("wave", [(3, 4), (3, 3, 4, 4), (3, 3, 3, 9, 9, 9)])
async def test_room_that_comes_and_goes_is_tried_once(watched: Watched, wave: tuple[int, ...]) -> None:
    assert len(await watched.tried_with_free(islice(cycle(wave), 200))) <= 1


async def test_room_grows_by_what_may_matter_or_not_at_all(watched: Watched) -> None:
    assert await watched.tried_with_free((3, 3.9, 3.9, 4, 4, 4, 4.9, 4.9, 5, 5)) == [4, 9]


async def test_a_driver_that_falls_silent_has_freed_nothing(watched: Watched) -> None:
    assert await watched.tried_with_free((1, 1, None, None, None, 1, 1, 1)) == []
    assert await watched.tried_with_free((1, 9, None, None, 1, 1)) == []


async def test_a_driver_that_hung_with_its_gpu_is_tried_once_it_answers(watched: Watched) -> None:
    assert await watched.tried_with_free(islice(cycle((None, None, 0, 0)), 40)) == [3]


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


async def test_a_trouble_that_is_over_is_forgotten_with_all_that_was_tried(watched: Watched) -> None:
    told = []
    for _ in range(2):
        watched.engine.around = MISSING
        told += [await watched.look(), await watched.look()]
        watched.engine.around = THERE
        told += [await watched.look(), await watched.look()]
        watched.cure.forget()

    assert [bool(each) for each in told] == [False, False, False, True] * 2
