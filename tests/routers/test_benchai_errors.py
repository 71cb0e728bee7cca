"""BenchAI's router dresses errors as answers; guarded, it owns up to them, keeps none, and reports what is to blame."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from testbed.routers.benchai import BenchaiRouter
from tests.fakes.documents import Document
from tests.fakes.town import content, events, hung, wait_until
from tests.fakes.upstream import Connection, answers, fails, hangs_up, resets, silent, streams_then
from tests.routers.benchai_town import BenchaiTown, ask, request

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
failing = fails("500 Internal Server Error", '{"error": "Compute error"}')
PRIVATE = "what nobody else may read"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchaiTown]:
    with BenchaiTown(tmp_path_factory.mktemp("benchai")) as town:
        yield town


@pytest.fixture(scope="module")
def router(town: BenchaiTown) -> Iterator[BenchaiRouter]:
    with town.router(BENCHAI_WAIT_FOR_TURN_S="1") as router:
        yield router


@pytest.fixture(autouse=True)
def calm(town: BenchaiTown) -> None:
    town.calm()


def told_of(town: BenchaiTown, name: str, *, ok: bool) -> Document:
    """Return what was told of a backend, once it is there; nothing else may have been told of it."""
    wait_until(lambda: name in town.ear.backends)
    reports = [report for report in town.ear.reports if report["backend"] == name]
    assert [report["ok"] for report in reports] == [ok]
    return reports[0]


def nothing_told_of(town: BenchaiTown, router: BenchaiRouter, name: str, *, witness: str) -> bool:
    """Say whether nothing was told of a backend by the time that a failure of another one was."""
    town.behave(**{witness: failing})
    ask(router, witness)
    wait_until(lambda: witness in town.ear.backends)
    return name not in town.ear.backends


# --- statuses ---------------------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("model", ["general", "vision"])
@pytest.mark.parametrize("behave", [failing, resets, hangs_up], ids=["500", "reset", "hang-up"])
def test_an_error_is_an_error_and_not_an_answer(
    town: BenchaiTown, router: BenchaiRouter, model: str, behave: object, stream: bool
) -> None:
    town.behave(**{model: behave})  # type: ignore[arg-type]

    response = ask(router, model, stream=stream)

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert model in response.json()["error"]["message"]


def test_a_request_that_was_wrong_in_itself_stays_so(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.behave(general=fails("400 Bad Request", '{"error": "too long"}'))

    response = ask(router, "general")

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert nothing_told_of(town, router, "general", witness="code")


def test_what_a_model_says_is_never_taken_for_an_error(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.behave(general=answers("Reasoning error: says the model, for a change"))

    assert content(ask(router, "general")).startswith("Reasoning error:")


def test_a_model_with_no_room_is_busy_and_not_to_blame(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.behave(code=silent)
    with ThreadPoolExecutor() as beside:
        waiting = beside.submit(ask, router, "code")
        wait_until(lambda: "code" in town.asked())

        response = ask(router, "code")
        quiet = nothing_told_of(town, router, "code", witness="general")
        town.say(code=hung())
        waiting.result(10.0)

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "model_busy"
    assert quiet


def test_the_routers_own_patience_holds_and_its_end_is_told(tmp_path: Path) -> None:
    with BenchaiTown(tmp_path) as town, town.router(BENCHAI_TIMEOUT_S="0.5") as router:
        town.behave(general=silent)

        response = ask(router, "general")

        assert response.status_code == 504
        assert told_of(town, "general", ok=False)["error"] == "ReadTimeout"


# --- nothing is kept of an error --------------------------------------------------------------------------------------


@pytest.mark.parametrize("honest", ["1", "0"])
def test_the_cache_keeps_no_error(tmp_path: Path, honest: str) -> None:
    with BenchaiTown(tmp_path) as town, town.router(BENCHAI_LIVENESS_HONEST=honest) as router:
        town.behave(general=failing)
        ask(router, "general", text="the same")
        town.behave(general=answers("well again"))

        assert content(ask(router, "general", text="the same")) == "well again"


def test_without_the_guard_the_cache_keeps_errors(tmp_path: Path) -> None:
    with BenchaiTown(tmp_path) as town, town.router(guard="none") as router:
        town.behave(general=failing)
        ask(router, "general", text="the same")
        town.behave(general=answers("well again"))

        assert content(ask(router, "general", text="the same")) == "Model error: HTTP 500"


def test_a_cached_answer_is_not_given_for_a_model_that_is_out(town: BenchaiTown, router: BenchaiRouter) -> None:
    assert content(ask(router, "general", text="once and again")) == "from general"
    town.say(general=hung())

    assert ask(router, "general", text="once and again").status_code == 503


def test_no_error_is_remembered_as_something_that_the_assistant_said(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.behave(general=failing)
    ask(router, "general")

    with sqlite3.connect(router.folder / "benchai_memory.db") as memory:
        said = memory.execute("SELECT content FROM conversations WHERE role = 'assistant'").fetchall()

    assert [line for (line,) in said if line.startswith("Model error")] == []


@both_ways
def test_where_one_asks_for_it_errors_stay_answers(tmp_path: Path, stream: bool) -> None:
    with BenchaiTown(tmp_path) as town, town.router(BENCHAI_LIVENESS_HONEST="0") as router:
        town.behave(general=resets)

        response = ask(router, "general", stream=stream)

        assert response.status_code == 200
        assert content(response).startswith(("Reasoning error", "Streaming error"))


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_that_dies_ends_with_an_error(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.behave(general=streams_then("one two", hangs_up))

    response = ask(router, "general", stream=True)

    assert events(response.text)[-1]["error"]["code"] == "no_backend_available"
    assert "data: [DONE]" not in response.text
    assert told_of(town, "general", ok=False)["error"] == "RemoteProtocolError"


def test_a_stream_that_freezes_ends_with_an_error_once_that_is_known(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.behave(general=streams_then("one two", silent))
    url, pieces = f"{router.url}/v1/chat/completions", []

    with httpx.stream("POST", url, json=request("general", stream=True), timeout=10.0, trust_env=False) as response:
        for piece in response.iter_text():
            pieces.append(piece)
            town.say(general=hung())

    assert "general is hung" in events("".join(pieces))[-1]["error"]["message"]


def test_openais_sdk_raises_what_a_stream_ends_with(town: BenchaiTown, router: BenchaiRouter) -> None:
    town.behave(general=streams_then("one two", hangs_up))
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="none", max_retries=0, timeout=10.0) as sdk:
        asking = sdk.chat.completions.create(**request("general", stream=True))

        with pytest.raises(openai.APIError, match="general"):
            list(asking)


def test_a_stream_of_auto_is_a_stream(router: BenchaiRouter) -> None:
    response = ask(router, "auto", stream=True)

    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")
    assert content(response).startswith("from")


# --- reports ----------------------------------------------------------------------------------------------------------


@both_ways
def test_an_answer_is_told(town: BenchaiTown, router: BenchaiRouter, stream: bool) -> None:
    def is_told() -> bool:  # one a second, at most
        ask(router, "general", stream=stream)
        return "general" in town.ear.backends

    wait_until(is_told)

    report = told_of(town, "general", ok=True)
    assert (report["first_token_s"] is not None) is stream
    assert report["instance"] == "4f1e@2026-11-23T11:58:02Z"


@both_ways
@pytest.mark.parametrize(("behave", "error"), [(failing, "answered 500"), (resets, "ReadError")], ids=["500", "reset"])
def test_a_failure_is_told_and_nothing_of_what_was_said(
    town: BenchaiTown, router: BenchaiRouter, behave: object, error: str, stream: bool
) -> None:
    town.behave(general=behave)  # type: ignore[arg-type]
    ask(router, "general", stream=stream, text=PRIVATE)

    assert told_of(town, "general", ok=False)["error"] == error
    assert PRIVATE not in json.dumps(town.ear.reports)


def test_what_the_supervisor_has_said_itself_is_not_told_back(town: BenchaiTown, router: BenchaiRouter) -> None:
    def says_so(connection: Connection) -> None:
        town.say(general=hung())
        connection.stay_silent()

    town.behave(general=says_so)
    ask(router, "general")

    assert nothing_told_of(town, router, "general", witness="code")
