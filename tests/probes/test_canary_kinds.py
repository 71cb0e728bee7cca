"""What each kind of canary asks, and what it does about a server that will not have the question."""

import base64
import json
import re
import struct
import zlib
from typing import Any

import pytest

from supervisor.core.observations import Reply
from supervisor.probes import http
from supervisor.probes.answer import Checker
from supervisor.probes.base import Answer
from supervisor.probes.canary import Canary
from supervisor.probes.questions import CanaryKind
from tests.fakes.model_server import Behaviour, FakeModelServer, Line, piece, says, streams
from tests.probes.probing import ask

PONG = streams(piece("pong", "stop"))
VECTOR = says('{"object": "list", "data": [{"embedding": [0.25, -1, 3e-7], "index": 0}]}')
GENERATES = {"max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}
NOT_MINE = "it will not have {}: from now on it is not asked for"


async def asked_for(kind: CanaryKind, behave: Behaviour, *, slot: int | None = None) -> tuple[str, dict[str, Any]]:
    async with FakeModelServer(behave) as server:
        answer = await ask(server.url, kind=kind, slot=slot)
    assert answer.reply is Reply.ANSWERED, answer.detail
    (asked,) = server.asked
    return asked.path, asked.json


def pixels(png: bytes) -> bytes:
    """Return the bytes of a PNG's lines; every chunk's checksum must fit."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + content),)
        data += content if kind == b"IDAT" else b""
        at += 12 + length
    return zlib.decompress(data)


def fussy_server(extra: str, *, status: str, words: str) -> FakeModelServer:
    """Return a server that refuses requests which hold `extra`, in so many words, and answers all others."""

    async def behave(line: Line) -> None:
        refused = extra in server.asked[-1].json
        await (says(words.format(extra), status) if refused else PONG)(line)

    server = FakeModelServer(behave)
    return server


async def test_a_completion_canary_asks_for_text_after_a_prompt() -> None:
    behave = streams({"object": "text_completion", "choices": [{"text": "pong", "finish_reason": "length"}]})

    path, body = await asked_for("completion", behave, slot=1)

    assert path == "/v1/completions"
    assert re.fullmatch(r"ping [0-9a-f]{8}", body["prompt"])
    assert body == {"model": "general", "prompt": body["prompt"], **GENERATES, "id_slot": 1}


async def test_an_embeddings_canary_asks_for_numbers_and_streams_nothing() -> None:
    path, body = await asked_for("embeddings", VECTOR, slot=1)

    assert path == "/v1/embeddings"
    assert re.fullmatch(r"ping [0-9a-f]{8}", body["input"])
    assert body == {"model": "general", "input": body["input"], "encoding_format": "float"}


async def test_a_vision_canary_shows_a_small_real_picture_in_a_colour_of_its_own() -> None:
    path, body = await asked_for("vision", PONG, slot=1)

    text, picture = body["messages"][0]["content"]
    kind, _, encoded = picture["image_url"]["url"].partition(",")
    nonce = re.fullmatch(r"ping ([0-9a-f]{8})", text["text"])
    assert nonce
    line = b"\0" + bytes.fromhex(nonce[1])[:3] * 64
    assert path == "/v1/chat/completions"
    assert kind == "data:image/png;base64"
    assert pixels(base64.b64decode(encoded)) == line * 64
    assert len(encoded) < 1000
    assert body == {"model": "general", "messages": body["messages"], **GENERATES, "id_slot": 1}


async def test_a_model_behind_a_router_is_asked_for_by_its_name_and_in_its_kind() -> None:
    async with FakeModelServer(PONG) as server, http.client(server.url, api_key="") as client:
        canary = Canary(client, model="auto", max_tokens=4, checker=Checker(), kinds={"vision": "vision"})
        await canary.send(limit_s=5, model="code")
        await canary.send(limit_s=5, model="vision")

    words, picture = (asked.json for asked in server.asked)
    assert (words["model"], picture["model"]) == ("code", "vision")
    assert isinstance(words["messages"][0]["content"], str)
    assert picture["messages"][0]["content"][1]["type"] == "image_url"


@pytest.mark.parametrize(("kind", "behave"), [("completion", PONG), ("embeddings", VECTOR), ("vision", PONG)])
async def test_no_two_canaries_of_any_kind_are_alike(kind: CanaryKind, behave: Behaviour) -> None:
    async with FakeModelServer(behave) as server, http.client(server.url, api_key="") as client:
        canary = Canary(client, model="general", max_tokens=4, checker=Checker(), kind=kind)
        answers = [await canary.send(limit_s=5) for _ in range(5)]

    assert {answer.reply for answer in answers} == {Reply.ANSWERED}
    assert len({asked.body for asked in server.asked}) == 5


@pytest.mark.parametrize(
    ("extra", "status", "words"),
    [
        pytest.param(
            "stream_options",
            "422 Unprocessable Entity",
            '{{"detail": [{{"type": "extra_forbidden", "loc": ["body", "{}"], "msg": "not permitted"}}]}}',
            id="pydantic",
        ),
        pytest.param(
            "stream_options",
            "400 Bad Request",
            '{{"error": {{"message": "Stream options can only be defined when `stream=True`.", "code": 400}}}}',
            id="vllm-behind-one-that-does-not-stream",
        ),
        pytest.param("id_slot", "400 Bad Request", '{{"error": "unknown field {}"}}', id="unknown-field"),
    ],
)
async def test_a_server_that_will_not_have_an_extra_is_never_asked_for_it_again(
    extra: str, status: str, words: str
) -> None:
    server = fussy_server(extra, status=status, words=words)

    async with server, http.client(server.url, api_key="") as client:
        canary = Canary(client, model="general", max_tokens=4, checker=Checker())
        answers = [await canary.send(limit_s=5, slot=0) for _ in range(3)]

    assert answers[0] == Answer(reply=Reply.UNSUPPORTED, detail=NOT_MINE.format(extra))
    assert [answer.reply for answer in answers[1:]] == [Reply.ANSWERED, Reply.ANSWERED]
    assert [extra in asked.json for asked in server.asked] == [True, False, False]
    others = {"stream_options", "id_slot"} - {extra}
    assert all(others <= asked.json.keys() for asked in server.asked)


async def test_a_server_that_goes_on_refusing_what_it_is_not_asked_for_is_misconfigured() -> None:
    refusal = says('{"error": "no stream_options here"}', "400 Bad Request")

    async with FakeModelServer(refusal) as server, http.client(server.url, api_key="") as client:
        canary = Canary(client, model="general", max_tokens=4, checker=Checker())
        answers = [await canary.send(limit_s=5) for _ in range(3)]

    assert [answer.reply for answer in answers] == [Reply.UNSUPPORTED, Reply.DENIED, Reply.DENIED]
    assert len(server.asked) == 3


async def test_a_refusal_that_names_no_extra_changes_nothing_of_what_is_asked() -> None:
    refusal = says('{"error": "roles must alternate"}', "400 Bad Request")

    async with FakeModelServer(refusal) as server, http.client(server.url, api_key="") as client:
        canary = Canary(client, model="general", max_tokens=4, checker=Checker())
        answers = [await canary.send(limit_s=5) for _ in range(2)]

    assert [answer.reply for answer in answers] == [Reply.DENIED, Reply.DENIED]
    assert ["stream_options" in asked.json for asked in server.asked] == [True, True]


@pytest.mark.parametrize(
    ("kind", "status", "message", "cure"),
    [
        pytest.param("embeddings", "501 Not Implemented", "no such thing", "--embeddings", id="any-501"),
        pytest.param("embeddings", "400 Bad", "The model does not support Embeddings API", "--embeddings", id="vllm"),
        pytest.param("embeddings", "500 Oops", "this model does not support embeddings", "--embeddings", id="ollama"),
        pytest.param("vision", "500 Oops", "image input is not supported - hint: …", "--mmproj", id="llama.cpp"),
        pytest.param("vision", "400 Bad", "general is not a multimodal model", "--mmproj", id="vllm-of-a-picture"),
        pytest.param(
            "vision", "500 Oops", "this model is missing data required for image input", "--mmproj", id="ollama-picture"
        ),
        pytest.param(
            "chat", "501 Not Implemented", "This server does not support completions.", "embeddings", id="old-llama.cpp"
        ),
        pytest.param("completion", "400 Bad", '"x" does not support generate', "canary", id="ollama-of-a-completion"),
        pytest.param("chat", "401 Unauthorized", "Invalid API Key", "api_key", id="wrong-key"),
        pytest.param("embeddings", "404 Not Found", "File Not Found", "canary_model", id="no-such-path"),
    ],
)
async def test_a_server_that_was_never_made_for_the_question_is_not_broken_and_the_cure_is_named(
    kind: CanaryKind, status: str, message: str, cure: str
) -> None:
    refusal = says(json.dumps({"error": {"message": message}}), status)

    async with FakeModelServer(refusal) as server:
        answer = await ask(server.url, kind=kind)

    assert answer.reply is Reply.DENIED
    assert cure in answer.detail
    assert message[:20] in answer.detail


@pytest.mark.parametrize(
    "message", ["Compute error.", "CUDA error: operation not supported", "failed to process image", "not supported"]
)
@pytest.mark.parametrize("kind", ["chat", "vision", "embeddings"])
async def test_a_failure_that_a_restart_may_cure_stays_a_failure(kind: CanaryKind, message: str) -> None:
    async with FakeModelServer(says(json.dumps({"error": {"message": message}}), "500 Oops")) as server:
        answer = await ask(server.url, kind=kind)

    assert answer == Answer(reply=Reply.FAILED, detail=f"status 500: {message}")
