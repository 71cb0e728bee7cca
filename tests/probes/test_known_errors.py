"""Errors that servers dress as content, told from models that speak about errors."""

import re

import pytest

from supervisor.core.observations import Reply
from supervisor.probes.answer import Checker
from supervisor.probes.known_errors import KNOWN_AS_BUSY, KNOWN_ERRORS
from tests.fakes.model_server import FakeModelServer, piece, streams
from tests.probes.probing import ask

BENCHAI = Checker(
    error_patterns=tuple(re.compile(pattern) for pattern in KNOWN_ERRORS["benchai"]),
    busy_patterns=tuple(re.compile(pattern) for pattern in KNOWN_AS_BUSY["benchai"]),
)


@pytest.mark.parametrize(
    "content",
    [
        "Reasoning failed: Could not start the planner",
        "Request timed out after 5 minutes",
        "Request timed out after 30 seconds. Try a shorter question.",
        "Reasoning error: All connection attempts failed",
        "Streaming error: server disconnected",
        "Model error: HTTP 500",
        "Vision model error: HTTP 503",
        "Vision analysis requires 4000 MiB of free memory",
        "Code generation timed out after 5 minutes",
    ],
)
async def test_benchais_errors_are_no_answers(content: str) -> None:
    async with FakeModelServer(streams(piece(content, "stop"))) as server:
        answer = await ask(server.url, checker=BENCHAI)

    assert answer.reply is Reply.INVALID
    assert answer.detail == f"an error dressed as content: {content.strip()}"


@pytest.mark.parametrize("model", ["general", "qwen2.5-coder:7b"])
async def test_a_router_that_says_a_model_is_busy_is_alive(model: str) -> None:
    content = f"Model {model} is currently busy. Please try again in a moment."
    async with FakeModelServer(streams(piece(content, "stop"))) as server:
        answer = await ask(server.url, checker=BENCHAI)

    assert (answer.reply, answer.detail) == (Reply.OVERLOADED, f"says: {content}")


@pytest.mark.parametrize(
    "content",
    [
        "pong",
        "Model collapse is",
        'The router says "Model general is currently busy. Please try again in a moment." when a model is away.',
        "Model makers say that everybody is currently busy. Please try again in a moment. That is a joke.",
        "If it says Reasoning failed: then look at the log.",
        "A request timed out after 5 minutes",
        "Request timed out",
    ],
)
async def test_a_model_may_speak_about_errors(content: str) -> None:
    async with FakeModelServer(streams(piece(content, "stop"))) as server:
        answer = await ask(server.url, checker=BENCHAI)

    assert (answer.reply, answer.detail) == (Reply.ANSWERED, "")
