"""What keeps a target from being started on GPUs, what a person can do about it, and whose GPUs count."""

from pathlib import Path
from typing import Any

import pytest

from supervisor import build
from supervisor.core.actions import Act
from supervisor.core.cause import GIB
from supervisor.core.events import Verb
from supervisor.core.observations import EngineSeen, Life
from supervisor.on_gpu import Elsewhere, OnGpu
from supervisor.probes.base import GpuMemory, Holder, HostWork
from supervisor.room import cure, held_by, its_gpu, obstacle
from supervisor.settings_file import load
from tests.fakes.engine import ScriptedEngine, ScriptedHost
from tests.settings.texts import BACKEND

OURS, THEIRS = frozenset({7}), 8


def gpu(index: int = 0, *by: Holder, used: float = 0.0, are_known: bool = True) -> GpuMemory:
    return GpuMemory(
        index=index, used_bytes=int(used * GIB), total_bytes=12 * GIB, holders=by, holders_are_known=are_known
    )


def holder(pid: int, *, is_gone: bool = False) -> Holder:
    return Holder(pid=pid, name="" if is_gone else "server", used_bytes=4 * GIB, is_gone=is_gone)


@pytest.mark.parametrize(
    ("gpus", "kept", "needs", "expected"),
    [
        pytest.param((gpu(used=2),), (), 9, None, id="room"),
        pytest.param((gpu(used=9),), (), 9, "it needs 9.0 GiB; 9.0 GiB of 12.0 GiB on GPU 0", id="none"),
        pytest.param((gpu(used=9),), (), None, None, id="nobody knows what it needs"),
        pytest.param((gpu(0, used=9), gpu(1)), (), 9, None, id="it depends on where it goes"),
        pytest.param((gpu(0, used=9), gpu(1, used=0.5)), (), 20, "it needs 20.0 GiB; 9.0 GiB", id="only who has some"),
        pytest.param((), (), 9, None, id="nobody to ask"),
        pytest.param((), (gpu(0, holder(7), used=4),), 9, "4.0 GiB of 12.0 GiB on GPU 0", id="kept when last seen"),
        pytest.param(
            (gpu(used=4),), (gpu(0, holder(7), used=4),), None, "4.0 GiB of 12.0 GiB", id="kept, need unknown"
        ),
        pytest.param((gpu(used=4),), (gpu(0, holder(7), used=4),), 4, None, id="kept, and room beside it"),
    ],
)
def test_only_what_is_certain_is_an_obstacle(
    gpus: tuple[GpuMemory, ...], kept: tuple[GpuMemory, ...], needs: int | None, expected: str | None
) -> None:
    found = obstacle(gpus, kept=kept, pids=OURS, needs_bytes=None if needs is None else needs * GIB)

    assert (None if found is None else found.says[: len(expected or "")]) == expected


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ((gpu(0, holder(THEIRS)),), "stop what need not be on GPU 0 (pid 8)"),
        ((gpu(0, holder(9, is_gone=True)),), "reset GPU 0 (`nvidia-smi --gpu-reset -i 0`)"),
        ((gpu(2),), "reset GPU 2 (`nvidia-smi --gpu-reset -i 2`)"),
        ((gpu(0, are_known=False),), "stop what `nvidia-smi` shows on GPU 0"),
        (
            (gpu(0, holder(7), holder(THEIRS)),),
            "end what is left of it (`kill -9 7`), or stop what need not be on GPU 0 (pid 8),"
            " or reset GPU 0 (`nvidia-smi --gpu-reset -i 0`)",
        ),
        (
            (gpu(0, holder(8)), gpu(1, holder(9))),
            "stop what need not be on GPU 0 (pid 8), or stop what need not be on GPU 1 (pid 9)",
        ),
    ],
)
def test_the_cure_names_whom_to_end_and_what_to_reset(gpus: tuple[GpuMemory, ...], expected: str) -> None:
    assert cure(gpus, OURS) == expected


def test_only_our_own_processes_are_waited_for() -> None:
    ours, theirs = gpu(0, holder(THEIRS), holder(7)), gpu(1, holder(9, is_gone=True))

    assert held_by((ours, theirs), OURS) == (ours,)


FULL, FULLER, EMPTY = gpu(0, used=11.8), gpu(1, used=12), gpu(2)
LOST = GpuMemory(index=3, is_lost=True)
NAMED = GpuMemory(index=4, uuid="GPU-8f", used_bytes=GIB, total_bytes=12 * GIB)


