"""End one model inside a server that goes on, so that it loads anew: of a llama.cpp in router mode, of an Ollama.

Whether a server can do that is found out by asking what costs nothing: no question infers, loads a model or waits for
one. Whether it helped is for the next canary to prove.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx

from supervisor.core.observations import Reply
from supervisor.probes import http, ollama
from supervisor.probes.base import Eased
from supervisor.probes.held import Said, refusal
from supervisor.probes.pieces import error_message

MODELS, UNLOAD, LOAD, PROPS = "/models", "/models/unload", "/models/load", "/props"  # llama.cpp's
GREETING, GENERATE = "/", "/api/generate"  # Ollama's, as `ollama.PATH` is
ANSWERS_WITHIN_S = 1.0  # what a server knows by heart; one that takes longer hangs as a whole
BETWEEN_LOOKS_S = 0.2
MAX_BYTES = 4 * 1024 * 1024  # a router repeats the arguments and the preset of every model that it knows
LOADED, LOADING, UNLOADED = "loaded", "loading", "unloaded"


class NotEasedError(Exception):
    """It was not done; the message says why."""


class ModelEasing:
    """Ends the model that our canary asks for, and no other; and that only while the server says that it is loaded."""

    def __init__(self, client: httpx.AsyncClient, *, model: str) -> None:
        self._server = _Server(client)
        self._model = model

    async def ease(self, *, limit_s: float) -> Eased:
        """End the model; at most `limit_s` seconds pass.

        A router kills a model that hangs 10 s after it was told to end it. An Ollama ends one only once nobody waits
        for its answer any more, our own canary included.
        """
        awaited = "it did not say what it holds"
        try:
            async with asyncio.timeout(limit_s):
                one = await self._find()
                awaited = f"{self._model} was told to end, and did not"
                await one.end()
                while not await one.has_ended():  # noqa: ASYNC110 - it is the other side that moves
                    await asyncio.sleep(BETWEEN_LOOKS_S)
                awaited = f"{self._model} has ended, and was not told to load again"
                await one.load()
        except TimeoutError:
            detail = f"{awaited} within {limit_s:g}s"
        except NotEasedError as reason:
            detail = str(reason)
        except (http.BodyTooLongError, httpx.HTTPError, OSError) as error:
            detail = f"{self._server.asked}: {http.detail_of(error)}"
        else:
            return Eased(done=True, detail=http.short(f"{self._model} was ended, to load anew"))
        return Eased(done=False, detail=http.short(detail))

    async def _find(self) -> "_Child | _Runner":
        """Return what can be ended here, soon: whoever restarts a server that hangs waits for us."""
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                said = await self._server.ask(MODELS)
                if said.status == httpx.codes.OK and (children := router_models(said.body)):
                    return _Child(self._server, _chosen(children, self._model))
                if said.status not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
                    raise NotEasedError(f"it does not say whether it can end one model: {refusal(MODELS, said).detail}")
                return await self._find_runner()
        except TimeoutError:
            raise NotEasedError(f"{self._server.asked} silent for {ANSWERS_WITHIN_S:g}s") from None

    async def _find_runner(self) -> "_Runner":
        said = await self._server.ask(ollama.PATH)
        seen = ollama.parse(said.body, model=self._model)
        if said.status == httpx.codes.OK and seen.reply is Reply.ASLEEP:
            raise NotEasedError(seen.detail)
        if said.status == httpx.codes.OK and seen.reply is Reply.ANSWERED:
            # Servers that pass for an Ollama may take what ends its models for a prompt with nothing in it.
            said = await self._server.ask(GREETING)
            if said.status == httpx.codes.OK and said.body.startswith(b"Ollama is running"):
                return _Runner(self._server, self._model)
        raise NotEasedError("it cannot end one model alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterModel:
    """One model as a llama.cpp router lists it; each life of it has a port of its own among the `arguments`."""

    name: str
    aliases: tuple[str, ...] = ()
    status: str
    arguments: tuple[str, ...] = ()


def router_models(body: bytes) -> tuple[RouterModel, ...]:
    """Return the models in a router's list; none where it is anything else, such as the list of another server."""
    try:
        return tuple(_model(entry) for entry in json.loads(body)["data"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return ()


def _model(entry: dict[str, Any]) -> RouterModel:
    status = entry["status"]
    return RouterModel(
        name=_text(entry["id"]),
        aliases=_texts(entry.get("aliases")),
        status=_text(status["value"]),
        arguments=_texts(status.get("args")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(each) for each in value) if isinstance(value, list) else ()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is no text")
    value.encode()  # half a character could not be sent back
    return value


def _chosen(models: tuple[RouterModel, ...], name: str) -> RouterModel:
    """Return the loaded model that the router would ask for `name`.

    Raises:
        NotEasedError: there is none.
    """
    called = [each for each in models if each.name == name] or [each for each in models if name in each.aliases]
    if len(called) != 1:
        raise NotEasedError(f"its router has {'no' if not called else 'more than one'} model {name}")
    if called[0].status != LOADED:
        raise NotEasedError(f"{name} is not loaded: its router says {called[0].status}")
    return called[0]


class _Server:
    """Asks one server, and keeps in mind what was asked last."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.asked = ""

    async def ask(self, path: str) -> Said:
        """Ask for what is at `path`."""
        return await self._exchange("GET", path, None)

    async def tell(self, path: str, order: dict[str, object]) -> Said:
        """Give an order."""
        return await self._exchange("POST", path, order)

    async def _exchange(self, method: str, path: str, content: dict[str, object] | None) -> Said:
        self.asked = path
        async with self._client.stream(method, path, json=content) as response:
            body = await http.read(response, max_bytes=MAX_BYTES)
        return Said(response.status_code, response.headers, body)


class _Child:
    """A model of a llama.cpp router: a process of its own."""

    def __init__(self, server: _Server, model: RouterModel) -> None:
        self._server = server
        self._model = model

    async def end(self) -> None:
        """Have it ended."""
        said = await self._server.tell(UNLOAD, {"model": self._model.name})
        if said.status != httpx.codes.OK:
            raise _refused(UNLOAD, said)

    async def has_ended(self) -> bool:
        """Whether it has gone; a user may have had it loaded again since."""
        now = await self._look()
        return now.status in (UNLOADED, LOADING) or now.arguments != self._model.arguments

    async def load(self) -> None:
        """Have it loaded where that takes an order: elsewhere the next request for it does so."""
        if not await self._waits_for_an_order():
            return
        said = await self._server.tell(LOAD, {"model": self._model.name})
        # Somebody else may have been quicker.
        if said.status != httpx.codes.OK and (await self._look()).status not in (LOADING, LOADED):
            raise _refused(LOAD, said)

    async def _waits_for_an_order(self) -> bool:
        said = await self._server.ask(PROPS)
        try:
            return json.loads(said.body)["models_autoload"] is False
        except (ValueError, TypeError, LookupError, RecursionError):
            return False

    async def _look(self) -> RouterModel:
        said = await self._server.ask(MODELS)
        listed = router_models(said.body) if said.status == httpx.codes.OK else ()
        for each in listed:
            if each.name == self._model.name:
                return each
        raise NotEasedError(f"{self._model.name} was told to end, and its router lists it no more")


class _Runner:
    """A model of an Ollama."""

    def __init__(self, server: _Server, model: str) -> None:
        self._server = server
        self._model = model

    async def end(self) -> None:
        """Have it ended as soon as nobody waits for its answer."""
        said = await self._server.tell(GENERATE, {"model": self._model, "keep_alive": 0})
        if said.status != httpx.codes.OK:
            raise _refused(GENERATE, said)

    async def has_ended(self) -> bool:
        """Whether it has gone: one that hangs is said to be ended at once, and listed for ever."""
        said = await self._server.ask(ollama.PATH)
        seen = ollama.parse(said.body, model=self._model)
        if said.status != httpx.codes.OK or seen.reply is Reply.INVALID:
            raise NotEasedError(f"{self._model} was told to end, and {ollama.PATH} does not tell whether it did")
        return seen.reply is Reply.ASLEEP

    async def load(self) -> None:
        """Leave it to the next request for it."""


def _refused(path: str, said: Said) -> NotEasedError:
    return NotEasedError(f"{path}: status {said.status}: {error_message(said.body)}")
