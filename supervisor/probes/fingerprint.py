"""Find out which server software answers, once in each of its lives, then read its counters in its own way.

Only questions are asked that a server answers from what it holds in memory anyway: none infers, loads a model, wakes
a sleeper or waits for the scheduler. Hence neither `/v1/models`, which takes llama-cpp-python's lock and so cuts off
whoever is being served, nor SGLang's `/server_info`, which its scheduler answers, nor anybody's `/health`.
"""

import json
from collections.abc import Callable
from typing import Any

import httpx

from supervisor.core.observations import Kind, Reply
from supervisor.probes import http
from supervisor.probes.base import Counters
from supervisor.probes.held import HeldLooks, Said, refusal
from supervisor.probes.plain import NOT_THERE

# One odd answer, while it starts or from a proxy before it, must not brand a server for the whole of its life.
OTHER_AFTER = 2
METRICS = {b"vllm:": Kind.VLLM, b"sglang:": Kind.SGLANG, b"tgi_": Kind.TGI, b"llamacpp:": Kind.LLAMA_CPP}


def _by_props(said: Said) -> Kind | None:
    """llama.cpp's header is on every answer of its own, "Loading model" included; a proxy may have replaced it."""
    is_it = said.headers.get("server") == "llama.cpp" or _object(said).keys() >= {"total_slots", "build_info"}
    return Kind.LLAMA_CPP if is_it else None


def _by_metrics(said: Said) -> Kind | None:
    if said.status != httpx.codes.OK:
        return None
    names = {line.removeprefix(b"# TYPE ").lstrip() for line in said.body.splitlines()}
    return next((kind for prefix, kind in METRICS.items() if any(name.startswith(prefix) for name in names)), None)


def _by_model_info(said: Said) -> Kind | None:
    return Kind.SGLANG if _object(said).keys() >= {"model_path", "is_generation"} else None


def _by_info(said: Said) -> Kind | None:
    return Kind.TGI if _object(said).get("router") == "text-generation-router" else None


def _by_root(said: Said) -> Kind | None:
    return Kind.OLLAMA if said.status == httpx.codes.OK and said.body.startswith(b"Ollama is running") else None


def _by_openapi(said: Said) -> Kind | None:
    about = _object(said).get("info")
    title = about.get("title") if isinstance(about, dict) else None
    return Kind.LLAMA_CPP_PYTHON if isinstance(title, str) and title.endswith("llama.cpp Python API") else None


# The likeliest and the cheapest first. SGLang can be told to greet like Ollama, so it has its turn before.
QUESTIONS: tuple[tuple[str, Callable[[Said], Kind | None]], ...] = (
    ("/props", _by_props),
    ("/metrics", _by_metrics),
    ("/model_info", _by_model_info),
    ("/get_model_info", _by_model_info),  # its name until 2025
    ("/info", _by_info),
    ("/", _by_root),
    ("/openapi.json", _by_openapi),
)


class FoundOut(HeldLooks):
    """Finds out what it looks at, then leaves every look to the probe that `make` returns for it."""

    def __init__(self, client: httpx.AsyncClient, make: Callable[[Kind], HeldLooks]) -> None:
        super().__init__(client)
        self._make = make
        self._found: HeldLooks | None = None
        self._unknown = 0

    def forget(self) -> None:
        """Ask anew: the next life may be another server's."""
        super().forget()
        self._found = None
        self._unknown = 0

    def signed(self, seen: Counters) -> Counters:
        """Return what was seen as the probe for its kind would."""
        return self._found.signed(seen) if self._found else super().signed(seen)

    @property
    def asking(self) -> str:
        """The path that was asked for last."""
        return self._found.asking if self._found else super().asking

    async def ask(self, *, gently: bool) -> Counters:
        """Find out, then look."""
        if self._found is None:
            found = await self._find_out()
            if isinstance(found, Counters):
                return found
            self._found = self._make(found)
        return await self._found.ask(gently=gently)

    async def _find_out(self) -> Kind | Counters:
        """Return the kind, or what was seen where it cannot be told yet."""
        for path, kind_by in QUESTIONS:
            try:
                said = await self.get(path)
            except http.BodyTooLongError:
                continue
            if kind := kind_by(said):
                return kind
            if said.status in NOT_THERE:
                return refusal(path, said)
        self._unknown += 1
        if self._unknown >= OTHER_AFTER:
            return Kind.OTHER
        return Counters(reply=Reply.UNSUPPORTED, detail="it answers like no server that we know: asked once more")


def _object(said: Said) -> dict[str, Any]:
    if said.status != httpx.codes.OK:
        return {}
    try:
        value = json.loads(said.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
