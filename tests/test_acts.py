"""One act: looked into before it is done, left undone where somebody came first or where it could not help."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.acts import OBSERVED, SEE_ITS_LOG, Acts
from supervisor.core.actions import Act
from supervisor.core.cause import GIB, Cause
from supervisor.core.events import Ended, Failed, Verb
from supervisor.core.incident import Incident
from supervisor.core.observations import EngineSeen, Life
from supervisor.core.verdict import Judgement, Verdict
from supervisor.errors import EngineRefused, EngineUnreachable
from supervisor.examine import Examiner
from supervisor.history.store import Store
from supervisor.messages import Case
from supervisor.on_gpu import OnGpu
from supervisor.probes.base import Eased, GpuMemory, Holder
from tests.fakes.engine import ScriptedEngine, ScriptedHost

RESTART = Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False)
INSISTENT = Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False, insists=True)
EASING = Act(verb=Verb.RESTART, grace_s=2.0, by_operator=False, eases=True)
BY_OPERATOR = Act(verb=Verb.RESTART, grace_s=2.0, by_operator=True)
DOWN = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited with code 1")
CASE = Case(instance="one", incident="20261124-general", judgement=DOWN, as_of=0.0)
EXITED = EngineSeen(life=Life.EXITED, instance="one", exit_code=1)
LOG = (Path(__file__).parent / "fixtures" / "logs" / "llama_cpp_missing.txt").read_text()


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "history.sqlite")
    yield store
    store.close()


@pytest.fixture
def host() -> ScriptedHost:
    return ScriptedHost()


@pytest.fixture
def acts(engine: ScriptedEngine, host: ScriptedHost, store: Store) -> Acts:
    place = "benchai-general"
    examiner = Examiner("general", engine_name=place, engine=engine, host=host, store=store)
    on_gpu = OnGpu("general", engine_name=place, engine=engine, host=host, given_back_s=0.1)
    return Acts("general", engine_name=place, engine=engine, examiner=examiner, store=store, on_gpu=on_gpu)


async def failed(acts: Acts, act: Act) -> Failed:
    outcome = await acts.do(act, CASE)
    assert isinstance(outcome, Failed)
    return outcome


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (EngineSeen(life=Life.EXITED, instance="one", stopped_by_operator=True), "OperatorWon"),
        (EngineSeen(life=Life.PAUSED, instance="one", stopped_by_operator=True), "OperatorWon"),
        (EngineSeen(life=Life.MISSING), "OperatorWon"),
        (EngineSeen(life=Life.RUNNING, instance="two"), "AlreadyRestarted"),
    ],
)
async def test_what_somebody_else_has_taken_over_meanwhile_is_left_alone(
    acts: Acts, engine: ScriptedEngine, seen: EngineSeen, reason: str
) -> None:
    engine.seen = seen

    outcome = await failed(acts, RESTART)

    assert engine.done == []
    assert (outcome.reason, outcome.counts) == (reason, False)


async def test_an_operator_is_obeyed_whatever_the_engine_says(acts: Acts, engine: ScriptedEngine) -> None:
    engine.seen = EngineSeen(life=Life.PAUSED, instance="two", stopped_by_operator=True)

    assert await acts.do(BY_OPERATOR, CASE) == Ended()
    assert engine.done == ["restart benchai-general"]


async def test_a_restart_that_timed_out_counts(acts: Acts, engine: ScriptedEngine) -> None:
    engine.refusal = EngineUnreachable("no answer within 12s")

    outcome = await failed(acts, RESTART)

    assert outcome.counts


async def test_nothing_is_tried_where_the_engine_does_not_answer(acts: Acts, engine: ScriptedEngine) -> None:
    engine.inspection = EngineUnreachable("no answer at all")

    outcome = await failed(acts, RESTART)

    assert (outcome.reason, outcome.counts, engine.done) == ("EngineUnreachable", False, [])


async def test_the_evidence_is_kept_before_the_act(acts: Acts, engine: ScriptedEngine, store: Store) -> None:
    kept_before: list[int] = []

    async def restart(name: str, *, grace_s: float) -> None:  # noqa: ARG001 - the Protocol's
        kept_before.append(len((await store.incident(CASE.incident) or {"evidence": []})["evidence"]))

    incident = Incident(id=CASE.incident, target="general", instance="one", opened_at=0.0, judgement=DOWN)
    await store.keep_incident(incident, now=0.0)
    engine.restart = restart  # type: ignore[method-assign]

    outcome = await acts.do(RESTART, CASE)

    assert isinstance(outcome, Ended)
    assert kept_before == [1]


async def test_what_a_restart_will_not_help_is_not_restarted(acts: Acts, engine: ScriptedEngine) -> None:
    engine.seen, engine.log = EXITED, LOG

    outcome = await failed(acts, RESTART)

    assert engine.done == []
    assert outcome.diagnosis is not None
    assert (outcome.reason, outcome.counts, outcome.diagnosis.cause) == ("WillNotHelp", False, Cause.MODEL_MISSING)


async def test_the_slow_retry_is_done_all_the_same(acts: Acts, engine: ScriptedEngine) -> None:
    engine.seen, engine.log = EXITED, LOG

    outcome = await acts.do(INSISTENT, CASE)

    assert engine.done == ["restart benchai-general"]
    assert isinstance(outcome, Ended)
    assert outcome.diagnosis is not None
    assert outcome.diagnosis.cause is Cause.MODEL_MISSING


async def test_a_refusal_that_tells_its_cause_is_understood(acts: Acts, engine: ScriptedEngine) -> None:
    engine.refusal = EngineRefused("Docker did not restart it: Bind for 0.0.0.0:8091 failed: port is already allocated")

    outcome = await failed(acts, RESTART)

    assert outcome.diagnosis is not None
    assert (outcome.diagnosis.cause, outcome.diagnosis.helps_restart) == (Cause.PORT_TAKEN, False)


def gpu(pid: int, name: str) -> tuple[GpuMemory, ...]:
    """Return a GPU on which a process holds 9 GiB of 12."""
    held = Holder(pid=pid, name=name, used_bytes=9 * GIB)
    return (GpuMemory(index=0, used_bytes=9 * GIB, total_bytes=12 * GIB, holders=(held,)),)


async def test_one_on_a_gpu_is_stopped_and_started_and_any_other_restarted(
    acts: Acts, engine: ScriptedEngine, host: ScriptedHost
) -> None:
    host.gpus = gpu(77, "python3")
    engine.seen = EngineSeen(life=Life.RUNNING, instance="one", pid=4121)
    await acts.do(RESTART, CASE)
    engine.seen = EngineSeen(life=Life.RUNNING, instance="one", pid=4121, uses_gpu=True)
    await acts.do(RESTART, CASE)

    assert engine.done == ["restart benchai-general", "stop benchai-general", "start benchai-general"]


async def test_one_whose_memory_is_not_given_back_stays_down_and_is_told_of_with_whoever_has_it(
    acts: Acts, engine: ScriptedEngine, host: ScriptedHost, store: Store, tmp_path: Path
) -> None:
    engine.seen = EngineSeen(life=Life.RUNNING, instance="one", pid=4121, uses_gpu=True)
    host.gpus = host.kept = gpu(4121, "llama-server")

    outcome = await failed(acts, RESTART)

    assert engine.done == ["stop benchai-general"]
    assert outcome.diagnosis is not None
    assert (outcome.counts, outcome.diagnosis.cause, outcome.diagnosis.helps_restart) == (
        True,
        Cause.OUT_OF_VRAM,
        False,
    )
    assert "llama-server (pid 4121, which should be gone)" in outcome.diagnosis.says
    assert len((await store.remember("general", window_s=60.0)).restart_ages_s) == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "history.sqlite")) as database:
        assert database.execute("SELECT outcome FROM acts").fetchall() == [("not started for want of GPU memory",)]


async def test_what_we_ended_ourselves_and_could_not_start_is_not_said_to_be_killed_from_outside(
    acts: Acts, engine: ScriptedEngine, host: ScriptedHost
) -> None:
    engine.seen = EngineSeen(life=Life.RUNNING, instance="one", pid=4121, uses_gpu=True)
    host.gpus = host.kept = gpu(4121, "llama-server")
    await acts.do(RESTART, CASE)
    engine.seen = EngineSeen(life=Life.EXITED, instance="one", exit_code=137, uses_gpu=True)
    host.gpus, host.kept = (GpuMemory(index=0, total_bytes=12 * GIB),), ()

    outcome = await acts.do(INSISTENT, CASE)

    assert isinstance(outcome, Ended)
    assert outcome.diagnosis is not None
    assert outcome.diagnosis.cause is Cause.OUT_OF_VRAM
    assert engine.done == ["stop benchai-general", "start benchai-general"]


async def test_a_note_does_nothing_and_spends_no_budget(
    acts: Acts, engine: ScriptedEngine, store: Store, tmp_path: Path
) -> None:
    engine.inspection = EngineUnreachable("no answer at all")

    await acts.note(RESTART, CASE)

    assert engine.done == []
    assert (await store.remember("general", window_s=60.0)).restart_ages_s == ()
    with contextlib.closing(sqlite3.connect(tmp_path / "history.sqlite")) as database:
        assert database.execute("SELECT outcome FROM acts").fetchall() == [(OBSERVED,)]


class ScriptedEasing:
    """Ends the one model, or cannot."""

    def __init__(self, *, done: bool) -> None:
        self.done = done

    async def ease(self, *, limit_s: float) -> Eased:  # noqa: ARG002 - the Protocol's
        return Eased(done=self.done, detail="as the test says")


@pytest.mark.parametrize(
    ("act", "can", "eased"),
    [
        pytest.param(EASING, True, True, id="it-can"),
        pytest.param(EASING, False, False, id="it-cannot"),
        pytest.param(RESTART, True, False, id="nobody-asks-for-that"),
    ],
)
async def test_where_one_model_can_be_ended_alone_its_server_goes_on(
    acts: Acts, engine: ScriptedEngine, act: Act, can: bool, eased: bool
) -> None:
    acts._easing = ScriptedEasing(done=can)

    outcome = await acts.do(act, CASE)

    assert isinstance(outcome, Ended)
    assert outcome.eased is eased
    assert engine.done == ([] if eased else ["restart benchai-general"])


@pytest.mark.parametrize("act", [RESTART, INSISTENT])
async def test_what_its_engine_restarts_already_is_looked_into_and_not_restarted_by_us_too(
    acts: Acts, engine: ScriptedEngine, act: Act
) -> None:
    engine.seen, engine.log = EngineSeen(life=Life.RESTARTING, instance="one", exit_code=1), LOG

    outcome = await failed(acts, act)

    assert engine.done == []
    assert outcome.diagnosis is not None
    assert (outcome.reason, outcome.counts, outcome.diagnosis.helps_restart) == ("WillNotHelp", False, False)


async def test_a_crash_loop_without_a_known_cause_is_told_to_a_person(acts: Acts, engine: ScriptedEngine) -> None:
    engine.seen = EngineSeen(life=Life.RESTARTING, instance="one", exit_code=3)

    outcome = await failed(acts, RESTART)

    assert outcome.diagnosis is not None
    assert outcome.diagnosis.cure == SEE_ITS_LOG


async def test_nothing_that_nobody_asked_for_is_begun_once_we_are_being_ended(
    acts: Acts, engine: ScriptedEngine
) -> None:
    acts.leave()

    outcome = await failed(acts, RESTART)

    assert (outcome.reason, outcome.counts, engine.done) == ("Leaving", False, [])
    assert await acts.do(BY_OPERATOR, CASE) == Ended()
