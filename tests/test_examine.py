"""What is kept of a target before something is done to it, and what is made of it; nothing here holds an act up."""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor import examine
from supervisor.core.cause import GIB, Cause, Diagnosis
from supervisor.core.evidence import Evidence
from supervisor.core.observations import EngineSeen, EngineSilent, Life
from supervisor.core.policy import Policy
from supervisor.core.recording import Belief, Recording, from_json, noted
from supervisor.core.state import State
from supervisor.core.statements import Statement, Witness
from supervisor.core.verdict import NOTHING_LEARNED, Judgement, Verdict
from supervisor.engines.base import Description
from supervisor.errors import EngineUnreachable
from supervisor.examine import LOG_BYTES, Examiner
from supervisor.messages import Case
from supervisor.probes.base import GpuMemory
from tests.fakes.engine import ScriptedEngine, ScriptedHost

LOGS = Path(__file__).parent / "fixtures" / "logs"
SAID = Statement(witness=Witness.CPU, says="idle", since=990.0)
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersStanding", message="no progress, cpu idle", statements=(SAID,))
CASE = Case(instance="one", incident="20261124-general", judgement=HUNG, as_of=1000.0)
RUNNING = EngineSeen(life=Life.RUNNING, instance="one", pid=42)


class Shelf:
    """Keeps bundles, or cannot."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, Mapping[str, Any]]] = []
        self.problem: BaseException | None = None

    async def keep_evidence(self, incident: str, target: str, bundle: Mapping[str, Any], /) -> None:
        if self.problem is not None:
            raise self.problem
        self.kept.append((incident, target, bundle))


class Surgery:
    """An examiner, and all that it asks."""

    def __init__(self) -> None:
        self.engine, self.host, self.shelf = ScriptedEngine(), ScriptedHost(), Shelf()
        self.examiner = Examiner(
            "general", engine_name="benchai-general", engine=self.engine, host=self.host, store=self.shelf
        )

    @property
    def bundle(self) -> Mapping[str, Any]:
        ((_, _, bundle),) = self.shelf.kept
        return bundle


@pytest.fixture
def surgery() -> Surgery:
    return Surgery()


async def test_everything_that_dies_with_it_is_kept(surgery: Surgery) -> None:
    surgery.engine.log = "srv  update_slots: all slots are idle"
    surgery.engine.description = Description(
        facts={"image": "llama.cpp"}, processes=({"pid": 42, "waits_in": "futex"},)
    )
    surgery.host.gpus = (GpuMemory(index=0, used_bytes=GIB, total_bytes=12 * GIB),)

    await surgery.examiner.examine(CASE, RUNNING)

    assert surgery.shelf.kept[0][:2] == (CASE.incident, "general")
    assert surgery.bundle["verdict"] == "hung"
    assert surgery.bundle["statements"] == [{"witness": "cpu", "says": "idle", "age_s": 10.0}]
    assert surgery.bundle["engine"] == {"image": "llama.cpp"}
    assert surgery.bundle["processes"] == [{"pid": 42, "waits_in": "futex"}]
    assert surgery.bundle["gpu"][0]["used_bytes"] == GIB
    assert surgery.bundle["log"] == "srv  update_slots: all slots are idle"
    assert surgery.bundle["seen"]["life"] == "running"
    assert surgery.bundle["diagnosis"]["cause"] == "hung"
    assert surgery.bundle["errors"] == []
    assert surgery.bundle["policy"]["hung_after_s"] == Policy().hung_after_s
    json.dumps(surgery.bundle)  # it can be written down as it is


async def test_what_was_seen_lately_is_kept_to_be_judged_again(surgery: Surgery) -> None:
    before = Belief(evidence=Evidence(seen_at=0.0), state=State(since=0.0), baseline=NOTHING_LEARNED)
    recording = noted(Recording(), EngineSilent(detail="no answer"), now=999.0, before=before)

    await surgery.examiner.examine(replace(CASE, recording=recording), RUNNING)

    assert from_json(surgery.bundle["observations"], now=1000.0).entries


async def test_what_users_wrote_is_not_kept(surgery: Surgery) -> None:
    surgery.engine.log = 'srv  log_server_r: request: {"messages":[{"role":"user","content":"my secret"}]}'

    await surgery.examiner.examine(CASE, RUNNING)

    assert "my secret" not in str(surgery.bundle)


async def test_what_users_wrote_is_not_kept_where_its_beginning_is_cut_off_either(surgery: Surgery) -> None:
    begun_before, after = 'my secret, in more words"}]}', "srv  update_slots: all slots are idle\n"
    surgery.engine.log = f"{begun_before}\n{after * LOG_BYTES}"[:LOG_BYTES]

    await surgery.examiner.examine(CASE, RUNNING)

    assert "my secret" not in surgery.bundle["log"]
    assert "all slots are idle" in surgery.bundle["log"]


async def test_an_engine_that_tells_nothing_keeps_nobody_from_a_diagnosis(surgery: Surgery) -> None:
    surgery.engine.log = surgery.engine.description = EngineUnreachable("Docker did not answer")

    diagnosis = await surgery.examiner.examine(CASE, RUNNING)

    assert (diagnosis.cause, diagnosis.helps_restart) == (Cause.HUNG, True)
    assert surgery.bundle["errors"] == ["Docker did not answer", "Docker did not answer"]


async def test_whoever_does_not_answer_is_not_waited_for(surgery: Surgery, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> tuple[GpuMemory, ...] | None:
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(examine, "WITHIN_S", 0.05)
    monkeypatch.setattr(surgery.host, "memory", never)

    diagnosis = await surgery.examiner.examine(CASE, RUNNING)

    assert diagnosis.cause is Cause.HUNG
    assert surgery.bundle["errors"] == ["no answer within 0.05s"]


@pytest.mark.parametrize(
    "problem", [sqlite3.OperationalError("disk full"), OSError(28, "disk full"), TimeoutError(), KeyError("?")]
)
async def test_evidence_that_cannot_be_kept_holds_nothing_up(surgery: Surgery, problem: Exception) -> None:
    surgery.shelf.problem = problem

    diagnosis = await surgery.examiner.examine(CASE, RUNNING)

    assert diagnosis.helps_restart


class Unforeseen(Exception):
    """Nobody wrote of it anywhere."""


async def test_what_nobody_foresaw_is_noted_and_keeps_nobody_from_a_diagnosis(
    surgery: Surgery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def garbled() -> tuple[GpuMemory, ...] | None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    surgery.engine.description, surgery.engine.log = KeyError("State"), Unforeseen("no words")
    monkeypatch.setattr(surgery.host, "memory", garbled)

    diagnosis = await surgery.examiner.examine(CASE, RUNNING)

    assert (diagnosis.cause, diagnosis.helps_restart) == (Cause.HUNG, True)
    assert surgery.bundle["errors"][:2] == ["KeyError: 'State'", "Unforeseen: no words"]
    assert surgery.bundle["errors"][2].startswith("UnicodeDecodeError: ")


async def test_a_fault_in_the_diagnosis_forbids_no_restart(surgery: Surgery) -> None:
    surgery.engine.description = Description(facts={"gpus": 7})
    surgery.host.gpus = (GpuMemory(index=0, used_bytes=GIB, total_bytes=12 * GIB),)

    diagnosis = await surgery.examiner.examine(CASE, replace(RUNNING, uses_gpu=True))

    assert (diagnosis.cause, diagnosis.says, diagnosis.helps_restart) == (Cause.UNKNOWN, HUNG.message, True)
    assert surgery.bundle["errors"] == ["TypeError: 'int' object is not iterable"]


async def test_evidence_that_cannot_be_put_together_holds_nothing_up(surgery: Surgery) -> None:
    surgery.engine.description = Description(processes=("no mapping",))  # type: ignore[arg-type]

    diagnosis = await surgery.examiner.examine(CASE, RUNNING)

    assert diagnosis.cause is Cause.HUNG
    assert surgery.shelf.kept == []


async def test_whoever_is_cancelled_stays_so(surgery: Surgery) -> None:
    surgery.shelf.problem = asyncio.CancelledError()

    with pytest.raises(asyncio.CancelledError):
        await surgery.examiner.examine(CASE, RUNNING)


async def test_without_a_trouble_there_is_nothing_to_keep(surgery: Surgery) -> None:
    await surgery.examiner.examine(Case(instance="one", incident="", judgement=HUNG, as_of=0.0), RUNNING)

    assert surgery.shelf.kept == []


async def never_ready(surgery: Surgery, *gpus: GpuMemory) -> Diagnosis:
    """Look into one that was given a GPU, and whose model could not be loaded for a reason that it does not tell."""
    judgement = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited with code 1")
    surgery.host.gpus = gpus
    surgery.engine.log = "srv    load_model: failed to load model, '/models/phi-3.gguf'"
    exited = EngineSeen(life=Life.EXITED, instance="one", exit_code=1, uses_gpu=True)
    return await surgery.examiner.examine(Case(instance="one", incident="", judgement=judgement, as_of=0.0), exited)


FULL = GpuMemory(index=0, used_bytes=int(11.9 * GIB), total_bytes=12 * GIB)
EMPTY = GpuMemory(index=1, used_bytes=0, total_bytes=12 * GIB)


async def test_a_gpu_that_somebody_else_fills_forbids_no_restart(surgery: Surgery) -> None:
    diagnosis = await never_ready(surgery, FULL, EMPTY)

    assert (diagnosis.cause, diagnosis.helps_restart) == (Cause.NEVER_READY, True)
    assert "free" not in diagnosis.says


async def test_the_gpu_that_it_was_given_may_be_full(surgery: Surgery) -> None:
    surgery.engine.description = Description(facts={"gpus": [{"ids": ["0"]}]})

    diagnosis = await never_ready(surgery, FULL, EMPTY)

    assert (diagnosis.cause, diagnosis.helps_restart) == (Cause.OUT_OF_VRAM, False)


async def test_a_full_gpu_is_told_where_the_target_was_given_one(surgery: Surgery) -> None:
    surgery.host.gpus = (GpuMemory(index=0, used_bytes=12 * GIB, total_bytes=12 * GIB),)
    never_ready = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited with code 1")
    exited = EngineSeen(life=Life.EXITED, instance="one", exit_code=1, uses_gpu=True)
    surgery.engine.log = (LOGS / "llama_cpp_no_vram.txt").read_text()

    diagnosis = await surgery.examiner.examine(
        Case(instance="one", incident="", judgement=never_ready, as_of=0.0), exited
    )

    assert diagnosis.cause is Cause.OUT_OF_VRAM
    assert "0 MiB of 12.0 GiB are free" in diagnosis.says
