"""The story over HTTP, with what it rests on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from supervisor.core.state import Phase
from tests.publish.believing import NOON, VALID_FOR_S, snapshot
from tests.publish.serving import TOKEN, WATCHED, Served, error_of, serving

FELL: dict[str, Any] = {
    "at": "2026-11-23T11:59:50.000Z",
    "before": "up",
    "after": "suspect",
    "verdict": "suspect",
    "reason": "CountersSilent",
    "message": "counters silent, cpu idle",
    "statements": [{"witness": "cpu", "says": "idle", "age_s": 1.0}],
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One API for all tests: ending a server takes it a moment."""
    async with serving(tmp_path_factory.mktemp("api"), token=TOKEN) as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    """That API, as if it had just begun."""
    shared.time.now, shared.time.wall = 100.0, NOON
    shared.operator.remembered = []
    for each in WATCHED:
        shared.board.put(each)
    return shared


async def test_the_story_comes_with_its_evidence_and_what_led_there(served: Served) -> None:
    served.operator.remembered = [FELL] * 12

    response = await served.tcp.get("/v1/targets/planner/why")

    told = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert told.pop("story").startswith("planner is up, and has been for 2 s. It gave a real answer to our canary 1 s")
    assert told == {
        "name": "planner",
        "state": "RUNNING",
        "verdict": "ready",
        "reason": "CanaryAnswered",
        "message": "first token after 41 ms",
        "since": "2026-11-23T11:59:58.000Z",
        "incident": None,
        "statements": [
            {
                "witness": "engine",
                "says": "has not told us yet",
                "since": "2026-11-23T11:59:50.000Z",
                "age_s": 10.0,
            },
            {"witness": "progress", "says": "no counters seen", "since": None, "age_s": None},
            {
                "witness": "canary",
                "says": "answered, first token after 41 ms",
                "since": "2026-11-23T11:59:59.000Z",
                "age_s": 1.0,
            },
        ],
        "transitions": [FELL] * 10,
        "note": None,
    }


async def test_a_history_that_cannot_be_read_costs_only_itself(served: Served) -> None:
    served.operator.remembered = None

    told = (await served.tcp.get("/v1/targets/planner/why")).json()

    assert told["story"].startswith("planner is up")
    assert told["transitions"] is None
    assert "cannot be read" in told["note"]


async def test_a_late_owner_is_told_as_our_own_fault(served: Served) -> None:
    served.time.pass_s(VALID_FOR_S + 5)

    told = (await served.tcp.get("/v1/targets/planner/why")).json()

    assert (told["verdict"], told["reason"]) == ("unknown", "SupervisorLate")
    assert "Our own loop has not looked at it for 20 s" in told["story"]


async def test_half_a_character_from_a_server_does_not_cost_the_story(served: Served) -> None:
    served.board.put(snapshot("planner", phase=Phase.SUSPECT, failures=1, last_detail="garbage \ud83d"))

    told = (await served.tcp.get("/v1/targets/planner/why")).json()

    assert {"witness": "canary", "says": "a bad answer: garbage ?", "since": None, "age_s": None} in told["statements"]


@pytest.mark.parametrize(
    ("method", "path", "expected", "words"),
    [
        ("GET", "/v1/targets/stranger/why", (404, "NoSuchTarget"), "planner, code, router"),
        ("POST", "/v1/targets/planner/why", (404, "NoSuchVerb"), "start, stop, restart"),
    ],
)
async def test_what_cannot_be_told_is_refused_like_everything_else(
    served: Served, method: str, path: str, expected: tuple[int, str], words: str
) -> None:
    response = await served.unix.request(method, path)

    assert error_of(response) == expected
    assert words in response.json()["error"]["message"]