@pytest.mark.parametrize(
    ("gpus", "facts", "expected"),
    [
        pytest.param((EMPTY,), {}, EMPTY, id="the only one"),
        pytest.param((FULL, EMPTY), {}, None, id="nobody knows which"),
        pytest.param((FULLER, FULL), {}, FULL, id="all are full"),
        pytest.param((FULLER, LOST), {}, FULLER, id="nor is there room on one that is lost"),
        pytest.param((FULL, EMPTY), {"gpus": [{"ids": ["2"]}]}, EMPTY, id="given by number"),
        pytest.param((FULL, NAMED), {"gpus": [{"ids": ["GPU-8f"]}]}, NAMED, id="given by name"),
        pytest.param((FULL, FULLER, EMPTY), {"gpus": [{"ids": ["0", "1"]}]}, FULL, id="all that it was given are full"),
        pytest.param((FULL, EMPTY, NAMED), {"gpus": [{"ids": ["0", "2"]}]}, None, id="given several"),
        pytest.param((FULL, EMPTY), {"gpus": [{"count": -1}]}, None, id="given all"),
        pytest.param((FULL, EMPTY), {"gpus": [{"ids": ["0"]}, {"count": 1}]}, None, id="one of them is not said"),
        pytest.param((FULL, EMPTY), {"gpus": [{"ids": ["MIG-1"]}]}, None, id="a name that the driver does not tell"),
        pytest.param((FULL, LOST), {"gpus": [{"ids": ["3"]}]}, None, id="its own is lost"),
    ],
)
def test_a_gpu_tells_something_only_where_it_is_its_own_or_all_are_full(
    gpus: tuple[GpuMemory, ...], facts: dict[str, Any], expected: GpuMemory | None
) -> None:
    assert its_gpu(gpus, facts) == expected


RESTART = Act(verb=Verb.RESTART, grace_s=1.0, by_operator=False)


def on_gpu(engine: ScriptedEngine, host: ScriptedHost | Elsewhere) -> OnGpu:
    engine.seen = EngineSeen(life=Life.RUNNING, instance="4f1e@08:00", pid=7, uses_gpu=True)
    return OnGpu("general", engine_name="benchai-general", engine=engine, host=host, given_back_s=0.05)


async def test_on_another_machine_nobody_is_asked_about_our_gpus() -> None:
    engine, elsewhere = ScriptedEngine(), Elsewhere()

    done = await on_gpu(engine, elsewhere).perform(RESTART)

    assert (done, engine.done) == (False, [])
    assert (await elsewhere.memory(), await elsewhere.given_back(OURS, within_s=60.0)) == (None, ())
    assert await elsewhere.work(7) == HostWork()


@pytest.mark.parametrize(
    ("host", "engine", "is_here"),
    [
        ("unix:///var/run/docker.sock", "docker", True),
        ("tcp://gpu-2:2376", "docker", False),
        ("ssh://admin@gpu-2", "docker", False),
        ("tcp://gpu-2:2376", "process", True),
        ("tcp://gpu-2:2376", "none", True),
    ],
)
def test_only_a_socket_of_ours_is_taken_for_an_engine_on_this_host(
    tmp_path: Path, host: str, engine: str, is_here: bool
) -> None:
    command = 'command = ["llama-server"]\n' if engine == "process" else ""
    (tmp_path / "settings.toml").write_text(f'{BACKEND}engine = "{engine}"\n{command}[docker]\nhost = "{host}"\n')
    settings = load(tmp_path / "settings.toml")

    target = build.target(settings, settings.backends[0], {engine: ScriptedEngine()})

    assert target.is_on_this_host is is_here


class FaultyHost(ScriptedHost):
    """Fails in a way that nobody foresaw, from the question of that number on."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.gpus = self.kept = (gpu(0, holder(7), used=9),)
        self.left = first

    async def memory(self) -> tuple[GpuMemory, ...] | None:
        self._fail()
        return await super().memory()

    async def given_back(self, pids: frozenset[int], *, within_s: float) -> tuple[GpuMemory, ...]:
        self._fail()
        return await super().given_back(pids, within_s=within_s)

    def _fail(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


@pytest.mark.parametrize("first", [0, 1])
async def test_our_own_fault_is_no_obstacle(first: int) -> None:
    engine = ScriptedEngine()

    done = await on_gpu(engine, FaultyHost(first)).perform(RESTART)

    assert (done, engine.done) == (
        (False, []) if first == 0 else (True, ["stop benchai-general", "start benchai-general"])
    )


async def test_a_description_that_cannot_be_read_keeps_nothing_alive() -> None:
    engine = ScriptedEngine()
    engine.description = KeyError("State")

    assert await on_gpu(engine, FaultyHost(1)).perform(RESTART)
