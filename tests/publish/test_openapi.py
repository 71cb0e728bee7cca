"""The HTTP face's description: whole, current, and true of a daemon that runs."""

import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from starlette.routing import Route

from supervisor.publish import openapi
from supervisor.publish.openapi_schemas import SCHEMAS
from testbed.supervisord import Supervisord
from tests.publish.running import ALIAS, TOKEN, running
from tests.publish.serving import serving

ROOT = Path(__file__).parents[2]
DESCRIBED = openapi.document()
STREAM = "/v1/events"
EXAMPLES = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
NAMES = {"name": "planner", "alias": "code", "id": "none"}
READ = [path.format(**NAMES) for path, each in DESCRIBED["paths"].items() if "get" in each and path != STREAM]
schemathesis.openapi.format("printable", st.text(max_size=200).filter(str.isprintable))
schema = schemathesis.openapi.from_dict(DESCRIBED)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Supervisord]:
    """A daemon that runs."""
    with running(tmp_path_factory.mktemp("described"), model) as daemon:
        yield daemon


def test_what_is_written_is_current() -> None:
    checked = subprocess.run([sys.executable, "scripts/write_api_docs.py", "--check"], cwd=ROOT, check=False)

    assert checked.returncode == 0, "write it anew: .venv/bin/python scripts/write_api_docs.py"


async def test_every_route_is_described_and_nothing_else_and_head_wherever_get_is(tmp_path: Path) -> None:
    async with serving(tmp_path, token="") as served:
        routes = [each for each in served.app.routes if isinstance(each, Route)]

    answered = {
        each.path.replace(":path}", "}"): {str(method).lower() for method in each.methods or ()} for each in routes
    }
    assert answered == {path: set(operations) for path, operations in DESCRIBED["paths"].items()}


@schema.exclude(path=STREAM, method="GET").parametrize()
@EXAMPLES
def test_the_daemon_answers_as_described_whatever_it_is_asked(case: Case[Any], daemon: Supervisord) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}

    response = case.call(base_url=daemon.address, headers=headers, timeout=10)

    assert response.status_code != httpx.codes.INTERNAL_SERVER_ERROR
    case.validate_response(response, excluded_checks=[not_a_server_error])  # 503 is an answer like any other


def test_a_description_that_is_not_true_is_found_out(daemon: Supervisord) -> None:
    lie = copy.deepcopy(DESCRIBED)
    lie["components"]["schemas"]["Alive"]["properties"]["status"] = {"const": "well"}
    operation = schemathesis.openapi.from_dict(lie)["/livez"]["GET"]

    response = operation.Case().call(base_url=daemon.address, timeout=10)

    with pytest.raises(FailureGroup, match="schema"):
        operation.Case().validate_response(response)


def told(daemon: Supervisord, path: str) -> tuple[int, Any]:
    response = daemon.get(path)
    return response.status_code, response.json()


@pytest.mark.parametrize(
    ("path", "status", "name"),
    [
        ("/v1/backends/planner", 200, "BackendState"),
        ("/v1/backends/code", 503, "BackendState"),
        (f"/v1/models/{ALIAS}/ready", 200, "ModelReady"),
        ("/v1/models/code/ready", 503, "ModelNotReady"),
        ("/v1/targets/planner/why", 200, "Why"),
        ("/v1/history?target=planner", 200, "History"),
        ("/v1/http_sd", 200, "HttpSd"),
        ("/v1/incidents", 200, "Incidents"),
    ],
)
def test_what_has_a_name_is_answered_as_described(daemon: Supervisord, path: str, status: int, name: str) -> None:
    """Whoever asks at random seldom hits upon a name."""
    answered, content = told(daemon, path)

    assert answered == status
    jsonschema.validate(content, SCHEMAS[name])
    assert content


def test_one_trouble_is_told_with_its_evidence_as_described(daemon: Supervisord) -> None:
    (first, *_) = told(daemon, "/v1/incidents")[1]["incidents"]

    status, content = told(daemon, f"/v1/incidents/{first['id']}")

    assert status == 200
    jsonschema.validate(content, SCHEMAS["Incident"])


def test_the_daemon_serves_its_description(daemon: Supervisord) -> None:
    assert told(daemon, "/openapi.json") == (200, DESCRIBED)


@pytest.mark.parametrize("path", READ)
def test_head_is_get_without_a_body(daemon: Supervisord, path: str) -> None:
    get = daemon.get(path)

    head = httpx.head(f"{daemon.address}{path}", timeout=5.0, trust_env=False)

    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers.get("retry-after") == get.headers.get("retry-after")
