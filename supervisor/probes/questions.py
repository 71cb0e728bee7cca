"""What the canary asks, for each kind of model: the path and the body. Asks nothing itself.

The text is short and recognisable in a log, and its nonce keeps a cache from answering for a dead model.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from supervisor.probes import pictures

CanaryKind = Literal["chat", "completion", "embeddings", "vision"]

# What we would like and can do without, and how a server that will not have it may call it.
EXTRAS = {
    "stream_options": (b"stream_options", b"stream options", b"include_usage"),
    "id_slot": (b"id_slot",),
    "encoding_format": (b"encoding_format",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request of a canary."""

    path: str
    body: dict[str, Any]

    def extras_named_in(self, refusal: bytes) -> frozenset[str]:
        """Return which of the extras in this question a refusal complains about."""
        said = refusal.lower()
        return frozenset(
            extra for extra, names in EXTRAS.items() if extra in self.body and any(n in said for n in names)
        )


def question(
    kind: CanaryKind, *, model: str, max_tokens: int, slot: int | None = None, without: Collection[str] = ()
) -> Question:
    """Return a question that was never asked before, without the extras that this server will not have."""
    nonce = secrets.token_bytes(4)
    text = f"ping {nonce.hex()}"
    generates: dict[str, Any] = {
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({} if slot is None else {"id_slot": slot}),  # llama.cpp; it takes none for embeddings, which keep no cache
    }
    match kind:
        case "chat":
            path, asked = "/v1/chat/completions", {"messages": [_message(text)], **generates}
        case "vision":
            picture = {"type": "image_url", "image_url": {"url": pictures.as_url(nonce[:3])}}
            message = _message([{"type": "text", "text": text}, picture])
            path, asked = "/v1/chat/completions", {"messages": [message], **generates}
        case "completion":
            path, asked = "/v1/completions", {"prompt": text, **generates}
        case "embeddings":
            path, asked = "/v1/embeddings", {"input": text, "encoding_format": "float"}
    body = {"model": model, **asked}
    return Question(path=path, body={key: value for key, value in body.items() if key not in without})


def _message(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}
