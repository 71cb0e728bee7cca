"""No answer, however broken, makes a parser raise, stall, or say more than it has seen."""

import json
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.observations import Reply
from supervisor.probes import llama_cpp, ollama
from supervisor.probes.base import Counters
from supervisor.probes.fingerprint import QUESTIONS
from supervisor.probes.held import Said
from supervisor.probes.metrics import MetricsProgress, read
from supervisor.probes.prometheus import MAX_LINE_BYTES, MAX_WANTED_BYTES
from supervisor.probes.sglang import SglangProgress
from supervisor.probes.tgi import TgiProgress
from supervisor.probes.vllm import RUNNING, VllmProgress
from tests.fixtures.recorded import recorded

CLIENT = httpx.AsyncClient()
Parse = Callable[[bytes], Counters]


def of(probe: MetricsProgress) -> Parse:
    """Return the parser of one kind of metrics."""

    def parse(body: bytes) -> Counters:
        metrics = read(Said(200, {}, body), probe.wanted)
        return metrics if isinstance(metrics, Counters) else probe.counters(metrics)

    return parse


VLLM, SGLANG, TGI = of(VllmProgress(CLIENT)), of(SglangProgress(CLIENT)), of(TgiProgress(CLIENT))
PARSERS: list[tuple[Parse, str]] = [
    (VLLM, "vllm_metrics.txt"),
    (VLLM, "vllm_metrics_two_engines.txt"),
    (VLLM, "vllm_metrics_asleep.txt"),
    (SGLANG, "sglang_metrics.txt"),
    (SGLANG, "sglang_metrics_2025.txt"),
    (TGI, "tgi_metrics.txt"),
    (llama_cpp.parse, "llama_cpp_slots.json"),
    (llama_cpp.parse, "llama_cpp_slots_2025.json"),
    (llama_cpp.parse, "llama_cpp_slots_2024.json"),
    (ollama.parse, "ollama_ps.json"),
]
OFTEN = settings(deadline=None, max_examples=200)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Parse, bytes]:
    """A real answer with a piece cut out, put in, doubled or swapped for bytes that mean something to a parser."""
    parse, file = draw(st.sampled_from(PARSERS))
    body = recorded(file)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(body)))
        end = draw(st.integers(begin, min(len(body), begin + 200)))
        meant = st.sampled_from(
            [b"", b'"', b"{", b"}", b"\\", b"\n", b"NaN", b"-1", b"1e999", b"null", b"[]", b"_", b"# TYPE x counter\n"]
        )
        piece = draw(meant | st.binary(max_size=20) | st.just(body[begin:end] * 2))
        body = body[:begin] + piece + body[end:]
    return parse, body


def is_sound(seen: Counters) -> bool:
    """Whether it is one of the things that an answer of status 200 can be, in numbers that one can write down."""
    numbers = [(slot.id, slot.decoded, slot.prefilled, slot.drafted) for slot in seen.slots]
    return (
        seen.reply in (Reply.ANSWERED, Reply.ASLEEP, Reply.INVALID, Reply.UNSUPPORTED)
        and all(isinstance(number, int) for each in numbers for number in each)
        and (seen.reply is Reply.ANSWERED or not seen.slots)
        and json.dumps(numbers) != ""
        and seen.detail.isprintable()
    )


@OFTEN
@given(mutated())
def test_a_mutated_answer_makes_nobody_raise(case: tuple[Parse, bytes]) -> None:
    parse, body = case

    assert is_sound(parse(body))


@OFTEN
@given(st.sampled_from(PARSERS), st.binary())
def test_bytes_whatever_make_nobody_raise(case: tuple[Parse, str], body: bytes) -> None:
    parse, _ = case

    assert is_sound(parse(body))


NAMES = sorted(VllmProgress.wanted | SglangProgress.wanted | TgiProgress.wanted)


@OFTEN
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=30)), max_size=5))
def test_a_name_that_we_know_before_text_whatever_makes_nobody_raise(lines: list[tuple[str, str]]) -> None:
    body = "\n".join(name + rest for name, rest in lines).encode(errors="replace")

    assert all(is_sound(parse(body)) for parse in (VLLM, SGLANG, TGI))


@OFTEN
@given(st.sampled_from([200, 401, 404, 503]), st.binary() | mutated().map(lambda case: case[1]))
def test_an_answer_whatever_is_recognised_or_not(status: int, body: bytes) -> None:
    said = Said(status, {"server": "x"}, body)

    kinds = [kind_by(said) for _, kind_by in QUESTIONS]

    assert status == 200 or kinds == [None] * len(QUESTIONS)


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"<html></html>",
        b"{}",
        RUNNING.encode() + b"{",
        RUNNING.encode() + b'{a="b} 1',
        RUNNING.encode() + b" one",
        RUNNING.encode() + b" NaN",
        RUNNING.encode() + b" +Inf",
        RUNNING.encode(),
        RUNNING.encode() + b'{a="' + b"x" * MAX_LINE_BYTES + b'"} 1',
        (RUNNING.encode() + b" 1\n") * MAX_WANTED_BYTES,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_metrics_or_too_much_of_them_is_invalid(body: bytes) -> None:
    seen = VLLM(body)

    assert (seen.reply, seen.slots) == (Reply.INVALID, ())
    assert seen.detail.startswith("/metrics: ")


@pytest.mark.parametrize("value", ["1e307", "-1e307", "9e15", "NaN", "+Inf"])
@pytest.mark.parametrize("name", ["vllm:kv_cache_usage_perc", "vllm:num_requests_running"])
def test_numbers_beyond_any_count_are_no_counters(name: str, value: str) -> None:
    seen = VLLM(recorded("vllm_metrics.txt") + f'{name}{{engine="7"}} {value}\n{name}{{engine="8"}} {value}\n'.encode())

    assert seen.reply is Reply.INVALID
