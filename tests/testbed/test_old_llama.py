"""The fake of an old llama.cpp: it answers what the real one answers, and breaks in the ways it is told to."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import psutil
import pytest

from testbed.clients import busy, chat, chat_body, wait_until
from testbed.container_servers import ContainerServers
from testbed.old_llama.faults import Fault
from testbed.old_servers import OldProcess, run_old
from testbed.servers import ProcessServers

SILENT_S = 1.0
ENDED_WITHIN_S = 10.0
QUICK = ("--prefill-rate", "1000000", "--generate-rate", "100000")
CRAWLING = ("--prefill-rate", "0.1", "--threads-http", "8")  # a prompt of ten tokens takes longer than any test
COUNTERS = ("--slots", "--metrics")


@pytest.fixture
def old() -> Iterator[Callable[..., OldProcess]]:
    """Start such servers, which are ended afterwards."""
    started: list[OldProcess] = []

    def start(*flags: str, ready: bool = True) -> OldProcess:
        started.append(OldProcess(*COUNTERS, *flags, ready=ready))
        return started[-1]

    yield start
    for each in started:
        each.leave()


@pytest.fixture
def real(process_servers: ProcessServers, model: Path) -> str:
    """The same questions go to llama.cpp's own server."""
    return process_servers.run("real", model, "--metrics", "-c", "4096")


def get(url: str, path: str) -> httpx.Response:
    return httpx.get(f"{url}{path}", timeout=SILENT_S, trust_env=False)


def is_silent(url: str, path: str) -> bool:
    try:
        get(url, path)
    except httpx.TimeoutException:
        return True
    return False


def ask(url: str, *, timeout_s: float = 30.0, **more: Any) -> httpx.Response:
    body = chat_body("say hi", **more)
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=timeout_s, trust_env=False)


