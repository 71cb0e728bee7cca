"""The bodies of those builds' answers, key by key as far as anybody reads them."""

import time
from collections.abc import Iterable
from typing import Any, Final

from testbed.old_llama.loop import Done, Slot, State

BUILD: Final = "b4700-fake"
Json = dict[str, Any]


def error(code: int, message: str, kind: str) -> Json:
    """Return an error's body."""
    return {"error": {"code": code, "message": message, "type": kind}}


LOADING: Final = error(503, "Loading model", "unavailable_error")
COMPUTE_ERROR: Final = error(500, "Compute error.", "server_error")
BAD_TEMPLATE: Final = error(400, "the chat template could not be applied", "invalid_request_error")
NOT_FOUND: Final = error(404, "File Not Found", "not_found_error")
TOO_LONG: Final = error(
    400, "the request exceeds the available context size. try increasing it", "invalid_request_error"
)


def not_started_with(flag: str) -> Json:
    """Return the refusal of an endpoint that is off."""
    return error(501, f"This server does not support {flag} endpoint. Start it with `--{flag}`", "not_supported_error")


def slot(seen: Slot, *, context: int) -> Json:
    """Return one entry of `/slots`: the user's prompt is in it, and what follows is an object."""
    return {
        "id": seen.id,
        "id_task": seen.number,
        "n_ctx": context,
        "speculative": False,
        "is_processing": seen.task is not None,
        "non_causal": False,
        "params": {"n_predict": seen.max_tokens, "stream": True, "temperature": 0.8, "samplers": ["top_k", "top_p"]},
        "prompt": seen.prompt,
        "next_token": {
            "has_next_token": seen.task is not None,
            "has_new_line": False,
            "n_remain": seen.max_tokens - seen.decoded,
            "n_decoded": seen.decoded,
            "stopping_word": "",
        },
    }


def props(*, model: str, slots: int, context: int) -> Json:
    """Return `/props`, which those builds answer without asking the loop, and which knows of no sleep."""
    settings = slot(Slot(id=0), context=context)
    return {
        "default_generation_settings": settings,
        "total_slots": slots,
        "model_path": model,
        "chat_template": "chatml",
        "build_info": BUILD,
    }


def models(name: str) -> Json:
    """Return `/v1/models`."""
    entry = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "llamacpp", "meta": {}}
    return {"object": "list", "data": [entry]}


def metrics(state: State) -> str:
    """Return `/metrics`: tokens are counted when their request has ended, batches as they go."""
    values = {
        ("counter", "prompt_tokens_total"): state.prompt_tokens,
        ("counter", "tokens_predicted_total"): state.generated,
        ("counter", "n_decode_total"): state.decodes,
        ("gauge", "requests_processing"): sum(each.task is not None for each in state.slots),
        ("gauge", "requests_deferred"): state.deferred,
    }
    lines = [
        f"# HELP llamacpp:{name} {name}.\n# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {value}\n"
        for (kind, name), value in values.items()
    ]
    return "".join(lines)


def whole(model: str, text: str, done: Done) -> Json:
    """Return a chat completion in one piece."""
    message = {"role": "assistant", "content": text}
    choice = {"finish_reason": "length", "index": 0, "message": message}
    return {"choices": [choice], **_frame(model, "chat.completion"), "usage": _usage(done)}


def chunk(model: str, text: str, *, is_first: bool) -> Json:
    """Return one chunk of a streamed chat."""
    role = {"role": "assistant"} if is_first else {}
    choice = {"finish_reason": None, "index": 0, "delta": {**role, "content": text}}
    return {"choices": [choice], **_frame(model, "chat.completion.chunk")}


def last_chunk(model: str, done: Done) -> Json:
    """Return the chunk that ends a stream; in those builds it holds the usage, asked for or not."""
    choice: Json = {"finish_reason": "length", "index": 0, "delta": {}}
    return {"choices": [choice], **_frame(model, "chat.completion.chunk"), "usage": _usage(done)}


def prompt_of(request: Json) -> str:
    """Return a chat's text, as the template joins it."""
    messages: Iterable[Json] = request.get("messages") or []
    return "\n".join(str(message.get("content", "")) for message in messages) or str(request.get("prompt", ""))


def _frame(model: str, kind: str) -> Json:
    created = int(time.time())
    return {
        "created": created,
        "id": f"chatcmpl-{created}",
        "model": model,
        "object": kind,
        "system_fingerprint": BUILD,
    }


def _usage(done: Done) -> Json:
    total = done.prompt_tokens + done.generated
    return {"completion_tokens": done.generated, "prompt_tokens": done.prompt_tokens, "total_tokens": total}
