"""`GET /v1/history`: transitions of one target or of all, newest first."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.publish.serving import Served, error_of, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


def change(at: str, before: str, after: str) -> dict[str, Any]:
    words = {"verdict": "hung", "reason": "CountersStanding", "message": "no progress", "statements": []}
    return {"at": f"2026-11-23T12:00:{at}Z", "before": before, "after": after, **words}


PAST = {
    "planner": [change("09.000", "suspect", "up"), change("05.000", "up", "suspect")],
    "code": [change("07.000", "starting", "up"), change("05.000", "up", "suspect")],
    "router": [],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One API for all tests."""
    async with serving(tmp_path_factory.mktemp("past"), token="") as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    """That API, which remembers all of `PAST`."""
    shared.operator.remembered, shared.operator.remembered_of = [], PAST
    return shared


async def test_the_transitions_of_all_are_told_newest_first_with_whose_they_are(served: Served) -> None:
    response = await served.tcp.get("/v1/history")

    transitions = response.json()["transitions"]
    assert [(each["target"], each["after"]) for each in transitions] == [
        ("planner", "up"),
        ("code", "up"),
        ("planner", "suspect"),
        ("code", "suspect"),
    ]
    assert transitions[0] == {"target": "planner", **PAST["planner"][0]}


@pytest.mark.parametrize(("query", "expected"), [("?target=code", 2), ("?limit=3", 3), ("?target=code&limit=1", 1)])
async def test_fewer_can_be_asked_for(served: Served, query: str, expected: int) -> None:
    transitions = (await served.tcp.get(f"/v1/history{query}")).json()["transitions"]

    assert len(transitions) == expected
    assert transitions == sorted(transitions, key=lambda each: each["at"], reverse=True)
    assert {each["target"] for each in transitions} <= ({"code"} if "code" in query else set(PAST))


@pytest.mark.parametrize("limit", ["0", "501", "-1", "many", "1.5", ""])
async def test_a_limit_that_is_none_is_refused(served: Served, limit: str) -> None:
    response = await served.tcp.get(f"/v1/history?limit={limit}")

    assert error_of(response) == (400, "BadRequest")
    assert "limit" in response.json()["error"]["message"]


async def test_a_history_that_cannot_be_read_is_told_of(served: Served) -> None:
    served.operator.remembered = None

    response = await served.tcp.get("/v1/history?target=code")

    assert error_of(response) == (503, "HistoryUnreadable")
