"""Every probe, held to what the real servers answer; `tests/fixtures/servers/README.md` says where that is from."""

import json

import pytest

from supervisor.core.observations import Kind, Reply, Slot
from supervisor.probes import http
from supervisor.probes.base import Counters
from supervisor.probes.llama_cpp import WHOLE_SERVER, parse
from supervisor.probes.ollama import parse as parse_ollama
from supervisor.probes.witness import witness
from tests.fakes.model_server import FakeModelServer, says
from tests.fixtures.recorded import answers_at, recorded


async def look_at(server: FakeModelServer, name: str, *, gently: bool = False, model: str | None = None) -> Counters:
    """Look once at a server of a kind that the settings name."""
    async with server, http.client(server.url, api_key="") as client:
        progress = witness(name, client, model=model)
        assert progress is not None
        return await progress.look(timeout_s=20.0, gently=gently)


def whole(*, busy: bool, decoded: int, prefilled: int, drafted: int = 0, id: int = 0) -> tuple[Slot]:  # noqa: A002
    """Return what a server without slots of its own is shown as."""
    return (Slot(id=id, busy=busy, task=None, decoded=decoded, prefilled=prefilled, drafted=drafted),)


@pytest.mark.parametrize(
    ("name", "file", "slots", "queued"),
    [
        ("vllm", "vllm_metrics.txt", whole(busy=False, decoded=71, prefilled=5), 0),
        (
            "vllm",
            "vllm_metrics_two_engines.txt",
            whole(busy=True, decoded=1000, prefilled=123 + 375_000, drafted=40),
            4,
        ),
        ("sglang", "sglang_metrics.txt", whole(busy=False, decoded=31 + 32, prefilled=5 + 1 + 37), 0),
        (
            "sglang",
            "sglang_metrics_2025.txt",
            whole(busy=True, decoded=7400757 + 7557572, prefilled=8128902 + 11008 + 123859),
            2826,
        ),
        ("tgi", "tgi_metrics.txt", whole(busy=False, decoded=1509, prefilled=16), 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_batching_server_is_shown_as_one_slot(
    name: str, file: str, slots: tuple[Slot, ...], queued: int
) -> None:
    seen = await look_at(answers_at(metrics=says(recorded(file))), name)

    assert seen == Counters(reply=Reply.ANSWERED, slots=slots, kind=Kind(name), queued=queued)


async def test_a_vllm_that_was_put_to_sleep_is_asleep() -> None:
    seen = await look_at(answers_at(metrics=says(recorded("vllm_metrics_asleep.txt"))), "vllm")

    assert (seen.reply, seen.kind) == (Reply.ASLEEP, Kind.VLLM)


async def test_a_vllm_moves_while_it_reads_one_long_prompt_in_chunks() -> None:
    before = recorded("vllm_metrics_two_engines.txt")
    after = before.replace(b"} 0.25\n", b"} 0.26\n")

    first, second = [await look_at(answers_at(metrics=says(body)), "vllm") for body in (before, after)]

    assert second.slots[0].prefilled > first.slots[0].prefilled
    assert second.slots[0].decoded == first.slots[0].decoded


@pytest.mark.parametrize(
    "counter",
    [
        b'sglang:inter_token_latency_seconds_count{model_name="m"} 1\n',
        b'sglang:time_per_output_token_seconds_count{model_name="m"} 1\n',
        b'sglang:realtime_tokens_total{mode="decode",model_name="m"} 40\n',
    ],
)
async def test_an_sglang_moves_in_the_midst_of_an_answer(counter: bytes) -> None:
    before = recorded("sglang_metrics.txt")

    first, second = [await look_at(answers_at(metrics=says(body)), "sglang") for body in (before, before + counter)]

    assert second.slots[0].decoded > first.slots[0].decoded


@pytest.mark.parametrize("name", ["vllm", "sglang", "tgi"])
@pytest.mark.parametrize("body", [b"", b"# HELP python_info Python\npython_info 1.0\n"], ids=["empty", "others"])
async def test_metrics_that_hold_nothing_we_know_count_nothing(name: str, body: bytes) -> None:
    seen = await look_at(answers_at(metrics=says(body)), name)

    assert (seen.reply, seen.kind) == (Reply.UNSUPPORTED, Kind(name))


@pytest.mark.parametrize("name", ["vllm", "sglang", "tgi"])
async def test_metrics_that_are_switched_off_count_nothing(name: str) -> None:
    seen = await look_at(answers_at(), name)

    assert (seen.reply, seen.detail) == (Reply.UNSUPPORTED, "/metrics: status 404")


async def test_a_new_llama_cpp_is_read_by_its_slots() -> None:
    seen = await look_at(
        answers_at(props=says(recorded("llama_cpp_props.json")), slots=says(recorded("llama_cpp_slots.json"))),
        "llama.cpp",
    )

    idle, busy = seen.slots
    assert (seen.reply, seen.kind, seen.queued) == (Reply.ANSWERED, Kind.LLAMA_CPP, None)
    assert (idle.busy, idle.task, busy.busy, busy.task) == (False, None, True, 0)
    assert busy.decoded > 0


async def test_a_new_llama_cpp_that_may_sleep_is_read_by_its_metrics() -> None:
    seen = await look_at(
        answers_at(props=says(recorded("llama_cpp_props.json")), metrics=says(recorded("llama_cpp_metrics.txt"))),
        "llama.cpp",
        gently=True,
    )

    (slot,) = seen.slots
    assert (seen.reply, seen.queued, slot.id, slot.busy, slot.prefilled) == (Reply.ANSWERED, 0, WHOLE_SERVER, True, 28)
    assert slot.decoded > 0


@pytest.mark.parametrize(("file", "decoded"), [("llama_cpp_slots_2025.json", 41), ("llama_cpp_slots_2024.json", 12)])
def test_an_old_llama_cpp_is_read_without_its_users_words(file: str, decoded: int) -> None:
    seen = parse(recorded(file))

    busy, idle = seen.slots
    assert (busy.busy, busy.decoded, idle.busy, idle.task) == (True, decoded, False, None)
    assert "own words" in recorded(file).decode()
    assert "own words" not in repr(seen)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (None, Reply.ANSWERED),
        ("gemma3", Reply.ANSWERED),
        ("gemma3:latest", Reply.ANSWERED),
        ("gemma3:27b", Reply.ASLEEP),
        ("llama3", Reply.ASLEEP),
    ],
)
async def test_an_ollama_is_awake_while_it_holds_our_model(model: str | None, expected: Reply) -> None:
    seen = await look_at(answers_at(api_ps=says(recorded("ollama_ps.json"))), "ollama", model=model)

    assert (seen.reply, seen.slots, seen.kind, seen.sleeps) == (expected, (), Kind.OLLAMA, True)


@pytest.mark.parametrize("body", [{"models": []}, {"models": None}])
def test_an_ollama_that_holds_nothing_sleeps(body: object) -> None:
    seen = parse_ollama(json.dumps(body).encode())

    assert seen == Counters(reply=Reply.ASLEEP, detail="/api/ps: nothing is loaded")


async def test_a_server_without_counters_says_so_and_is_known() -> None:
    seen = await look_at(answers_at(), "llama-cpp-python")

    assert (seen.reply, seen.kind) == (Reply.UNSUPPORTED, Kind.LLAMA_CPP_PYTHON)
