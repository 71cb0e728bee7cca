"""What load balancers and Prometheus ask: a status each, and where everything is."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from supervisor.core.liveness import Snapshot
from supervisor.core.observations import Kind
from supervisor.core.state import Phase
from tests.publish.believing import HUNG, NOON, snapshot
from tests.publish.serving import WATCHED, Served, error_of, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")  # Prometheus' own rule


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One API for all tests."""
    async with serving(tmp_path_factory.mktemp("balancers"), token="") as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    """That API, as if it had just begun."""
    shared.time.now, shared.time.wall = 100.0, NOON
    for each in WATCHED:
        shared.board.put(each)
    return shared


def out(name: str, *, retry_in_s: float | None, **changes: Any) -> Snapshot:
    """Return a backend that waits for its restart, or for a person."""
    retry_at = None if retry_in_s is None else 100.0 + retry_in_s
    return snapshot(name, phase=Phase.FAILED, judgement=HUNG, retry_at=retry_at, **changes)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("name", "status"), [("planner", 200), ("code", 503), ("stranger", 404), ("router", 404), ("%2e%2e", 404)]
)
async def test_any_load_balancer_can_ask_about_one_backend(served: Served, method: str, name: str, status: int) -> None:
    response = await served.tcp.request(method, f"/v1/backends/{name}")

    assert response.status_code == status
    assert bool(response.content) == (method == "GET")
    assert response.headers.get("retry-after") == ("5" if status == 503 else None)


async def test_a_backend_is_told_in_a_few_words(served: Served) -> None:
    ready, stuck = await served.tcp.get("/v1/backends/planner"), await served.tcp.get("/v1/backends/code")

    assert ready.json() == {
        "name": "planner",
        "routable": True,
        "verdict": "ready",
        "reason": "CanaryAnswered",
        "message": "first token after 41 ms",
        "retry_after_s": None,
    }
    assert (stuck.json()["routable"], stuck.json()["verdict"], stuck.json()["retry_after_s"]) == (False, "hung", 5.0)


@pytest.mark.parametrize(("retry_in_s", "header"), [(17.5, "18"), (None, "60")])
async def test_the_header_says_when_to_come_back_even_where_a_person_must_act(
    served: Served, retry_in_s: float | None, header: str
) -> None:
    served.board.put(out("code", retry_in_s=retry_in_s))

    responses = [await served.tcp.get(path) for path in ("/v1/backends/code", "/v1/models/code/ready")]

    assert [each.status_code for each in responses] == [503, 503]
    assert [each.headers["retry-after"] for each in responses] == [header] * 2
    assert [each.json()["retry_after_s"] for each in responses] == [None if retry_in_s is None else 18.0] * 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("alias", "status"), [("planner", 200), ("code", 503), ("stranger", 404), ("router", 404)])
async def test_a_model_is_ready_when_any_backend_of_it_is(served: Served, method: str, alias: str, status: int) -> None:
    response = await served.tcp.request(method, f"/v1/models/{alias}/ready")

    assert response.status_code == status
    assert bool(response.content) == (method == "GET")


async def test_the_best_backend_of_a_model_comes_first_and_only_those_that_can(served: Served) -> None:
    served.board.put(snapshot("planner", models=("planner", "all"), phase=Phase.BUSY))
    served.board.put(snapshot("code", models=("code", "all"), url="http://127.0.0.1:8093"))
    served.board.put(out("spare", retry_in_s=None, models=("all",)))

    response = await served.tcp.get("/v1/models/all/ready")

    assert response.json() == {
        "alias": "all",
        "routable": True,
        "backends": [
            {"name": "code", "url": "http://127.0.0.1:8093", "weight": 1.0, "verdict": "ready"},
            {"name": "planner", "url": "http://127.0.0.1:8092", "weight": 0.3, "verdict": "ready"},
        ],
    }


async def test_a_model_that_nobody_can_serve_says_why_and_who_is_back_first(served: Served) -> None:
    served.board.put(out("planner", retry_in_s=40.0, models=("all",)))
    served.board.put(out("code", retry_in_s=12.0, models=("all",)))
    served.board.put(out("spare", retry_in_s=None, models=("all",)))

    response = await served.tcp.get("/v1/models/all/ready")

    told = response.json()
    message = told.pop("error")
    assert told == {"alias": "all", "routable": False, "backends": [], "retry_after_s": 12.0}
    assert message["code"] == "NothingRoutable"
    assert message["message"].startswith("planner: hung, no progress, cpu idle; code: hung, ")
    assert response.headers["retry-after"] == "12"


async def test_a_model_may_have_a_slash_in_its_name_and_half_a_character_in_its_trouble(served: Served) -> None:
    garbled = replace(HUNG, message="it said \ud83d")
    served.board.put(snapshot("code", models=("org/code:7b",), phase=Phase.SUSPECT, judgement=garbled))

    spellings = [await served.tcp.get(f"/v1/models/{alias}/ready") for alias in ("org/code:7b", "org%2Fcode%3A7b")]

    assert [each.status_code for each in spellings] == [503, 503]
    assert spellings[0].json()["error"]["message"] == "code: hung, it said ?"


async def test_an_unknown_model_is_refused_with_those_there_are(served: Served) -> None:
    served.board.put(snapshot("code", models=("code", "planner")))

    response = await served.tcp.get("/v1/models/stranger/ready")

    assert error_of(response) == (404, "NoSuchModel")
    assert "'stranger'; there are: planner, code" in response.json()["error"]["message"]


async def test_prometheus_is_told_where_everything_is_in_its_own_shape(served: Served) -> None:
    known = snapshot("planner", models=("planner", "research"))
    served.board.put(replace(known, evidence=replace(known.evidence, kind=Kind.LLAMA_CPP)))
    served.board.put(snapshot("code", url="https://[::1]"))

    response = await served.tcp.get("/v1/http_sd", headers={"X-Prometheus-Refresh-Interval-Seconds": "60"})

    groups = {group["labels"]["__meta_benchai_name"]: group for group in response.json()}
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert groups["planner"] == {
        "targets": ["127.0.0.1:8092"],
        "labels": {
            "__scheme__": "http",
            "__meta_benchai_name": "planner",
            "__meta_benchai_kind": "backend",
            "__meta_benchai_models": ",planner,research,",
            "__meta_benchai_server": "llama.cpp",
        },
    }
    assert (groups["code"]["targets"], groups["code"]["labels"]["__scheme__"]) == (["[::1]:443"], "https")
    assert groups["router"]["labels"]["__meta_benchai_kind"] == "router"
    labels = [label for group in groups.values() for label in group["labels"].items()]
    assert all(LABEL.fullmatch(name) and isinstance(value, str) for name, value in labels)


async def test_prometheus_is_told_of_no_targets_with_an_empty_list(tmp_path: Path) -> None:
    async with serving(tmp_path, token="", watched=()) as served:
        response = await served.tcp.get("/v1/http_sd")

    assert (response.status_code, response.json()) == (200, [])
