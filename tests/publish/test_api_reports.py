"""What routers report over HTTP: believed by no one, checked key by key, and passed on."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from supervisor.core.observations import TrafficSeen
from supervisor.publish.reports import MAX_BODY_BYTES, MAX_REPORTS
from tests.publish.serving import BEARER, TOKEN, Served, error_of, serving

FAILURE = {
    "backend": "planner",
    "ok": False,
    "error": "timeout after 30 s",
    "first_token_s": None,
    "age_s": 0.3,
    "instance": None,
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One API for all tests: ending a server takes it a moment."""
    async with serving(tmp_path_factory.mktemp("api"), token=TOKEN) as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    """That API, and nothing reported yet."""
    shared.operator.reported.clear()
    return shared


async def test_one_report_reaches_its_target_word_for_word(served: Served) -> None:
    response = await served.unix.post("/v1/observations", json=FAILURE)

    assert (response.status_code, response.json()) == (202, {"taken": 1, "unknown": []})
    seen = TrafficSeen(instance=None, ok=False, age_s=0.3, first_token_s=None, detail="timeout after 30 s")
    assert served.operator.reported == [("planner", seen)]


async def test_many_reports_come_in_their_order_and_may_say_little(served: Served) -> None:
    reports = [
        {"backend": "code", "ok": True, "first_token_s": 2, "instance": "4f1e"},
        {"backend": "planner", "ok": True, "error": None, "age_s": None, "of_a_later_version": [1]},
    ]

    response = await served.unix.post("/v1/observations", json=reports)

    assert response.json() == {"taken": 2, "unknown": []}
    assert served.operator.reported == [
        ("code", TrafficSeen(instance="4f1e", ok=True, first_token_s=2.0)),
        ("planner", TrafficSeen(instance=None, ok=True)),
    ]


async def test_strangers_are_named_once_and_the_others_taken(served: Served) -> None:
    reports = [{"backend": name, "ok": True} for name in ("stranger", "planner", "stranger", "http://10.0.0.9:1")]

    response = await served.unix.post("/v1/observations", json=reports)

    assert (response.status_code, response.json()) == (202, {"taken": 1, "unknown": ["stranger", "http://10.0.0.9:1"]})
    assert [name for name, _ in served.operator.reported] == ["planner"]


async def test_no_report_at_all_is_taken_for_what_it_is(served: Served) -> None:
    response = await served.unix.post("/v1/observations", json=[])

    assert (response.status_code, response.json()) == (202, {"taken": 0, "unknown": []})


@pytest.mark.parametrize("authorization", [None, b"Bearer wrong"])
async def test_over_the_port_nobody_reports_without_the_token(served: Served, authorization: bytes | None) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization}

    refused = await served.tcp.post("/v1/observations", json=FAILURE, headers=headers)
    taken = await served.tcp.post("/v1/observations", json=FAILURE, headers={b"Authorization": BEARER})

    assert error_of(refused) == (401, "Unauthorized")
    assert taken.status_code == 202
    assert len(served.operator.reported) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "the body is not JSON", id="empty"),
        pytest.param(b"\xff\xfe", "the body is not JSON", id="no-text"),
        pytest.param(b"[" * 50_000, "the body is not JSON", id="too-deep"),
        pytest.param("x", '"x" must be an object', id="a-word"),
        pytest.param([FAILURE, 3], "report 1: 3 must be an object", id="a-number-among-reports"),
        pytest.param([FAILURE] * (MAX_REPORTS + 1), "holds 101 reports; send at most 100", id="too-many"),
        pytest.param({"ok": True}, "backend must be the backend's name or address", id="about-nobody"),
        pytest.param({**FAILURE, "backend": 3}, "backend = 3 must be a text", id="a-number-for-a-name"),
        pytest.param({"backend": "planner"}, "ok = null must be true or false", id="neither-good-nor-bad"),
        pytest.param({**FAILURE, "ok": 1}, "ok = 1 must be true or false", id="a-number-for-a-truth"),
        pytest.param({**FAILURE, "error": ["x"]}, 'error = ["x"] must be a text', id="a-list-for-an-error"),
        pytest.param({**FAILURE, "instance": {}}, "instance = {} must be a text", id="an-object-for-an-instance"),
        pytest.param({**FAILURE, "age_s": "3"}, 'age_s = "3" must be a number of seconds from 0', id="a-word-of-age"),
        pytest.param({**FAILURE, "age_s": -0.1}, "age_s = -0.1 must be a number", id="from-the-future"),
        pytest.param({**FAILURE, "age_s": 3601}, "age_s = 3601 must be a number", id="too-old"),
        pytest.param({**FAILURE, "age_s": True}, "age_s = true must be a number", id="a-truth-for-an-age"),
        pytest.param({**FAILURE, "first_token_s": -1}, "first_token_s = -1 must be a number", id="before-it-was-asked"),
        pytest.param(b'{"backend": "x", "ok": true, "age_s": NaN}', "age_s = NaN must be a number", id="not-a-number"),
        pytest.param(b'{"backend": "x", "ok": true, "age_s": 1e999}', "age_s = Infinity must be", id="without-end"),
        pytest.param(
            b'{"backend": "x", "ok": true, "age_s": 1' + b"0" * 400 + b"}", "must be a number", id="beyond-all-floats"
        ),
    ],
)  # fmt: skip
async def test_a_report_that_cannot_be_read_is_refused_with_key_value_and_cure(
    served: Served, body: Any, words: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    response = await served.unix.post("/v1/observations", content=content)

    assert error_of(response) == (400, "BadRequest")
    assert words in response.json()["error"]["message"]
    assert served.operator.reported == []


async def test_a_body_that_is_too_long_is_not_read_to_its_end(served: Served) -> None:
    response = await served.unix.post("/v1/observations", content=b" " * (MAX_BODY_BYTES + 1))

    assert error_of(response) == (413, "TooLarge")
    assert str(MAX_BODY_BYTES) in response.json()["error"]["message"]
