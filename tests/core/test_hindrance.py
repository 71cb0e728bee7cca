"""When somebody asks for a canary: one is sent unless it would hurt a user, wake a sleeper, or meet nobody."""

from dataclasses import replace

import pytest

from supervisor.core.decide import Hindrance, hindrance
from supervisor.core.evidence import Evidence
from supervisor.core.observations import EngineSeen, Kind, Life, Slot
from supervisor.core.policy import Policy

NOW = 1000.0
BUSY = Slot(id=0, busy=True, task=8, decoded=12, prefilled=0)
IDLE = replace(BUSY, busy=False)
UP = Evidence(seen_at=0.0, instance="one", engine=EngineSeen(life=Life.RUNNING), slots=(IDLE,), answered_at=NOW - 1)


@pytest.mark.parametrize(
    ("evidence", "wakes", "expected"),
    [
        pytest.param(UP, False, None, id="idle"),
        pytest.param(replace(UP, served_at=NOW - 1), False, None, id="its-users-cache-is-for-who-asks-to-weigh"),
        pytest.param(replace(UP, slots=(BUSY,)), False, Hindrance.BUSY, id="every-slot-at-work"),
        pytest.param(replace(UP, slots=(BUSY, IDLE)), False, None, id="a-slot-is-free"),
        pytest.param(replace(UP, is_asleep=True), False, Hindrance.ASLEEP, id="asleep"),
        pytest.param(replace(UP, is_asleep=True), True, None, id="asleep-and-may-be-woken"),
        pytest.param(
            replace(UP, engine=EngineSeen(life=Life.EXITED)), True, Hindrance.NOT_RUNNING, id="it-does-not-run"
        ),
        pytest.param(
            replace(UP, kind=Kind.LLAMA_CPP_PYTHON, slots=()), False, Hindrance.MAY_CUT_OFF, id="would-cut-off"
        ),
        pytest.param(
            replace(UP, kind=Kind.LLAMA_CPP_PYTHON, slots=(), cpu_idle_since=NOW - 5), False, None, id="would-not"
        ),
    ],
)
def test_a_canary_that_is_asked_for_hurts_nobody(evidence: Evidence, wakes: bool, expected: Hindrance | None) -> None:
    assert hindrance(evidence, policy=Policy(), now=NOW, wakes=wakes) is expected
