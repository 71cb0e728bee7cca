"""Ending one model inside a server that goes on: in a llama.cpp router and an Ollama, as they were recorded."""

import asyncio
import json
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisor.probes import http
from supervisor.probes.base import Eased
from supervisor.probes.easing import ANSWERS_WITHIN_S, ModelEasing
from testbed.clients import free_port, wait_until
from testbed.servers import ProcessServers
from tests.fakes.model_server import Behaviour, FakeModelServer, Line, says
from tests.fixtures.recorded import NOT_FOUND, answers_at, recorded
from tests.probes.probing import ENOUGH_S, look
from tests.probes.test_witness_contract import BROKEN

QUICK_S = 0.4
Make = Callable[..., FakeModelServer]
CANNOT = Eased(done=False, detail="it cannot end one model alone")
TOLD = says(recorded("llama_cpp_router_told.json"))
REFUSAL = says(recorded("llama_cpp_router_refusal.json"), "400 Bad Request")


class Router(FakeModelServer):
    """Answers as the recorded router did, or as `at` a path. What is told to end has gone after so many lists."""

    def __init__(self, *, gone_after: int = 0, comes_back: bool = False, autoloads: bool = True, **at: Behaviour):
        super().__init__(self._answer)
        self.models: list[dict[str, Any]] = json.loads(recorded("llama_cpp_router_models.json"))["data"]
        self.comes_back = comes_back
        self._gone_after, self._autoloads, self._at = gone_after, autoloads, at

    def show(self, name: str, **status: object) -> None:
        """List a model in another state."""
        next(each for each in self.models if each["id"] == name)["status"].update(status)

    async def _answer(self, line: Line) -> None:
        asked = self.asked[-1]
        name = asked.path.strip("/").replace("/", "_")
        told = [each.json["model"] for each in self.asked if each.path == "/models/unload"]
        if name == "models" and told:
            self._gone_after -= 1
            if self._gone_after < 0:
                self.show(told[0], value="unloaded")
            if self._gone_after < 0 and self.comes_back:
                self.show(told[0], value="loaded", args=["llama-server", "--port", "50579"])
        lists = says(json.dumps({"data": self.models, "object": "list"}))
        props = json.loads(recorded("llama_cpp_router_props.json")) | {"models_autoload": self._autoloads}
        answers = {"models": lists, "props": says(json.dumps(props)), "models_unload": TOLD, "models_load": TOLD}
        await (answers | self._at).get(name, NOT_FOUND)(line)


def ollama(*, gone_after: int = 0, greeting: str = "Ollama is running") -> FakeModelServer:
    """Return an Ollama that holds gemma3; what is told to end has gone after so many lists."""

    async def lists(line: Line) -> None:
        lists_since = [each.path for each in server.asked].count("/api/ps") - 1
        is_told = any(each.method == "POST" for each in server.asked)
        has_gone = is_told and lists_since > gone_after
        await says('{"models":[]}' if has_gone else recorded("ollama_ps.json"))(line)

    generate = says(recorded("ollama_unload.json"))
    server = answers_at(root=says(greeting, kind="text/plain"), api_ps=lists, api_generate=generate)
    return server


def orders(server: FakeModelServer) -> list[tuple[str, dict[str, Any]]]:
    """Return what a server was told to do, beside what it was asked."""
    return [(each.path, each.json) for each in server.asked if each.method != "GET"]


async def ease(url: str, *, model: str = "general", limit_s: float = ENOUGH_S, api_key: str = "") -> Eased:
    async with http.client(url, api_key=api_key) as client:
        return await ModelEasing(client, model=model).ease(limit_s=limit_s)


@pytest.mark.parametrize("model", ["general", "planner"], ids=["by-its-name", "by-an-alias"])
async def test_a_router_is_told_to_end_our_model_and_no_other(model: str) -> None:
    async with Router() as server:
        eased = await ease(server.url, model=model)

    assert eased == Eased(done=True, detail=f"{model} was ended, to load anew")
    assert orders(server) == [("/models/unload", {"model": "general"})]
    assert [each["status"]["value"] for each in server.models] == ["loaded", "unloaded", "unloaded"]


