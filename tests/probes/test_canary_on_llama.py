"""Each kind of canary against llama.cpp's own server: answered, refused, poisoned, frozen, queued."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from supervisor.core.observations import Reply
from supervisor.probes import http
from supervisor.probes.base import Answer
from supervisor.probes.pieces import FirstWord
from supervisor.probes.questions import CanaryKind
from testbed import tiny_model, tiny_projector
from testbed.clients import busy, chat_body
from testbed.servers import ProcessServers
from tests.probes.probing import ENOUGH_S, ask, look

KINDS = get_args(CanaryKind)
NO_PINGS = "{%- if 'ping' in messages[-1]['content'] -%}{{ raise_exception('no pings') }}{%- endif -%}hello"
SLOW_TO_READ = tiny_model.Shape(embd=512, layers=4, heads=8, kv_heads=4, ff=1408)
QUICK_S = 0.4


def flags_for(kind: CanaryKind) -> Sequence[str]:
    """Return what llama-server must be told to answer such a canary."""
    match kind:
        case "chat" | "completion":
            return []
        case "embeddings":
            return ["--embeddings", "--pooling", "mean"]
        case "vision":
            return ["--mmproj", str(tiny_projector.ensure())]


@pytest.mark.parametrize("max_tokens", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_answered_with_a_cap_of_one_token_too(
    process_servers: ProcessServers, model: Path, kind: CanaryKind, max_tokens: int
) -> None:
    url = process_servers.run(kind, model, *flags_for(kind))

    answer = await ask(url, kind=kind, max_tokens=max_tokens)

    assert (answer.reply, answer.detail) == (Reply.ANSWERED, "")
    assert answer.first_token_s is not None


@pytest.mark.parametrize("kind", ["chat", "completion", "vision"])
async def test_an_answer_of_nothing_but_its_end_is_an_answer(process_servers: ProcessServers, kind: CanaryKind) -> None:
    url = process_servers.run(kind, tiny_model.ensure(answer="eos"), *flags_for(kind))

    answer = await ask(url, kind=kind)

    assert (answer.reply, answer.detail) == (Reply.ANSWERED, "")


@pytest.mark.parametrize("kind", KINDS)
async def test_poisoned_weights_give_no_answer_of_any_kind(process_servers: ProcessServers, kind: CanaryKind) -> None:
    url = process_servers.run(kind, tiny_model.ensure(answer="nan"), *flags_for(kind))

    answer = await ask(url, kind=kind)

    assert answer.reply is Reply.INVALID
    assert "no number" in answer.detail if kind == "embeddings" else answer.detail.startswith("garbage: ")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_frozen_while_idle_is_silent_to_every_kind(
    process_servers: ProcessServers, model: Path, kind: CanaryKind
) -> None:
    url = process_servers.run(kind, model, *flags_for(kind))
    process_servers.freeze(kind)

    answer = await ask(url, kind=kind, limit_s=QUICK_S)

    assert answer == Answer(reply=Reply.SILENT, detail="the answer never came within 0.4s")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_key_is_a_refusal_that_names_the_setting(
    process_servers: ProcessServers, model: Path, kind: CanaryKind
) -> None:
    url = process_servers.run(kind, model, "--api-key", "right", *flags_for(kind))

    answer = await ask(url, kind=kind, api_key="wrong")

    assert answer.reply is Reply.DENIED
    assert "api_key" in answer.detail


async def test_a_template_that_will_not_have_the_question_is_a_refusal(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("template", model, "--chat-template", NO_PINGS)

    answer = await ask(url)

    assert answer.reply is Reply.DENIED
    assert answer.detail.startswith("status 400: ")


@pytest.mark.parametrize(("kind", "cure"), [("embeddings", "--embeddings"), ("vision", "--mmproj")])
async def test_a_server_that_cannot_do_it_says_so_and_the_cure_is_named(
    process_servers: ProcessServers, model: Path, kind: CanaryKind, cure: str
) -> None:
    url = process_servers.run("plain", model)

    answer = await ask(url, kind=kind)

    assert answer.reply is Reply.DENIED
    assert cure in answer.detail
    assert "canary" in answer.detail


@pytest.mark.parametrize("kind", ["chat", "completion", "vision"])
async def test_every_kind_that_generates_goes_to_the_slot_it_is_pinned_to(
    process_servers: ProcessServers, model: Path, kind: CanaryKind
) -> None:
    url = process_servers.run(kind, model, "-np", "2", *flags_for(kind))

    answers = [await ask(url, kind=kind, slot=1), await ask(url, kind=kind, slot=1)]
    first, second = (await look(url)).slots

    assert [answer.reply for answer in answers] == [Reply.ANSWERED, Reply.ANSWERED]
    assert first.task is None
    assert second.task is not None


async def test_a_server_sends_a_head_and_comments_and_no_word_while_it_reads_a_long_prompt(
    process_servers: ProcessServers,
) -> None:
    model = tiny_model.ensure(shape=SLOW_TO_READ)
    url = process_servers.run("reading", model, "-c", "65536", "--sse-ping-interval", "1")
    question = chat_body("the a of to and " * 6000, stream=True)

    async with (
        http.client(url, api_key="") as client,
        asyncio.timeout(ENOUGH_S),
        client.stream("POST", "/v1/chat/completions", json=question) as response,
    ):
        first_word = FirstWord(response.headers["content-type"])
        chunk = await anext(response.aiter_raw())
        first_word.listen(chunk)

    assert response.status_code == 200
    assert chunk.startswith(b":")
    assert not first_word.heard


async def test_a_canary_that_queues_until_its_limit_is_no_bad_answer(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("queue", model, "-c", "65536")

    with busy(url) as user:
        await asyncio.to_thread(user.wait_first_token)
        answer = await ask(url, limit_s=QUICK_S)

    assert answer == Answer(reply=Reply.SILENT, detail="the answer never came within 0.4s")
