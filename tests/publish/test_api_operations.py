"""Holds and incidents over HTTP: what is asked for is checked, passed on, and told in one shape."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from supervisor.core.restraint import EVERY
from supervisor.publish.api import Api
from tests.fakes.brakes import Brakes, Remembered, Rereads
from tests.fakes.services import Servants
from tests.publish.believing import Time
from tests.publish.serving import BEARER, TOKEN, WATCHED, Operator, error_of

INCIDENT: dict[str, Any] = {"id": "20261123-114500-planner", "targets": ["planner"], "cause": "hung", "members": []}
BUNDLE: dict[str, Any] = {"target": "planner", "verdict": "hung", "log": "half a character \ud83d"}


@dataclass
class Served:
    """The API for those who may change things (`trusted`) and for those who must show a token (`stranger`)."""

    brakes: Brakes
    remembered: Remembered
    operator: Operator
    trusted: httpx.AsyncClient
    stranger: httpx.AsyncClient


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    brakes, remembered, operator = Brakes(), Remembered([{**INCIDENT, "evidence": [BUNDLE]}]), Operator()
    api = Api(
        Time().board(*WATCHED),
        operate=operator.operate,
        report=operator.report,
        history=operator.history,
        holds=brakes,
        incidents=remembered,
        rereads=Rereads(),
        services=Servants().services(),
        token=TOKEN,
    )
    clients = [
        httpx.AsyncClient(transport=httpx.ASGITransport(api.app(trusted=trusted)), base_url="http://daemon")
        for trusted in (True, False)
    ]
    async with clients[0] as trusted, clients[1] as stranger:
        yield Served(brakes, remembered, operator, trusted, stranger)


# --- holds ------------------------------------------------------------------------------------------------------------


async def test_a_hold_outlives_its_target_and_can_be_lifted_all_the_same(served: Served) -> None:
    await served.brakes.hold("gone", for_s=None, why="driver")

    lifted = await served.trusted.post("/v1/targets/gone/release")
    again = await served.trusted.post("/v1/targets/gone/release")

    assert (lifted.status_code, lifted.json()) == (200, {"name": "gone", "released": True})
    assert error_of(again) == (404, "NoSuchTarget")


async def test_a_hold_says_when_it_ends(served: Served) -> None:
    response = await served.trusted.post(
        "/v1/targets/planner/hold", params={"for_s": 1800, "why": " upgrading the driver: 中 "}
    )

    assert (response.status_code, response.json()) == (
        200,
        {"name": "planner", "held": True, "until": "2026-11-23T12:30:00.000Z"},
    )
    assert served.brakes.asked == [("planner", 1800.0, "upgrading the driver: 中")]
    assert served.operator.asked == []


async def test_a_hold_without_a_time_lasts_until_it_is_released(served: Served) -> None:
    held = await served.trusted.post("/v1/targets/planner/hold")
    first, second = [await served.trusted.post("/v1/targets/planner/release") for _ in range(2)]

    assert held.json() == {"name": "planner", "held": True, "until": None}
    assert served.brakes.asked == [("planner", None, "")]
    assert (first.status_code, first.json()) == (200, {"name": "planner", "released": True})
    assert (second.status_code, second.json()) == (200, {"name": "planner", "released": False})


async def test_a_pause_holds_every_target_and_names_what_is_let_end(served: Served) -> None:
    served.brakes.acting_on = ("code",)

    response = await served.trusted.post("/v1/pause?for_s=60&why=driver")

    assert served.brakes.asked == [(EVERY, 60.0, "driver")]
    assert (response.status_code, response.json()) == (
        200,
        {"paused": True, "until": "2026-11-23T12:01:00.000Z", "under_way": ["code"]},
    )


async def test_a_hold_on_one_target_outlives_the_end_of_a_pause(served: Served) -> None:
    await served.trusted.post("/v1/targets/planner/hold?why=mine")
    await served.trusted.post("/v1/pause")

    first, second = [await served.trusted.post("/v1/resume") for _ in range(2)]
    left = await served.trusted.get("/v1/holds")

    assert (first.status_code, first.json()) == (200, {"resumed": True})
    assert (second.status_code, second.json()) == (200, {"resumed": False})
    assert [each["target"] for each in left.json()["holds"]] == ["planner"]


async def test_everybody_may_read_what_is_held_and_what_is_under_way(served: Served) -> None:
    await served.trusted.post("/v1/pause?for_s=60")
    await served.trusted.post("/v1/targets/code/hold?why=mine")
    served.brakes.acting_on = ("code", "router")

    response = await served.stranger.get("/v1/holds")

    noon = "2026-11-23T12:00:00.000Z"
    assert response.json() == {
        "holds": [
            {"target": "*", "since": noon, "until": "2026-11-23T12:01:00.000Z", "why": "", "drains": False},
            {"target": "code", "since": noon, "until": None, "why": "mine", "drains": False},
        ],
        "under_way": ["code", "router"],
    }


CHANGES = ["/v1/targets/planner/hold", "/v1/targets/planner/release", "/v1/pause", "/v1/resume"]


@pytest.mark.parametrize("path", CHANGES)
async def test_nobody_holds_or_releases_anything_without_the_token(served: Served, path: str) -> None:
    refused = await served.stranger.post(path)
    let_in = await served.stranger.post(path, headers={b"Authorization": BEARER})

    assert error_of(refused) == (401, "Unauthorized")
    assert len(served.brakes.asked) == (1 if "hold" in path or "pause" in path else 0)
    assert let_in.status_code == 200


@pytest.mark.parametrize("path", ["/v1/targets/planner/hold", "/v1/pause"])
@pytest.mark.parametrize("for_s", ["0", "-1", "31536000.1", "nan", "inf", "soon", ""])
async def test_a_hold_lasts_for_a_sensible_number_of_seconds(served: Served, path: str, for_s: str) -> None:
    response = await served.trusted.post(path, params={"for_s": for_s})

    assert error_of(response) == (400, "BadRequest")
    assert "for_s" in response.json()["error"]["message"]
    assert served.brakes.asked == []


@pytest.mark.parametrize("path", ["/v1/targets/planner/hold", "/v1/pause"])
@pytest.mark.parametrize("why", ["x" * 201, "two\nlines", "\x1b[2J"])
async def test_a_reason_fits_into_a_line_and_harms_no_terminal(served: Served, path: str, why: str) -> None:
    response = await served.trusted.post(path, params={"why": why})

    assert error_of(response) == (400, "BadRequest")
    assert "why" in response.json()["error"]["message"]
    assert served.brakes.asked == []


async def test_the_longest_hold_and_the_longest_reason_are_taken(served: Served) -> None:
    response = await served.trusted.post("/v1/pause", params={"for_s": "31536000", "why": "x" * 200})

    assert response.status_code == 200
    assert served.brakes.asked == [(EVERY, 31_536_000.0, "x" * 200)]


# --- incidents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", (None, 50)),
        ("?target=&limit=1", (None, 1)),
        ("?target=planner", ("planner", 50)),
        ("?target=router&limit=500", ("router", 500)),
    ],
)
async def test_incidents_are_listed_as_they_are_remembered(
    served: Served, query: str, asked: tuple[str | None, int]
) -> None:
    response = await served.stranger.get(f"/v1/incidents{query}")

    assert (response.status_code, response.json()) == (200, {"incidents": [INCIDENT]})
    assert served.remembered.asked == [asked]


@pytest.mark.parametrize("limit", ["0", "501", "-1", "1.5", "many", ""])
async def test_the_number_of_incidents_is_sensible(served: Served, limit: str) -> None:
    response = await served.trusted.get(f"/v1/incidents?limit={limit}")

    assert error_of(response) == (400, "BadRequest")
    assert "limit" in response.json()["error"]["message"]
    assert served.remembered.asked == []


async def test_one_incident_comes_with_its_evidence_whatever_a_server_printed(served: Served) -> None:
    response = await served.stranger.get(f"/v1/incidents/{INCIDENT['id']}")

    told = {**BUNDLE, "log": "half a character ?"}
    assert (response.status_code, response.json()) == (200, {**INCIDENT, "evidence": [told]})
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v1/incidents", f"/v1/incidents/{INCIDENT['id']}"])
async def test_a_history_that_cannot_be_read_is_not_taken_for_an_empty_one(served: Served, path: str) -> None:
    served.remembered.incidents = None

    response = await served.trusted.get(path)

    assert error_of(response) == (503, "HistoryUnreadable")


@pytest.mark.parametrize(
    ("method", "path", "expected", "words"),
    [
        ("POST", "/v1/targets/stranger/hold", (404, "NoSuchTarget"), "planner, code, router"),
        ("POST", "/v1/targets/stranger/release", (404, "NoSuchTarget"), "planner, code, router"),
        ("POST", "/v1/targets/*/hold", (404, "NoSuchTarget"), "planner, code, router"),
        ("GET", "/v1/incidents?target=stranger", (404, "NoSuchTarget"), "planner, code, router"),
        ("GET", "/v1/incidents/20261123", (404, "NoSuchIncident"), "/v1/incidents"),
        ("POST", "/v1/targets/planner/grab", (404, "NoSuchVerb"), "restart, hold, release"),
        ("GET", "/v1/targets/planner/hold", (405, "MethodNotAllowed"), ""),
        ("GET", "/v1/pause", (405, "MethodNotAllowed"), ""),
        ("POST", "/v1/incidents", (405, "MethodNotAllowed"), ""),
    ],
)
async def test_every_refusal_has_one_shape_and_says_what_there_is(
    served: Served, method: str, path: str, expected: tuple[int, str], words: str
) -> None:
    response = await served.trusted.request(method, path)

    assert error_of(response) == expected
    assert words in response.json()["error"]["message"]
    assert served.brakes.asked == []
