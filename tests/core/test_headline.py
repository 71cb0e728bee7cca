"""The one line that says how everything is."""

from dataclasses import replace

import pytest

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.events import Verb
from supervisor.core.evidence import Evidence
from supervisor.core.headline import headline
from supervisor.core.liveness import Snapshot
from supervisor.core.policy import Policy
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase, State
from supervisor.core.verdict import Judgement, Verdict

READY = Judgement(verdict=Verdict.READY, reason="CanaryAnswered", message="first token after 41 ms")
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersStanding", message="no progress, cpu idle")
UNSEEN = Judgement(verdict=Verdict.UNKNOWN, reason="EngineUnreachable", message="docker does not answer")
HELD = Restraint(curb=Curb.HELD, message="held by an operator")
WATCHED = Restraint(curb=Curb.OBSERVING, message="only observed")
MISSING = Diagnosis(cause=Cause.MODEL_MISSING, says="no /m.gguf", cure="put it there", helps_restart=False)
WELL = State(phase=Phase.UP, since=0.0, judgement=READY)
ILL = replace(WELL, judgement=HUNG)


def target(name: str, state: State = WELL, *, stands_in_for: str | None = None) -> Snapshot:
    return Snapshot(
        name=name,
        kind="backend",
        url="http://127.0.0.1:8092",
        models=(name,),
        state=state,
        evidence=Evidence(seen_at=0.0),
        policy=Policy(),
        as_of=0.0,
        stands_in_for=stands_in_for,
    )


def test_all_well_is_said_in_two_words() -> None:
    assert headline([target("general"), target("code")]) == "2/2 ready"


def test_an_engine_that_cannot_be_asked_is_told_although_all_is_well() -> None:
    names = ["general", "code", "vision", "math", "planner"]
    silent = [replace(each, evidence=Evidence(seen_at=0.0, engine_detail="no bus")) for each in map(target, names)]

    assert headline([target("router"), *silent[:2]]) == "3/3 ready; no answer from the engine of general, code"
    assert headline(silent) == "5/5 ready; no answer from the engine of general, code, vision, math and 1 more"


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (replace(ILL, phase=Phase.RESTARTING, restarts=(1.0, 2.0)), "restarting, 2/5"),
        (replace(ILL, phase=Phase.RESTARTING, asked=Verb.RESTART), "restarting"),
        (replace(ILL, phase=Phase.BACKOFF, restarts=(1.0,)), "hung, restart 2/5 waits"),
        (replace(ILL, phase=Phase.BACKOFF, restraint=WATCHED), "hung, restart 1/5 waits"),
        (replace(ILL, phase=Phase.BACKOFF, restraint=HELD), "hung, held back"),
        (replace(ILL, phase=Phase.FAILED), "FATAL, hung"),
        (
            replace(ILL, phase=Phase.FAILED, diagnosis=MISSING),
            "FATAL, model missing",
        ),
        (replace(WELL, phase=Phase.STOPPED), "stopped"),
        (replace(ILL, phase=Phase.SUSPECT), "suspect"),
        (replace(WELL, judgement=UNSEEN), "unknown"),
        (State(since=0.0), "unknown"),
    ],
)
def test_whoever_is_not_ready_is_named_with_what_it_is_instead(state: State, word: str) -> None:
    assert headline([target("general"), target("code", state)]) == f"1/2 ready; code: {word}"


@pytest.mark.parametrize("phase", [Phase.BUSY, Phase.DEGRADED, Phase.ASLEEP])
def test_whoever_does_its_work_counts_as_ready(phase: Phase) -> None:
    assert headline([target("general", replace(WELL, phase=phase))]) == "1/1 ready"


def test_a_stand_in_counts_only_while_it_is_needed() -> None:
    stopped = replace(WELL, phase=Phase.STOPPED)

    assert headline([target("code"), target("spare", stopped, stands_in_for="code")]) == "1/1 ready"
    assert headline([target("code"), target("spare", stands_in_for="code")]) == "2/2 ready"


def test_of_many_that_are_not_ready_only_some_are_named() -> None:
    line = headline([target(name, State(since=0.0)) for name in "abcdef"])

    assert line == "0/6 ready; a: unknown; b: unknown; c: unknown; d: unknown; 2 more"


def test_what_ails_ourselves_and_that_we_only_observe_are_said_too() -> None:
    line = headline([target("general")], observes=True, problems=["history: begun anew"])

    assert line == "1/1 ready; only observing; history: begun anew"