def chunks(reply: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def work(url: str) -> tuple[bool, int]:
    slot = get(url, "/slots").json()[0]
    return slot["is_processing"], slot["next_token"]["n_decoded"]


def shape(value: Any) -> Any:
    """Return the types of the keys that a watcher reads, or of what they hold."""
    return {key: type(each).__name__ for key, each in value.items()} if isinstance(value, dict) else type(value)


@pytest.mark.parametrize("path", ["/health", "/props", "/slots", "/metrics", "/v1/models", "/nothing"])
def test_what_both_have_has_the_same_status_kind_and_fingerprint(
    old: Callable[..., OldProcess], real: str, path: str
) -> None:
    ours, theirs = get(old(*QUICK).server.url, path), get(real, path)

    assert ours.status_code == theirs.status_code
    assert ours.headers["content-type"].split(";")[0] == theirs.headers["content-type"].split(";")[0]
    assert ours.headers["server"] == theirs.headers["server"] == "llama.cpp"


def test_its_slots_hold_what_the_real_ones_do_in_the_shape_of_its_day(
    old: Callable[..., OldProcess], real: str
) -> None:
    url = old(*QUICK).server.url
    for each in (url, real):
        chat(each, "a secret")

    ours, theirs = get(url, "/slots").json()[0], get(real, "/slots").json()[0]

    for key in ("id", "id_task", "n_ctx", "speculative", "is_processing"):
        assert shape(ours[key]) == shape(theirs[key])
    assert shape(ours["next_token"]["n_decoded"]) == shape(theirs["next_token"][0]["n_decoded"])
    assert "a secret" in ours["prompt"]
    assert not any(key.startswith("n_prompt_tokens") for key in ours)


def test_its_chat_has_the_shape_of_the_real_one(old: Callable[..., OldProcess], real: str) -> None:
    ours, theirs = ask(old(*QUICK).server.url).json(), ask(real).json()

    for key in ("choices", "created", "id", "model", "object"):
        assert shape(ours[key]) == shape(theirs[key])
    assert shape(ours["usage"]).items() <= shape(theirs["usage"]).items()
    assert shape(ours["choices"][0]["message"]) == shape(theirs["choices"][0]["message"])
    assert ours["usage"]["completion_tokens"] == theirs["usage"]["completion_tokens"] == 8
    assert ours["choices"][0]["finish_reason"] == theirs["choices"][0]["finish_reason"]


def test_its_stream_says_the_same_things_in_the_same_order(old: Callable[..., OldProcess], real: str) -> None:
    usage = {"include_usage": True}
    replies = [ask(url, stream=True, stream_options=usage) for url in (old(*QUICK).server.url, real)]

    ours, theirs = (chunks(reply) for reply in replies)
    texts = [
        [each["choices"][0]["delta"].get("content") for each in said if each["choices"]] for said in (ours, theirs)
    ]
    usages = [[each["usage"]["completion_tokens"] for each in said if each.get("usage")] for said in (ours, theirs)]

    assert [reply.headers["content-type"] for reply in replies] == ["text/event-stream"] * 2
    assert [reply.text.endswith("data: [DONE]\n\n") for reply in replies] == [True, True]
    assert [sum(bool(text) for text in said) for said in texts] == [8, 8]
    assert usages == [[8], [8]]
    assert ours[0]["choices"][0]["delta"]["role"] == theirs[0]["choices"][0]["delta"]["role"] == "assistant"


def test_a_limit_of_no_tokens_gives_one_on_both(old: Callable[..., OldProcess], real: str) -> None:
    said = [ask(url, max_tokens=0).json()["usage"]["completion_tokens"] for url in (old(*QUICK).server.url, real)]

    assert said == [1, 1]


def test_a_prompt_that_does_not_fit_is_refused_by_both(old: Callable[..., OldProcess], real: str) -> None:
    text = "hello " * 5000

    statuses = [
        httpx.post(f"{url}/v1/chat/completions", json=chat_body(text), timeout=30.0, trust_env=False).status_code
        for url in (old(*QUICK).server.url, real)
    ]

    assert statuses == [400, 400]


def test_counters_are_off_unless_asked_for() -> None:
    with OldProcess() as plain:
        assert [get(plain.server.url, path).status_code for path in ("/slots", "/metrics")] == [501, 501]


def test_while_it_loads_everything_says_so(old: Callable[..., OldProcess]) -> None:
    url = old("--load-s", "3600", ready=False).server.url
    wait_until(lambda: answers(url), "it listens")

    said = [get(url, path) for path in ("/health", "/slots", "/props", "/v1/models")] + [ask(url)]

    assert [reply.status_code for reply in said] == [503] * 5
    assert {reply.json()["error"]["message"] for reply in said} == {"Loading model"}


def test_slots_move_with_each_token_while_it_generates(old: Callable[..., OldProcess]) -> None:
    url = old("--generate-rate", "50").server.url

    with busy(url, tokens=1000) as client:
        client.wait_first_token()
        first = work(url)
        wait_until(lambda: work(url)[1] > first[1], "a further token")

    assert first[0]


def test_slots_and_metrics_are_silent_for_a_whole_batch_of_prefill_and_health_is_not(
    old: Callable[..., OldProcess],
) -> None:
    server = old(*CRAWLING)
    url = server.server.url

    with busy(url):
        wait_until(lambda: is_silent(url, "/slots"), "a batch is under way")
        before = sum(psutil.Process(server.process.pid).cpu_times()[:2])
        seen = is_silent(url, "/slots"), is_silent(url, "/metrics"), get(url, "/health").status_code

        assert seen == (True, True, 200)
        wait_until(lambda: sum(psutil.Process(server.process.pid).cpu_times()[:2]) > before, "CPU is burned")


def test_its_three_threads_fill_with_questions_it_cannot_answer(old: Callable[..., OldProcess]) -> None:
    url = old(*QUICK, "--fault", "frozen").server.url
    clients = [httpx.Client(timeout=0.2, trust_env=False) for _ in range(3)]

    first = get(url, "/health").status_code
    for client in clients:
        with pytest.raises(httpx.TimeoutException):
            client.get(f"{url}/slots")

    assert first == 200
    assert is_silent(url, "/health")
    for client in clients:
        client.close()


def test_a_request_that_was_given_up_stays_in_the_queue_and_runs(old: Callable[..., OldProcess]) -> None:
    url = old("--generate-rate", "50", "--threads-http", "6").server.url

    with busy(url, tokens=100) as client:
        client.wait_first_token()
        with pytest.raises(httpx.TimeoutException):
            ask(url, timeout_s=0.2, max_tokens=3)
        client.wait_ended(within_s=30.0)
    wait_until(
        lambda: get(url, "/slots").json()[0]["params"]["n_predict"] == 3, "the one that was given up had its turn"
    )

    assert client.ended


def test_a_stream_whose_reader_has_gone_frees_its_slot(old: Callable[..., OldProcess]) -> None:
    url = old("--generate-rate", "200").server.url

    with busy(url, tokens=1_000_000) as client:
        client.wait_first_token()

    wait_until(lambda: not work(url)[0], "the slot is free")
    assert chat(url)


def test_each_slot_has_work_of_its_own_and_an_asked_for_slot_is_waited_for(old: Callable[..., OldProcess]) -> None:
    url = old("-np", "2", "--generate-rate", "500").server.url

    with busy(url) as client:
        client.wait_first_token()
        reply = ask(url, id_slot=1)
        with pytest.raises(httpx.TimeoutException):
            ask(url, id_slot=0, timeout_s=0.5)
        slots = get(url, "/slots").json()

    assert reply.status_code == 200
    assert [slot["is_processing"] for slot in slots] == [True, False]


@pytest.mark.parametrize(("fault", "burns"), [(Fault.FROZEN, False), (Fault.LIVELOCK, True)])
def test_a_loop_that_stands_still_burns_nothing_and_one_that_runs_in_circles_does(
    old: Callable[..., OldProcess], fault: Fault, burns: bool
) -> None:
    server = old(*QUICK, "--threads-http", "6")
    url, process = server.server.url, psutil.Process(server.process.pid)

    server.server.suffer(fault)
    seen = get(url, "/health").status_code, is_silent(url, "/slots"), is_silent(url, "/metrics")
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    with pytest.raises(httpx.TimeoutException):
        ask(url, timeout_s=SILENT_S)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)

    assert seen == (200, True, True)
    assert (share > 0.05) is burns


