"""Whoever may only read must not keep from the history what has to be written there."""

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from supervisor.publish.answers import Refusal
from supervisor.publish.turnstile import AT_ONCE, Turnstile


class App:
    """As much of an application as a request knows."""

    def __init__(self, *, trusted: bool) -> None:
        self.state = type("State", (), {"trusted": trusted})()


class Reading:
    """A question that takes as long as a test wants."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.turnstile = Turnstile()
        self.answer = self.turnstile.through(self._answer)

    async def _answer(self, _: Request) -> Response:
        await self.over.wait()
        return PlainTextResponse("told")

    def ask(self, *, trusted: bool = False) -> "asyncio.Task[Response]":
        async def asking() -> Response:
            return await self.answer(Request({"type": "http", "app": App(trusted=trusted)}))

        return asyncio.create_task(asking())


async def outcome(task: "asyncio.Task[Response]") -> Any:
    try:
        return (await task).status_code
    except Refusal as refusal:
        return refusal.status_code, refusal.code, json.dumps(dict(refusal.headers or {}))


async def test_few_read_at_once_and_the_rest_is_told_to_come_back() -> None:
    reading = Reading()
    inside = [reading.ask() for _ in range(AT_ONCE)]
    await asyncio.sleep(0)

    refused = await outcome(reading.ask())
    reading.over.set()

    assert refused == (503, "Busy", '{"Retry-After": "1"}')
    assert [await outcome(task) for task in inside] == [200] * AT_ONCE
    assert await outcome(reading.ask()) == 200


async def test_an_operator_by_the_socket_is_kept_waiting_by_no_crowd() -> None:
    reading = Reading()
    inside = [reading.ask() for _ in range(AT_ONCE)]
    await asyncio.sleep(0)

    operator = reading.ask(trusted=True)
    reading.over.set()

    assert await outcome(operator) == 200
    await asyncio.gather(*inside)
