"""The settings over HTTP: how the file differs from what we run by, and a reload. For those who may change things."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.errors import SettingsError
from supervisor.publish.answers import Refusal, answer_document


class Rereads(Protocol):
    """Reads the settings anew; `names` are the targets that it is about, none of them: everything.

    Raises:
        SettingsError: the file cannot be used, and nothing has changed.
        Refusal: there is no such target.
    """

    async def compare(self, names: Sequence[str]) -> dict[str, Any]:
        """Return what would change."""
        ...

    async def update(self, names: Sequence[str]) -> dict[str, Any]:
        """Change it, and return what has changed."""
        ...


class Reloads:
    """Answers the requests about settings."""

    def __init__(self, rereads: Rereads, *, authorize: Callable[[Request], None]) -> None:
        """`authorize` lets in whoever may change things, and raises for all others."""
        self._rereads = rereads
        self._authorize = authorize

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("/v1/settings/difference", self._difference),
            Route("/v1/reload", self._reload, methods=["POST"]),
        ]

    async def _difference(self, request: Request) -> Response:
        return await self._answer(request, self._rereads.compare)

    async def _reload(self, request: Request) -> Response:
        return await self._answer(request, self._rereads.update)

    async def _answer(self, request: Request, ask: Callable[[Sequence[str]], Awaitable[dict[str, Any]]]) -> Response:
        self._authorize(request)  # the file's values are none of everybody's business
        try:
            told = await ask(request.query_params.getlist("target"))
        except SettingsError as error:
            raise Refusal(422, "BadSettings", str(error)) from error
        return answer_document(told)