@pytest.mark.parametrize("prompt", [8, 2000])
def test_it_can_freeze_in_an_answer_and_in_a_prefill(old: Callable[..., OldProcess], prompt: int) -> None:
    server = old("--prefill-rate", "100", "--generate-rate", "100", "--threads-http", "6")
    body = chat_body("word " * prompt, max_tokens=10_000)

    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{server.server.url}/v1/chat/completions", json=body, timeout=SILENT_S, trust_env=False)
    server.server.suffer(Fault.FROZEN)
    before = sum(psutil.Process(server.process.pid).cpu_times()[:2])

    assert is_silent(server.server.url, "/slots")
    assert sum(psutil.Process(server.process.pid).cpu_times()[:2]) - before < SILENT_S / 2


def test_a_frozen_one_ignores_sigterm_and_obeys_the_second(old: Callable[..., OldProcess]) -> None:
    frozen = old(*QUICK, "--fault", "frozen").process
    healthy = old(*QUICK).process

    frozen.terminate()
    healthy.terminate()

    assert healthy.wait(ENDED_WITHIN_S) == 0
    assert frozen.poll() is None
    frozen.terminate()
    assert frozen.wait(ENDED_WITHIN_S) == 1


def test_a_crashed_one_answers_500_and_ignores_every_sigterm(old: Callable[..., OldProcess]) -> None:
    server = old(*QUICK)
    server.server.suffer(Fault.CRASHED_INSIDE)

    replies = [ask(server.server.url) for _ in range(2)]
    server.process.terminate()
    server.process.terminate()

    assert [reply.status_code for reply in replies] == [500, 500]
    assert replies[0].json()["error"]["message"] == "Compute error."
    assert get(server.server.url, "/health").status_code == 200
    assert "error: " in ask(server.server.url, stream=True).text  # its head was sent before anything was known
    assert server.process.poll() is None


