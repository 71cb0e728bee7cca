"""Which server it is, found out by questions that cost it nothing."""

from pathlib import Path

import pytest

from supervisor.core.observations import Kind, Reply
from supervisor.probes import http
from supervisor.probes.base import Counters, ProgressProbe
from supervisor.probes.fingerprint import QUESTIONS
from supervisor.probes.witness import witness
from testbed.servers import ProcessServers
from tests.fakes.model_server import Behaviour, FakeModelServer, floods, says
from tests.fixtures.recorded import NOT_FOUND, answers_at, recorded
from tests.probes.test_canary import LOADING

METRICS = "text/plain; version=0.0.4"
SLOTS = says('[{"id": 0, "is_processing": false}]')
PROPS = says('{"total_slots": 1, "build_info": "b1-x"}')


async def looks(server: FakeModelServer, number: int, *, api_key: str = "") -> list[Counters]:
    """Look so often at one server, as `auto` does."""
    async with server, http.client(server.url, api_key=api_key) as client:
        progress = witness("auto", client)
        assert progress is not None
        return [await progress.look(timeout_s=20.0) for _ in range(number)]


@pytest.mark.parametrize(
    ("routes", "kind", "told"),
    [
        pytest.param({"props": PROPS, "slots": SLOTS}, Kind.LLAMA_CPP, Reply.ANSWERED, id="llama.cpp-behind-a-proxy"),
        pytest.param(
            {"props": says("{}", Server="llama.cpp"), "slots": SLOTS}, Kind.LLAMA_CPP, Reply.ANSWERED, id="llama.cpp"
        ),
        pytest.param(
            {"props": says("no", "401 Unauthorized", Server="llama.cpp"), "slots": says("no", "401 Unauthorized")},
            Kind.LLAMA_CPP,
            Reply.DENIED,
            id="llama.cpp-with-another-key",
        ),
        pytest.param({"metrics": says(recorded("vllm_metrics.txt"))}, Kind.VLLM, Reply.ANSWERED, id="vllm"),
        pytest.param({"metrics": says(recorded("sglang_metrics.txt"))}, Kind.SGLANG, Reply.ANSWERED, id="sglang"),
        pytest.param(
            {"model_info": says(recorded("sglang_model_info.json"))},
            Kind.SGLANG,
            Reply.UNSUPPORTED,
            id="sglang-without-metrics",
        ),
        pytest.param(
            {"get_model_info": says(recorded("sglang_model_info.json"))},
            Kind.SGLANG,
            Reply.UNSUPPORTED,
            id="old-sglang-without-metrics",
        ),
        pytest.param({"metrics": says(recorded("tgi_metrics.txt"))}, Kind.TGI, Reply.ANSWERED, id="tgi"),
        pytest.param(
            {"metrics": says(""), "info": says(recorded("tgi_info.json"))},
            Kind.TGI,
            Reply.UNSUPPORTED,
            id="tgi-before-its-first-request",
        ),
        pytest.param(
            {"root": says("Ollama is running"), "api_ps": says(recorded("ollama_ps.json"))},
            Kind.OLLAMA,
            Reply.ANSWERED,
            id="ollama",
        ),
        pytest.param(
            {"openapi_json": says(recorded("llama_cpp_python_openapi.json"))},
            Kind.LLAMA_CPP_PYTHON,
            Reply.UNSUPPORTED,
            id="llama-cpp-python",
        ),
    ],
)
async def test_a_server_is_known_by_the_first_look_and_never_asked_again(
    routes: dict[str, Behaviour], kind: Kind, told: Reply
) -> None:
    server = answers_at(**routes)

    first, second = await looks(server, 2)

    assert (first.kind, first.reply, second.kind, second.reply) == (kind, told, kind, told)
    paths = [each.path for each in server.asked]
    assert paths[-1] == paths[-2] or paths[-2:] == ["/props", "/slots"]


