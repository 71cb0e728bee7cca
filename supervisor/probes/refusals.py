"""Say what a refusal means: overloaded, loading, broken, or a wrong question, which no restart would cure."""

import re
from collections.abc import Mapping

from supervisor.core.observations import Reply
from supervisor.probes.http import is_loading, short
from supervisor.probes.pieces import error_message
from supervisor.probes.questions import CanaryKind

# How servers say with a 5xx that they were never made for what we ask: llama.cpp of a picture, Ollama, vLLM.
UNABLE = re.compile(
    r"image input is not supported|missing data required for image input|not a multimodal model"
    r"|does not support (?:image|vision|multimodal|embedding|completion|chat|generate)",
    re.IGNORECASE,
)
# How servers say with a 503 that they are at work for others: Ollama, old llama.cpp, vLLM.
FULL = re.compile(r"server busy|no slot available|queue is full|overloaded|maximum pending", re.IGNORECASE)
# The cure comes first: a long saying of the server's is cut.
CURES: Mapping[CanaryKind, str] = {
    "chat": 'it does no chat: set this target\'s canary, such as "embeddings"',
    "completion": 'it completes no text: set this target\'s canary, such as "chat" or "embeddings"',
    "embeddings": 'it makes no embeddings: start it with --embeddings, or set canary = "chat"',
    "vision": 'it takes no pictures: give it its projector (--mmproj), or set canary = "chat"',
}
PLACES = {401: "look at api_key: ", 403: "look at api_key: ", 404: "look at url, canary and canary_model: "}


def meaning(status: int, headers: Mapping[str, str], body: bytes, *, kind: CanaryKind) -> tuple[Reply, str]:
    """Return what a status other than 200 means, and why."""
    message = error_message(body)
    detail = f"status {status}: {message}"
    if is_loading(status, body):
        return Reply.LOADING, short(detail)
    if status == 429 or (status == 503 and ("retry-after" in headers or FULL.search(message))):
        return Reply.OVERLOADED, short(detail)
    if status == 501 or (status >= 400 and UNABLE.search(message)):
        return Reply.DENIED, short(f"{CURES[kind]} ({detail})")
    if status >= 500:
        return Reply.FAILED, short(detail)
    return Reply.DENIED, short(PLACES.get(status, "") + detail)