def test_a_swallowed_chat_never_reaches_a_slot(old: Callable[..., OldProcess]) -> None:
    server = old(*QUICK, "--threads-http", "6", "--fault", "swallow").server

    with pytest.raises(httpx.TimeoutException):
        ask(server.url, timeout_s=SILENT_S)

    assert work(server.url) == (False, 0)
    assert get(server.url, "/slots").json()[0]["id_task"] == -1


def test_a_stuck_slot_stays_busy_and_the_others_answer(old: Callable[..., OldProcess]) -> None:
    server = old(*QUICK, "-np", "3").server
    server.suffer(Fault.STUCK_SLOT)

    with pytest.raises(httpx.TimeoutException):
        ask(server.url, timeout_s=SILENT_S)
    said = [ask(server.url).status_code for _ in range(3)]

    assert said == [200, 200, 200]
    assert [slot["is_processing"] for slot in get(server.url, "/slots").json()] == [True, False, False]


def test_bad_answers_are_bad_in_the_way_that_is_asked_for(old: Callable[..., OldProcess]) -> None:
    servers = {
        fault: old(*QUICK, "--fault", fault).server.url
        for fault in (Fault.ERROR_IN_200, Fault.GARBAGE, Fault.EMPTY, Fault.BAD_TEMPLATE)
    }

    replies = {fault: ask(url) for fault, url in servers.items()}

    assert replies[Fault.ERROR_IN_200].status_code == 200
    assert "error" in replies[Fault.ERROR_IN_200].json()
    assert replies[Fault.GARBAGE].json()["choices"][0]["message"]["content"] == "/" * 8
    assert replies[Fault.EMPTY].json()["usage"]["completion_tokens"] == 0
    assert replies[Fault.BAD_TEMPLATE].status_code == 400
    assert {get(url, "/health").status_code for url in servers.values()} == {200}


@pytest.mark.parametrize("stream", [False, True])
def test_a_half_closed_answer_ends_in_its_middle(old: Callable[..., OldProcess], stream: bool) -> None:
    url = old(*QUICK, "--fault", "half-closed").server.url

    with pytest.raises(httpx.RemoteProtocolError):
        ask(url, stream=stream)

    assert get(url, "/health").status_code == 200


def test_a_stalling_stream_begins_and_never_ends(old: Callable[..., OldProcess]) -> None:
    url = old(*QUICK, "--fault", "stalls-mid-stream").server.url
    seen: list[str] = []

    def read_to_the_end() -> None:
        body = chat_body(stream=True)
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=SILENT_S, trust_env=False) as reply:
            seen.extend(reply.iter_text())

    with pytest.raises(httpx.ReadTimeout):
        read_to_the_end()

    assert "content" in "".join(seen)
    assert "[DONE]" not in "".join(seen)


def test_in_a_container_it_is_throttled_and_broken_like_the_real_one(
    engine: docker.DockerClient, image: str, model: Path, tmp_path: Path
) -> None:
    name = f"testbed-{tmp_path.name[-12:]}"

    with ContainerServers(engine, image) as servers:
        server = run_old(servers, name, model, *COUNTERS, "--generate-rate", "100", cpus=0.2)
        began = time.monotonic()
        said = chat(server.url, max_tokens=40)
        took_s = time.monotonic() - began
        server.suffer(Fault.FROZEN)
        frozen = is_silent(server.url, "/slots")
        servers.container(name).restart(timeout=0)
        wait_until(lambda: answers(server.url), "its next life answers")
        cured = get(server.url, "/slots").status_code

    assert said
    assert took_s > 1.0  # 40 tokens at 100 a second of CPU, with a fifth of it
    assert frozen
    assert cured == 200


def answers(url: str) -> bool:
    try:
        get(url, "/health")
    except httpx.HTTPError:
        return False
    return True
