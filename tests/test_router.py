"""The demo router: whom it asks, and what it says when it asks nobody."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import document, entry, out
from tests.fakes.town import Town, ask, content, hung
from tests.fakes.upstream import answers, fails


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Town(tmp_path) as town:
        town.settle(general=answers("from general"), code=answers("from code"))
        town.say()
        yield town


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_reaches_its_backend_as_it_was_sent_and_the_answer_says_who_answered(
    town: Town, stream: bool
) -> None:
    response = ask(town.open(), "code", stream=stream)

    assert response.status_code == 200
    assert content(response) == "from code"
    assert response.headers["X-Backend"] == "code"
    assert json.loads(town.upstreams["code"].connections[0].body) == json.loads(response.request.content)


def test_auto_asks_the_idlest(town: Town) -> None:
    town.say(general={"weight": 0.3, "verdict": "busy"})

    assert ask(town.open()).headers["X-Backend"] == "code"


def test_auto_asks_in_its_own_order_where_all_are_as_idle(town: Town) -> None:
    assert ask(town.open()).headers["X-Backend"] == "general"


def test_a_request_without_a_model_is_for_auto(town: Town) -> None:
    assert town.open().post("/v1/chat/completions", json={"messages": []}).headers["X-Backend"] == "general"


def test_auto_leaves_out_whom_the_supervisor_leaves_out(town: Town) -> None:
    town.say(general=hung())

    assert ask(town.open()).headers["X-Backend"] == "code"
    assert town.upstreams["general"].connections == []


def test_where_nobody_can_it_refuses_with_a_reason_and_a_time_and_asks_nobody(town: Town) -> None:
    town.say(code=hung())

    response = ask(town.open(), "code")

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "12"
    assert response.json() == {
        "error": {
            "message": "code: no progress for 14 s",
            "type": "server_error",
            "code": "no_backend_available",
        }
    }
    assert town.upstreams["code"].connections == []


def test_what_the_document_does_not_name_is_asked_all_the_same(town: Town) -> None:
    town.say(silent_on="code")

    assert content(ask(town.open(), "code")) == "from code"


def test_an_error_that_is_the_requests_own_is_passed_on(town: Town) -> None:
    town.settle(vision=fails("400 Bad Request", '{"error": {"message": "no such template"}}'))
    town.say()

    response = ask(town.open(), "vision")

    assert response.status_code == 400
    assert response.json()["error"]["message"] == "no such template"
    assert response.headers["X-Backend"] == "vision"


# --- without a supervisor ---------------------------------------------------------------------------------------------


def test_without_a_document_it_uses_its_own_table(town: Town) -> None:
    town.file.unlink()

    assert content(ask(town.open(), "code")) == "from code"


def test_an_expired_document_takes_nobody_out(town: Town) -> None:
    town.say(valid_for_s=-1.0, code=hung())

    assert content(ask(town.open(), "code")) == "from code"


def test_it_can_follow_an_address_instead_of_a_file(tmp_path: Path, town: Town) -> None:
    entries = [entry("general", url=town.url_of("general")), out("code", url=town.url_of("code"))]
    with FakeDaemon(tmp_path / "control.sock", liveness=document(*entries, now_s=time.time())) as daemon:
        town.source = daemon.url
        client = town.open()

        assert ask(client, "general").status_code == 200
        assert ask(client, "code").status_code == 503


# --- requests that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"{", 400, "invalid_json", id="cut-off"),
        pytest.param(b"\xff", 400, "invalid_json", id="not-text"),
        pytest.param(b"[" * 100_000, 400, "invalid_json", id="very-deep"),
        pytest.param(b"[]", 400, "invalid_request", id="a-list"),
        pytest.param(b'{"model": 5}', 400, "invalid_request", id="a-model-that-is-a-number"),
        pytest.param(b'{"model": "gpt-9"}', 404, "model_not_found", id="a-model-nobody-knows"),
        pytest.param(b" " * (10 << 20) + b"{}", 413, "request_too_large", id="too-large"),
    ],
)
def test_a_request_that_is_none_gets_an_error_in_openais_shape(town: Town, body: bytes, status: int, code: str) -> None:
    response = town.open().post("/v1/chat/completions", content=body)

    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["message"]


def test_models_are_the_aliases_and_auto(town: Town) -> None:
    models = town.open().get("/v1/models").json()

    assert [model["id"] for model in models["data"]] == ["auto", "general", "code"]


def test_health_is_a_constant_that_knows_no_model(town: Town) -> None:
    town.say(general=hung(), code=hung())

    assert town.open().get("/health").json() == {"status": "ok"}


def test_only_posting_is_chatting(town: Town) -> None:
    assert town.open().get("/v1/chat/completions").status_code == 405