async def test_a_real_llama_cpp_server_is_known_and_read(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("auto", model)

    async with http.client(url, api_key="") as client:
        progress = witness("auto", client)
        assert progress is not None
        seen = await progress.look(timeout_s=20.0)

    assert (seen.reply, seen.kind, len(seen.slots)) == (Reply.ANSWERED, Kind.LLAMA_CPP, 1)


async def test_a_loading_llama_cpp_server_is_known_by_its_header() -> None:
    server = FakeModelServer(says(LOADING, "503 Service Unavailable", Server="llama.cpp"))

    (seen,) = await looks(server, 1)

    assert (seen.reply, seen.kind) == (Reply.LOADING, Kind.LLAMA_CPP)


@pytest.mark.parametrize(
    ("behave", "told"),
    [
        (says(LOADING, "503 Service Unavailable"), Reply.LOADING),
        (says("starting", "503 Service Unavailable"), Reply.FAILED),
        (says("Bad Gateway", "502 Bad Gateway"), Reply.FAILED),
    ],
)
async def test_what_is_not_there_yet_is_called_nothing_and_asked_one_question(behave: Behaviour, told: Reply) -> None:
    server = FakeModelServer(behave)

    seen = await looks(server, 3)

    assert {(each.reply, each.kind) for each in seen} == {(told, None)}
    assert [each.path for each in server.asked] == ["/props"] * 3


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(NOT_FOUND, id="404"),
        pytest.param(says("no", "401 Unauthorized"), id="401"),
        pytest.param(says("oops", "500 Oops"), id="500"),
        pytest.param(says("<html></html>", kind="text/html"), id="the-same-page-everywhere"),
        pytest.param(says('{"status": "ok"}'), id="the-same-json-everywhere"),
        pytest.param(says("[" * 100_000), id="deep-json"),
        pytest.param(floods(), id="ten-gigabytes"),
    ],
)
async def test_what_answers_like_nothing_known_is_called_other_after_being_asked_twice(behave: Behaviour) -> None:
    server = FakeModelServer(behave)

    seen = await looks(server, 3)

    assert {each.reply for each in seen} == {Reply.UNSUPPORTED}
    assert [each.kind for each in seen] == [None, Kind.OTHER, Kind.OTHER]
    questions = [path for path, _ in QUESTIONS]
    assert [each.path for each in server.asked] == [*questions, *questions, "/props", "/props"]


async def test_one_odd_answer_does_not_brand_a_server() -> None:
    server = answers_at()
    async with server, http.client(server.url, api_key="") as client:
        progress = witness("auto", client)
        assert progress is not None
        odd = await progress.look(timeout_s=20.0)
        server.behave = says(recorded("vllm_metrics.txt"), kind=METRICS)
        known = await progress.look(timeout_s=20.0)

    assert (odd.reply, odd.kind) == (Reply.UNSUPPORTED, None)
    assert (known.reply, known.kind) == (Reply.ANSWERED, Kind.VLLM)


async def test_the_next_life_is_asked_anew_and_no_sooner() -> None:
    server = FakeModelServer(says(recorded("vllm_metrics.txt")))
    async with server, http.client(server.url, api_key="") as client:
        progress = witness("auto", client)
        assert progress is not None
        kinds = [(await progress.look(timeout_s=20.0)).kind]
        server.behave = says(recorded("tgi_metrics.txt"))
        kinds.append((await progress.look(timeout_s=20.0)).kind)
        progress.let_go()
        kinds.append((await progress.look(timeout_s=20.0)).kind)

    assert kinds == [Kind.VLLM, Kind.VLLM, Kind.TGI]


async def test_a_known_server_that_falls_silent_keeps_its_name() -> None:
    server = FakeModelServer(says(recorded("vllm_metrics.txt")))
    async with server, http.client(server.url, api_key="") as client:
        progress: ProgressProbe | None = witness("auto", client)
        assert progress is not None
        await progress.look(timeout_s=20.0)
        server.behave = floods()
        seen = await progress.look(timeout_s=20.0)

    assert (seen.reply, seen.kind) == (Reply.INVALID, Kind.VLLM)
    assert seen.detail.startswith("/metrics")
