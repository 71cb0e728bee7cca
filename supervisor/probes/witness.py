"""Choose the progress probe that the settings name. Nothing is asked here."""

import httpx

from supervisor.core.observations import Kind
from supervisor.probes.base import ProgressProbe
from supervisor.probes.fingerprint import FoundOut
from supervisor.probes.held import HeldLooks
from supervisor.probes.llama_cpp import LlamaCppProgress
from supervisor.probes.ollama import OllamaProgress
from supervisor.probes.plain import PlainProgress
from supervisor.probes.sglang import SglangProgress
from supervisor.probes.tgi import TgiProgress
from supervisor.probes.vllm import VllmProgress


def witness(progress: str, client: httpx.AsyncClient, *, model: str | None = None) -> ProgressProbe | None:
    """Return the probe for `progress`: a kind of server, `auto` or `none`.

    `model` is what an Ollama, which may hold several, is asked for; without it any of them will do.
    """
    if progress == "none":
        return None
    if progress == "auto":
        return FoundOut(client, lambda kind: of_kind(kind, client, model=model))
    return of_kind(Kind(progress), client, model=model)


def of_kind(kind: Kind, client: httpx.AsyncClient, *, model: str | None) -> HeldLooks:
    """Return the probe for one kind of server."""
    match kind:
        case Kind.LLAMA_CPP:
            return LlamaCppProgress(client)
        case Kind.VLLM:
            return VllmProgress(client)
        case Kind.SGLANG:
            return SglangProgress(client)
        case Kind.TGI:
            return TgiProgress(client)
        case Kind.OLLAMA:
            return OllamaProgress(client, model=model)
        case Kind.LLAMA_CPP_PYTHON | Kind.OTHER:
            return PlainProgress(client, kind=kind)
