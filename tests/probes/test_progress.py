"""llama.cpp's counters: old builds, new builds, and servers that answer with anything else."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.observations import Kind, Reply, Slot
from supervisor.probes import http
from supervisor.probes.base import Counters
from supervisor.probes.held import MAX_BYTES
from supervisor.probes.llama_cpp import LlamaCppProgress, parse
from tests.fakes.model_server import (
    Behaviour,
    FakeModelServer,
    Line,
    drips,
    floods,
    resets,
    says,
    sends,
    silent,
    stalls_after,
)
from tests.probes.probing import look
from tests.probes.test_canary import BUFFERS_BYTES, LOADING

TIMEOUT_S = 0.3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
IDLE = Slot(id=0, busy=False, task=None, decoded=0, prefilled=0)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({"id": 0, "is_processing": False}, IDLE, id="before-its-first-task"),
        pytest.param({"id": 0, "is_processing": False, "next_token": []}, IDLE, id="no-beams"),
        pytest.param({"id": 0, "is_processing": False, "next_token": None, "id_task": None}, IDLE, id="nulls"),
        pytest.param({"id": 0, "is_processing": False, "id_task": -1}, IDLE, id="before-its-first-task-in-old-builds"),
        pytest.param({"id": 0, "state": 0, "id_task": -1}, IDLE, id="idle-in-builds-of-2024"),
        pytest.param(
            {"id": 1, "state": 1, "id_task": 7, "next_token": {"n_decoded": 5}},
            Slot(id=1, busy=True, task=7, decoded=5, prefilled=0),
            id="busy-in-builds-of-2024",
        ),
        pytest.param(
            {"id": 1, "is_processing": True, "id_task": 7, "next_token": {"n_decoded": 5}, "prompt": "a user's own"},
            Slot(id=1, busy=True, task=7, decoded=5, prefilled=0),
            id="old-build",
        ),
        pytest.param(
            {
                "id": 1,
                "is_processing": True,
                "id_task": 7,
                "n_prompt_tokens": 26,
                "n_prompt_tokens_processed": 26,
                "next_token": [{"n_decoded": 5}],
            },
            Slot(id=1, busy=True, task=7, decoded=5, prefilled=26),
            id="new-build",
        ),
    ],
)
def test_every_build_is_understood(entry: dict[str, Any], expected: Slot) -> None:
    counters = parse(json.dumps([entry]).encode())

    assert counters == Counters(reply=Reply.ANSWERED, slots=(expected,))


async def test_a_users_prompt_is_never_kept() -> None:
    slots = [{"id": 0, "is_processing": True, "prompt": "my secret", "next_token": {"n_decoded": "my secret"}}]

    async with FakeModelServer(says(json.dumps(slots))) as server:
        broken = await look(server.url)
    whole = parse(json.dumps([{**slots[0], "next_token": {"n_decoded": 1}}]).encode())

    assert broken.reply is Reply.INVALID
    assert whole.reply is Reply.ANSWERED
    assert "my secret" not in repr((broken, whole))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'""',
        b"7",
        b'{"error": {"message": "no"}}',
        b"<html></html>",
        b'[{"id": 0}]',
        b'[{"is_processing": true}]',
        b"[null]",
        b"[[]]",
        b'[{"id": 1e999, "is_processing": true}]',
        b'[{"id": NaN, "is_processing": true}]',
        b'[{"id": 0, "is_processing": true, "id_task": Infinity}]',
        b'[{"id": 0, "is_processing": true, "next_token": [7]}]',
        b'[{"id": 0, "is_processing": true, "next_token": "abc"}]',
        b'[{"id": ' + b"9" * 10_000 + b', "is_processing": true}]',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
    ],
    ids=repr,
)
def test_what_is_not_a_list_of_slots_is_invalid(body: bytes) -> None:
    counters = parse(body)

    assert (counters.reply, counters.slots) == (Reply.INVALID, ())
    assert counters.detail.startswith("/slots is not a list of slots: ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "is_processing", "id_task", "next_token", "n_decoded", "n_prompt_tokens_processed"]),
            inner,
        )
    ),
)


@settings(deadline=None)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_whatever_make_it_raise(body: bytes) -> None:
    counters = parse(body)

    assert counters.reply in (Reply.ANSWERED, Reply.INVALID)
    assert all(isinstance(slot.decoded, int) for slot in counters.slots)


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        pytest.param(says("[]"), Reply.ANSWERED, id="no-slots-yet"),
        pytest.param(says("garbage"), Reply.INVALID, id="garbage"),
        pytest.param(says(LOADING, "503 Service Unavailable"), Reply.LOADING, id="loading"),
        pytest.param(says("no upstream", "503 Service Unavailable"), Reply.FAILED, id="503-of-a-proxy"),
        pytest.param(says("{}", "401 Unauthorized"), Reply.DENIED, id="401"),
        pytest.param(says("{}", "403 Forbidden"), Reply.DENIED, id="403"),
        pytest.param(says("{}", "404 Not Found"), Reply.UNSUPPORTED, id="404"),
        pytest.param(says("{}", "405 Method Not Allowed"), Reply.UNSUPPORTED, id="405"),
        pytest.param(says("{}", "501 Not Implemented"), Reply.UNSUPPORTED, id="501"),
        pytest.param(says("", "302 Found", Location="/login"), Reply.UNSUPPORTED, id="redirect"),
        pytest.param(says("{}", "500 Oops"), Reply.FAILED, id="500"),
        pytest.param(resets, Reply.RESET, id="reset"),
        pytest.param(sends(), Reply.RESET, id="hung-up-without-a-word"),
        pytest.param(sends(b"\x00\x01 not http\r\n\r\n"), Reply.INVALID, id="not-http"),
        pytest.param(sends(HEAD + b"Content-Length: 99\r\n\r\n[{"), Reply.INVALID, id="half-a-body"),
        pytest.param(sends(HEAD, *[b"X-Bomb: " + b"x" * 60_000 + b"\r\n"] * 40), Reply.INVALID, id="header-bomb"),
        pytest.param(floods(), Reply.INVALID, id="ten-gigabytes"),
        pytest.param(silent, Reply.SILENT, id="silent"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"), Reply.SILENT, id="endless-head"),
        pytest.param(drips(HEAD + b"\r\n[", b" "), Reply.SILENT, id="endless-drip"),
        pytest.param(stalls_after(HEAD + b"\r\n[{"), Reply.SILENT, id="stalls-in-the-body"),
    ],
)
async def test_every_kind_of_answer_has_its_word_within_the_timeout(behave: Behaviour, expected: Reply) -> None:
    timeout_s = TIMEOUT_S if expected is Reply.SILENT else 5.0
    began = time.monotonic()

    async with FakeModelServer(behave) as server:
        counters = await look(server.url, timeout_s=timeout_s)
        took_s = time.monotonic() - began

    assert counters.reply is expected, counters.detail
    assert bool(counters.detail) == (expected is not Reply.ANSWERED)
    assert took_s < timeout_s + 3


async def test_no_more_is_read_than_the_bound_however_much_is_sent() -> None:
    async with FakeModelServer(floods()) as server:
        counters = await look(server.url)

    assert counters.reply is Reply.INVALID
    assert counters.detail.endswith(f"more than {MAX_BYTES} bytes")
    assert server.sent < MAX_BYTES + BUFFERS_BYTES


async def test_nothing_is_asked_that_would_wake_a_server_or_make_it_infer() -> None:
    """A build whose `/props` knows nothing of sleep is asked for them once."""

    async with FakeModelServer(says("[]")) as server, http.client(server.url, api_key="secret") as client:
        progress = LlamaCppProgress(client)
        replies = [(await progress.look(timeout_s=5)).reply for _ in range(3)]

    assert replies == [Reply.ANSWERED] * 3
    assert [each.path for each in server.asked] == ["/props", "/slots", "/slots", "/slots"]
    assert {(each.method, each.body) for each in server.asked} == {("GET", b"")}
    assert {each.headers["authorization"] for each in server.asked} == {"Bearer secret"}
    assert [each.connection for each in server.asked] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "props", ["{}", "[]", '{"is_sleeping": "yes"}', '{"is_sleeping": null}', "garbage", "[" * 100_000], ids=lambda _: ""
)
async def test_a_server_that_does_not_say_that_it_sleeps_is_awake(props: str) -> None:
    async def behave(line: Line) -> None:
        await says(props if server.asked[-1].path == "/props" else "[]")(line)

    async with FakeModelServer(behave) as server:
        counters = await look(server.url)

    assert counters.reply is Reply.ANSWERED


async def test_a_server_that_sleeps_is_asked_for_nothing_more() -> None:
    async with FakeModelServer(says('{"is_sleeping": true}')) as server:
        counters = await look(server.url)

    assert counters.reply is Reply.ASLEEP
    assert [each.path for each in server.asked] == ["/props"]


@pytest.mark.parametrize(
    ("busy", "paths"),
    [(True, ["/props", "/slots", "/slots", "/slots"]), (False, ["/props", "/slots"] * 3)],
    ids=["busy", "idle"],
)
async def test_a_server_that_may_sleep_is_asked_before_every_look_unless_it_was_at_work(
    busy: bool, paths: list[str]
) -> None:
    async def behave(line: Line) -> None:
        slots = json.dumps([{"id": 0, "is_processing": busy}])
        await says('{"is_sleeping": false}' if server.asked[-1].path == "/props" else slots)(line)

    async with FakeModelServer(behave) as server, http.client(server.url, api_key="") as client:
        progress = LlamaCppProgress(client)
        seen = [await progress.look(timeout_s=5) for _ in range(3)]

    assert {each.reply for each in seen} == {Reply.ANSWERED}
    assert {(each.kind, each.sleeps) for each in seen} == {(Kind.LLAMA_CPP, False)}
    assert [each.path for each in server.asked] == paths


@pytest.mark.parametrize(
    ("props", "paths", "expected"),
    [
        ('{"is_sleeping": false}', ["/props"], Reply.UNSUPPORTED),
        ('{"is_sleeping": false, "endpoint_metrics": false}', ["/props"], Reply.UNSUPPORTED),
        ('{"is_sleeping": false, "endpoint_metrics": true}', ["/props", "/metrics"], Reply.ANSWERED),
        ('{"is_sleeping": true, "endpoint_metrics": true}', ["/props"], Reply.ASLEEP),
    ],
)
async def test_a_gentle_look_never_asks_for_slots(props: str, paths: list[str], expected: Reply) -> None:
    async def behave(line: Line) -> None:
        await says(props if server.asked[-1].path == "/props" else "llamacpp:requests_processing 0\n")(line)

    async with FakeModelServer(behave) as server, http.client(server.url, api_key="") as client:
        seen = await LlamaCppProgress(client).look(timeout_s=5, gently=True)

    assert seen.reply is expected
    assert [each.path for each in server.asked] == paths


async def test_who_has_slept_once_is_known_to_sleep_until_its_life_ends() -> None:
    async with FakeModelServer(says('{"is_sleeping": true}')) as server, http.client(server.url, api_key="") as client:
        progress = LlamaCppProgress(client)
        asleep = await progress.look(timeout_s=5)
        server.behave = says("[]")
        awake = await progress.look(timeout_s=5)
        progress.let_go()
        next_life = await progress.look(timeout_s=5)

    assert [each.sleeps for each in (asleep, awake, next_life)] == [True, True, False]


@pytest.mark.parametrize(
    ("entry", "cached"),
    [
        ({"id": 0, "is_processing": False, "id_task": 3, "n_prompt_tokens": 429}, 429),
        ({"id": 0, "is_processing": False}, 0),
        ({"id": 0, "is_processing": False, "id_task": 3}, None),
        ({"id": 0, "is_processing": True, "id_task": 3, "n_prompt_tokens": 429}, None),
    ],
    ids=["keeps-tokens", "never-used", "old-build", "at-work"],
)
def test_an_idle_slot_tells_what_a_canary_would_cost_its_user(entry: dict[str, object], cached: int | None) -> None:
    (slot,) = parse(json.dumps([entry]).encode()).slots

    assert slot.cached == cached
