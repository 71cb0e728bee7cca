"""What Ollama has in memory, from `/api/ps`: the one question about models that never loads one. It counts nothing."""

import json

import httpx

from supervisor.core.observations import Kind, Reply
from supervisor.probes import http
from supervisor.probes.base import Counters
from supervisor.probes.held import HeldLooks, refusal

PATH = "/api/ps"


class OllamaProgress(HeldLooks):
    """Tells a loaded model from one that Ollama has put away; it does so by itself, so every look is a gentle one.

    Without a `model` any loaded one will do.
    """

    def __init__(self, client: httpx.AsyncClient, *, model: str | None = None) -> None:
        super().__init__(client, kind=Kind.OLLAMA)
        self.sleeps = True
        self._model = model

    def forget(self) -> None:
        """Keep everything: that it unloads models is no matter of one life."""

    async def ask(self, *, gently: bool) -> Counters:  # noqa: ARG002 - see above
        """Read what is loaded once."""
        said = await self.get(PATH)
        return parse(said.body, model=self._model) if said.status == httpx.codes.OK else refusal(PATH, said)


def parse(body: bytes, *, model: str | None = None) -> Counters:
    """Say whether `model` is loaded; whatever else the answer is, is `INVALID`."""
    try:
        loaded = {_name(entry[key]) for entry in json.loads(body)["models"] or () for key in ("name", "model")}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        return Counters(reply=Reply.INVALID, detail=f"{PATH} is not a list of models: {http.detail_of(error)}")
    if loaded and (model is None or _name(model) in loaded):
        return Counters(reply=Reply.ANSWERED)
    missing = "nothing is loaded" if model is None else f"{model} is not loaded"
    return Counters(reply=Reply.ASLEEP, detail=f"{PATH}: {missing}")


def _name(name: str) -> str:
    return name if ":" in name else f"{name}:latest"