async def test_a_model_that_somebody_had_loaded_again_before_we_looked_has_ended() -> None:
    async with Router(comes_back=True) as server:
        eased = await ease(server.url)

    assert eased.done


@pytest.mark.parametrize("status", ["unloaded", "loading", "sleeping", "downloading", "downloaded", "unknown"])
async def test_a_model_that_is_not_loaded_is_left_alone(status: str) -> None:
    async with Router() as server:
        server.show("general", value=status)
        eased = await ease(server.url)

    assert eased == Eased(done=False, detail=f"general is not loaded: its router says {status}")
    assert orders(server) == []


@pytest.mark.parametrize(
    ("make", "detail"),
    [(Router, "its router has no model vision"), (ollama, "/api/ps: vision is not loaded")],
    ids=["router", "ollama"],
)
async def test_a_server_that_holds_only_others_models_is_left_alone(make: Make, detail: str) -> None:
    async with make() as server:
        eased = await ease(server.url, model="vision")

    assert eased == Eased(done=False, detail=detail)
    assert orders(server) == []


@pytest.mark.parametrize(("make", "model"), [(Router, "general"), (ollama, "gemma3")], ids=["router", "ollama"])
async def test_a_model_that_is_said_to_be_ended_and_stays_was_not_eased(make: Make, model: str) -> None:
    async with make(gone_after=1000) as server:
        eased = await ease(server.url, model=model, limit_s=QUICK_S)

    assert eased == Eased(done=False, detail=f"{model} was told to end, and did not within 0.4s")


async def test_a_router_that_refuses_is_told_of_in_its_own_words() -> None:
    async with Router(models_unload=REFUSAL) as server:
        eased = await ease(server.url)

    assert eased == Eased(done=False, detail="/models/unload: status 400: model is not running")


async def test_where_no_request_loads_a_model_it_is_told_to_load() -> None:
    async with Router(autoloads=False) as server:
        eased = await ease(server.url)

    assert eased.done
    assert orders(server) == [("/models/unload", {"model": "general"}), ("/models/load", {"model": "general"})]


@pytest.mark.parametrize("somebody_was_quicker", [False, True])
async def test_a_model_that_would_not_load_again_was_not_eased(somebody_was_quicker: bool) -> None:
    async def refuses(line: Line) -> None:
        if somebody_was_quicker:
            server.comes_back = True
        await REFUSAL(line)

    async with Router(autoloads=False, models_load=refuses) as server:
        eased = await ease(server.url)

    assert eased.done is somebody_was_quicker


async def test_an_ollama_is_told_to_end_our_model() -> None:
    async with ollama(gone_after=2) as server:
        eased = await ease(server.url, model="gemma3:latest")

    assert eased.done
    assert orders(server) == [("/api/generate", {"model": "gemma3:latest", "keep_alive": 0})]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: ollama(greeting="KoboldAI Lite"), id="passes-for-an-ollama"),
        pytest.param(lambda: answers_at(models=says(recorded("llama_cpp_models.json"))), id="one-model-llama.cpp"),
        pytest.param(lambda: answers_at(metrics=says(recorded("vllm_metrics.txt"))), id="vllm"),
        pytest.param(lambda: FakeModelServer(says("<html>")), id="one-page-for-every-path"),
    ],
)
async def test_a_server_that_cannot_do_it_is_told_nothing(make: Make) -> None:
    async with make() as server:
        eased = await ease(server.url, model="gemma3")

    assert eased == CANNOT
    assert orders(server) == []


async def test_nobody_listening_is_nothing_to_ease() -> None:
    assert not (await ease(f"http://127.0.0.1:{free_port()}")).done


