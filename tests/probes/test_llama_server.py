"""The probes against llama.cpp's own server, in every condition it can be brought into."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from supervisor.core.observations import Reply
from supervisor.probes.base import Answer
from testbed import tiny_model
from testbed.clients import busy, free_port
from testbed.servers import ContainerServers, ProcessServers
from tests.probes.probing import ENOUGH_S, ask, look, look_until

SLOW_TO_LOAD = tiny_model.Shape(embd=512, layers=4, heads=8, kv_heads=4, ff=1408)
QUICK_S = 0.4


@asynccontextmanager
async def held(url: str, *, limit_s: float = ENOUGH_S) -> AsyncIterator[asyncio.Task[Answer]]:
    """A canary on its way, called off afterwards if it still is."""
    canary = asyncio.create_task(ask(url, limit_s=limit_s))
    try:
        yield canary
    finally:
        canary.cancel()
        await asyncio.gather(canary, return_exceptions=True)


async def test_a_model_that_answers_is_answered_and_its_first_token_is_timed(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("words", model)

    began = time.monotonic()
    answer = await ask(url)
    took_s = time.monotonic() - began

    assert (answer.reply, answer.detail) == (Reply.ANSWERED, "")
    assert answer.first_token_s is not None
    assert 0 < answer.first_token_s <= took_s


async def test_an_answer_of_nothing_but_its_end_is_an_answer(process_servers: ProcessServers) -> None:
    url = process_servers.run("eos", tiny_model.ensure(answer="eos"))

    answer = await ask(url)

    assert (answer.reply, answer.detail) == (Reply.ANSWERED, "")


@pytest.mark.parametrize("max_tokens", [1, 4, 16])
async def test_a_model_with_poisoned_weights_does_not_answer(process_servers: ProcessServers, max_tokens: int) -> None:
    url = process_servers.run("nan", tiny_model.ensure(answer="nan"))

    answer = await ask(url, max_tokens=max_tokens)

    assert answer.reply is Reply.INVALID
    assert "garbage" in answer.detail
    assert answer.detail.isprintable()


async def test_idle_slots_are_counted(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("idle", model, "-np", "2")

    counters = await look(url)

    assert counters.reply is Reply.ANSWERED
    assert [(slot.id, slot.busy, slot.task) for slot in counters.slots] == [(0, False, None), (1, False, None)]


async def test_slots_at_work_move_from_look_to_look(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("busy", model)

    with busy(url) as user:
        await asyncio.to_thread(user.wait_first_token)
        first = await look(url)
        second, _ = await look_until(url, lambda counters: counters.slots != first.slots)

    assert first.slots[0].busy
    assert second.slots[0].busy
    assert second.slots[0].decoded > first.slots[0].decoded


async def test_a_canary_goes_to_the_slot_it_is_pinned_to(process_servers: ProcessServers, model: Path) -> None:
    url = process_servers.run("two", model, "-np", "2")

    answers = [await ask(url, slot=1), await ask(url, slot=1)]
    first, second = (await look(url)).slots

    assert [answer.reply for answer in answers] == [Reply.ANSWERED, Reply.ANSWERED]
    assert first.task is None
    assert second.task is not None


async def test_a_loading_server_says_so_to_both_probes(process_servers: ProcessServers) -> None:
    url = process_servers.run("loading", tiny_model.ensure(shape=SLOW_TO_LOAD), ready=False)

    counters, _ = await look_until(url, lambda counters: counters.reply is not Reply.REFUSED)
    answer = await ask(url)

    assert counters.reply is Reply.LOADING
    assert answer.reply is Reply.LOADING
    assert "Loading model" in answer.detail


async def test_nobody_listening_is_a_refusal() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    assert (await look(url)).reply is Reply.REFUSED
    assert (await ask(url)).reply is Reply.REFUSED


@pytest.mark.parametrize(("key", "expected"), [("right", Reply.ANSWERED), ("wrong", Reply.DENIED), ("", Reply.DENIED)])
async def test_only_the_right_api_key_gets_an_answer(
    process_servers: ProcessServers, model: Path, key: str, expected: Reply
) -> None:
    url = process_servers.run("locked", model, "--api-key", "right")

    counters, answer = await look(url, api_key=key), await ask(url, api_key=key)

    assert (counters.reply, answer.reply) == (expected, expected)


async def test_a_server_without_slots_is_unsupported_and_still_answers(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("slotless", model, "--no-slots")

    assert (await look(url)).reply is Reply.UNSUPPORTED
    assert (await ask(url)).reply is Reply.ANSWERED


async def test_a_stopped_process_is_silent_within_the_timeout_and_its_canary_is_held_until_it_goes_on(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("stopped", model)
    process_servers.pause("stopped")

    async with held(url) as canary:
        began = time.monotonic()
        counters = await look(url, timeout_s=QUICK_S)
        took_s = time.monotonic() - began
        was_pending = not canary.done()
        process_servers.resume("stopped")
        answer = await canary

    assert counters.reply is Reply.SILENT
    assert QUICK_S <= took_s < QUICK_S + 3
    assert was_pending
    assert answer.reply is Reply.ANSWERED


async def test_a_server_frozen_while_idle_swallows_canary_and_look(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("frozen", model)
    process_servers.freeze("frozen")

    counters, answer = await asyncio.gather(look(url, timeout_s=QUICK_S), ask(url, limit_s=QUICK_S))

    assert counters.reply is Reply.SILENT
    assert answer == Answer(reply=Reply.SILENT, detail="the answer never came within 0.4s")


async def test_a_server_frozen_in_mid_answer_shows_counters_that_stand_still(
    process_servers: ProcessServers, model: Path
) -> None:
    url = process_servers.run("frozen", model)
    await asyncio.to_thread(process_servers.freeze, "frozen", mid_answer=True)

    first, answer = await look(url), await ask(url, limit_s=QUICK_S)
    second = await look(url)

    assert first.reply is Reply.ANSWERED
    assert first.slots[0].busy
    assert first.slots == second.slots
    assert answer.reply is Reply.SILENT


async def test_through_a_containers_published_port_a_start_is_never_taken_for_anything_but_a_start(
    servers: ContainerServers, model: Path
) -> None:
    url = servers.run("probes-starting", model, ready=False)

    _, before = await look_until(url, lambda counters: counters.reply is Reply.ANSWERED)
    answer = await ask(url)

    assert {counters.reply for counters in before} <= {Reply.REFUSED, Reply.RESET, Reply.LOADING}
    assert answer.reply is Reply.ANSWERED
