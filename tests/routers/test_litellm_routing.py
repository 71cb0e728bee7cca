"""Which of LiteLLM's deployments may have a request, and whose fault a failure was: the callback's decisions alone."""

import errno
from typing import Any

import httpx
import openai
import pytest

from integrations.litellm import benchai_routing as routing
from integrations.litellm.benchai_routing import NoneRoutable, blame, candidates
from supervisor.client import Backend, Snapshot

URLS = {"a": "http://127.0.0.1:8091", "b": "http://127.0.0.1:8092", "c": "http://127.0.0.1:8093"}
REQUEST: Any = httpx.Request("POST", "http://127.0.0.1:8091/v1/chat/completions")


def deployment(name: str, *, api_base: str | None = None, **model_info: Any) -> dict[str, Any]:
    base = f"{URLS[name]}/v1" if api_base is None else api_base
    return {"model_name": "x", "litellm_params": {"api_base": base}, "model_info": {"id": name, **model_info}}


def snapshot(*, known: bool = True, **changes: dict[str, Any]) -> Snapshot:
    """Say that a, b and c are ready, but for `changes` by name."""
    return Snapshot(
        known=known, backends=tuple(Backend(name, url, **changes.get(name, {})) for name, url in URLS.items())
    )


def chosen(told: Snapshot, *names: str, avoid: tuple[str, ...] = ()) -> list[str]:
    deployments = [deployment(name) for name in names]
    return [each["model_info"]["id"] for each in candidates(told, "x", deployments, avoid=avoid)]


OUT: dict[str, Any] = {"routable": False, "weight": 0.0, "verdict": "hung", "message": "no progress for 14 s"}
BUSY: dict[str, Any] = {"weight": 0.3, "verdict": "busy"}


# --- who may be asked -------------------------------------------------------------------------------------------------


def test_all_that_are_ready_are_left_to_litellm() -> None:
    assert chosen(snapshot(), "a", "b", "c") == ["a", "b", "c"]


def test_who_is_not_routable_is_left_out() -> None:
    assert chosen(snapshot(a=OUT), "a", "b") == ["b"]


def test_a_ready_one_is_preferred_to_a_busy_one() -> None:
    assert chosen(snapshot(a=BUSY), "a", "b", "c") == ["b", "c"]


def test_where_all_are_busy_all_of_them_may_be_asked() -> None:
    assert chosen(snapshot(a=BUSY, b=BUSY), "a", "b") == ["a", "b"]


def test_a_server_that_the_document_does_not_name_is_taken_for_ready() -> None:
    stranger = deployment("s", api_base="https://models.example/v1")

    found = candidates(snapshot(a=OUT, b=BUSY), "x", [deployment("a"), deployment("b"), stranger])

    assert found == [stranger]


def test_whoever_failed_this_request_is_asked_again_only_where_there_is_no_other() -> None:
    assert chosen(snapshot(b=BUSY), "a", "b", avoid=("a",)) == ["b"]
    assert chosen(snapshot(b=OUT), "a", "b", avoid=("a",)) == ["a"]


def test_what_litellm_has_taken_out_itself_stays_its_own_affair() -> None:
    assert candidates(snapshot(a=OUT), "x", []) == []


def test_with_none_routable_the_refusal_says_of_each_why_and_when_to_come_back() -> None:
    told = snapshot(a={**OUT, "retry_after_s": 12.2}, b={**OUT, "message": None, "retry_after_s": 30.0})

    with pytest.raises(NoneRoutable, match=r"x cannot answer now: a: no progress for 14 s; b: hung") as refused:
        chosen(told, "a", "b")

    assert refused.value.headers == {"Retry-After": "13"}


def test_a_refusal_always_says_when_to_come_back() -> None:
    assert routing.NoneRoutable("", 0.0).headers == {"Retry-After": "1"}
    with pytest.raises(NoneRoutable) as refused:
        chosen(snapshot(a=OUT), "a")
    assert refused.value.headers == {"Retry-After": "5"}


# --- while nothing is known -------------------------------------------------------------------------------------------


def test_while_unknown_nobody_is_refused() -> None:
    assert chosen(snapshot(known=False, a=OUT), "a") == ["a"]
    assert chosen(Snapshot(known=False), "a", "b") == ["a", "b"]


def test_while_unknown_no_weight_counts_but_who_was_out_stays_last() -> None:
    told = snapshot(known=False, a=OUT, b=BUSY)

    assert chosen(told, "a", "b", "c") == ["b", "c"]
    assert chosen(told, "a", "b", avoid=("b",)) == ["a"]
    assert chosen(told, "a", "b", avoid=("a", "b")) == ["a", "b"]