async def test_a_real_llama_cpp_with_one_model_cannot_do_it_and_its_slots_are_untouched(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("one", model, "-np", "2")

    eased = await ease(url)
    counters = await look(url)

    assert eased == CANNOT
    assert [(slot.busy, slot.task) for slot in counters.slots] == [(False, None), (False, None)]


async def test_a_real_llama_cpp_whose_inference_hangs_says_so_at_once(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("frozen", model)
    process_servers.freeze("frozen")

    assert await ease(url, limit_s=1.0) == CANNOT


async def test_a_real_llama_cpp_that_sleeps_is_not_woken(process_servers: ProcessServers, model: Path) -> None:
    def sleeps() -> bool:
        return bool(httpx.get(f"{url}/props", timeout=5.0, trust_env=False).json()["is_sleeping"])

    url = process_servers.run("sleeper", model, "--sleep-idle-seconds", "1")
    wait_until(sleeps, "the server sleeps")

    assert await ease(url) == CANNOT
    assert sleeps()


async def test_a_real_llama_cpp_that_does_not_know_us_is_not_said_to_be_unable(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("locked", model, "--api-key", "right")

    eased = await ease(url, api_key="wrong")

    assert eased == Eased(done=False, detail="it does not say whether it can end one model: /models: status 401")


async def test_nobody_waits_long_for_a_server_that_stands_still(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("stopped", model)
    process_servers.pause("stopped")
    began = time.monotonic()

    eased = await ease(url, limit_s=600.0)

    assert not eased.done
    assert eased.detail in ("/models silent for 1s", "/api/ps silent for 1s")  # both were asked, and share the wait
    assert ANSWERS_WITHIN_S <= time.monotonic() - began < ANSWERS_WITHIN_S + 3


@pytest.mark.parametrize("nth", range(5))
@pytest.mark.parametrize("make", [lambda: Router(autoloads=False), ollama], ids=["router", "ollama"])
@pytest.mark.parametrize("broken", [pytest.param(each.values[0], id=each.id) for each in BROKEN])
async def test_no_answer_however_broken_raises_or_stalls(make: Make, nth: int, broken: Behaviour) -> None:
    server = make()
    sound = server.behave

    async def behave(line: Line) -> None:
        await (broken if len(server.asked) == nth + 1 else sound)(line)

    server.behave = behave
    model = "general" if isinstance(server, Router) else "gemma3"
    began = time.monotonic()

    async with server:
        eased = await ease(server.url, model=model, limit_s=QUICK_S / 2)

    assert eased.detail.isprintable()
    assert time.monotonic() - began < QUICK_S + 3


NAMES, WORDS = st.sampled_from(["general", "code", ""]), st.sampled_from(["loaded", "unloaded", "loading"])
STATUS = st.fixed_dictionaries({"value": WORDS}, optional={"args": st.lists(NAMES, max_size=2) | NAMES})
CHILD = st.fixed_dictionaries({"id": NAMES, "status": STATUS}, optional={"aliases": st.lists(NAMES, max_size=2)})
LISTS = st.fixed_dictionaries({"data": st.lists(CHILD, max_size=3)})
HELD = st.fixed_dictionaries({"models": st.lists(st.fixed_dictionaries({"name": NAMES, "model": NAMES}), max_size=2)})
KEYS = st.sampled_from(["data", "id", "status", "value", "models", "name", "model", "aliases", "error", "message"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | NAMES | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)
BODIES = (LISTS | LISTS | HELD | JSON).map(json.dumps).map(str.encode) | st.binary() | st.just(b"Ollama is running")
ANSWERS = st.lists(st.tuples(st.sampled_from([200, 200, 200, 400, 404, 500]), BODIES), min_size=1, max_size=7)


@settings(deadline=None, max_examples=200)
@given(ANSWERS)
@example([(200, b'{"data":[{"id":"\\ud800","aliases":["general"],"status":{"value":"loaded"}}]}')])
@example([(200, b'{"data":[{"id":1,"status":{"value":"loaded"}}]}')])
async def test_no_answers_whatever_make_it_raise_stall_or_end_another_model(answers: list[tuple[int, bytes]]) -> None:
    coming, told = cycle(answers), list[tuple[str, str]]()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            told.append((request.url.path, json.loads(request.content)["model"]))
        status, body = next(coming)
        return httpx.Response(status, stream=httpx.ByteStream(body))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://server") as client:
        eased = await asyncio.wait_for(ModelEasing(client, model="general").ease(limit_s=0.03), ENOUGH_S)

    assert eased.detail.isprintable()
    for path, name in told:
        listed = json.loads(answers[0][1])["data"] if path != "/api/generate" else []
        ours = [each for each in listed if each["id"] == name and "general" in (name, *each.get("aliases", ()))]
        assert [each["status"]["value"] for each in ours] == ["loaded"] if listed else name == "general"