# --- which server is meant --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "api_base",
    [
        "http://127.0.0.1:8091",
        "http://127.0.0.1:8091/",
        "http://127.0.0.1:8091/v1",
        "http://127.0.0.1:8091/v1/",
        "http://localhost:8091/v1",
        "http://LOCALHOST:8091/v1",
        "http://[::1]:8091/v1",
    ],
)
def test_a_server_is_known_however_its_address_is_written(api_base: str) -> None:
    found = routing.backend_of(snapshot(), deployment("a", api_base=api_base))

    assert found is not None
    assert found.name == "a"


@pytest.mark.parametrize("api_base", ["", "http://127.0.0.1:1/v1", "http://10.0.0.1:8091", "http://x:y", "8091"])
def test_another_address_is_another_server(api_base: str) -> None:
    assert routing.backend_of(snapshot(), deployment("s", api_base=api_base)) is None


def test_a_server_behind_a_path_is_not_its_neighbour() -> None:
    told = Snapshot(known=True, backends=(Backend("a", "http://h/a"), Backend("b", "http://h/b/v1")))

    found = routing.backend_of(told, deployment("s", api_base="http://h:80/b"))

    assert found is not None
    assert found.name == "b"


def test_a_server_may_be_named_where_the_addresses_differ() -> None:
    named = deployment("s", api_base="http://gateway/v1", benchai_backend="b")

    found = routing.backend_of(snapshot(), named)

    assert found is not None
    assert found.name == "b"


def test_whom_a_request_has_tried_is_read_from_the_notes_of_the_router() -> None:
    notes = {"previous_models": [{"deployment_id": "a"}, {"deployment_id": None}], "_failover_excluded_ids": ["b"]}

    assert routing.tried({"metadata": notes, "_excluded_deployment_ids": ["c"]}) == {"a", "b", "c"}
    assert routing.tried({"litellm_metadata": notes, "metadata": {"user_id": "u"}}) == {"a", "b"}
    assert routing.tried({}) == set()


# --- whose fault it was -----------------------------------------------------------------------------------------------


def http_error(status: int) -> openai.APIStatusError:
    kind = openai.InternalServerError if status >= 500 else openai.BadRequestError
    response: Any = httpx.Response(status, request=REQUEST)
    return kind("what a user wrote", response=response, body=None)


def broken(cause: BaseException) -> openai.APIConnectionError:
    error = openai.APIConnectionError(request=REQUEST)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(http_error(500), "it answered 500", id="500"),
        pytest.param(http_error(503), "it answered 503", id="503"),
        pytest.param(openai.APITimeoutError(request=REQUEST), "no answer in time", id="late"),
        pytest.param(broken(ConnectionRefusedError(111, "refused")), "no connection, or it broke", id="refused"),
        pytest.param(http_error(400), None, id="400"),
        pytest.param(http_error(429), None, id="429"),
        pytest.param(broken(OSError(errno.EMFILE, "too many")), None, id="we-have-no-file-handles"),
        pytest.param(broken(AttributeError("choices")), None, id="a-mistake-in-the-proxy"),
        pytest.param(NoneRoutable("refused by us", 5.0), None, id="our-own-refusal"),
        pytest.param(ValueError("anything else"), None, id="anything-else"),
    ],
)
def test_a_server_is_blamed_for_its_own_failures_in_words_of_ours(error: Exception, words: str | None) -> None:
    assert blame(error) == words


def test_a_timeout_that_the_client_chose_is_nobodys_fault() -> None:
    assert blame(openai.APITimeoutError(request=REQUEST), client_chose_timeout=True) is None


def test_causes_that_run_in_a_circle_end() -> None:
    error = broken(ConnectionRefusedError())
    cause = error.__cause__
    assert cause is not None
    cause.__context__ = error

    assert blame(error) == "no connection, or it broke"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(NoneRoutable("all out", 7.0), 503, id="refused"),
        pytest.param(broken(ConnectionResetError()), 503, id="unreachable"),
        pytest.param(openai.APITimeoutError(request=REQUEST), 504, id="late"),
    ],
)
def test_the_client_is_told_honestly_and_when_to_come_back(error: Exception, status: int) -> None:
    refusal = routing.refusal_of(error)

    assert refusal is not None
    assert refusal[0] == status
    assert int(refusal[2]["Retry-After"]) >= 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_what_a_server_answered_is_passed_on_as_it_is(status: int) -> None:
    assert routing.refusal_of(http_error(status)) is None


def test_a_late_answer_is_the_clients_own_affair_where_it_chose_the_time() -> None:
    assert routing.refusal_of(openai.APITimeoutError(request=REQUEST), client_chose_timeout=True) is None
