"""Stand between the clients and the router's chat: refuse at once what cannot be answered, and give errors a status.

An ASGI middleware that reads the request, which the router would read as a whole too, and holds back nothing of the
answer but its head, until its first piece is there.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.middleware import Middleware

from .desk import Desk
from .words import CASE, Case, Refusal

CHAT = "/chat/completions"
AUTO = "auto"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger("benchai_liveness")


def put_in_front(desk: Desk, app: Any) -> bool:
    """Put it in front of the routes of `app`, behind its other middleware; say whether there is an app by now."""
    middleware = getattr(app, "user_middleware", None)
    if middleware is None:
        return False
    if not any(each.cls is Front for each in middleware):
        middleware.append(Middleware(Front, desk=desk))  # innermost: refusals get CORS headers
    return True


class Front:
    """The middleware."""

    def __init__(self, app: App, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let everything through but chats that cannot be answered."""
        if scope["type"] != "http" or scope["method"] != "POST" or not str(scope["path"]).endswith(CHAT):
            await self._app(scope, receive, send)
            return
        first: list[Message] = []
        body = await _read(receive, first)
        asked = _asked(body)

        async def again() -> Message:
            return first.pop(0) if first else await receive()

        if asked is None:  # not for us to judge
            await self._app(scope, again, send)
        else:
            await self._answer(asked, scope, again, send)

    async def _answer(
        self, asked: dict[str, Any], scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        case = self._case(asked)
        answer = _Answer(send, wants_stream=bool(asked.get("stream")), is_honest=self._desk.honest)
        if refusal := self._desk.refusal_of(*(self._desk.text_models() if case.is_auto else [case.model])):
            await answer.refuse(refusal)
            return
        token = CASE.set(case)
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:
            # Ours may come in wrapping: some versions of the framework answer from a task group.
            if case.refusal is None or not _holds(error, case.refusal):
                raise
            await answer.refuse(case.refusal)
        finally:
            CASE.reset(token)

    def _case(self, asked: dict[str, Any]) -> Case:
        model = asked.get("model")
        is_own = model != AUTO and self._desk.is_model(model)  # any other name means `auto` to the router
        return Case(str(model), is_auto=not is_own)


class _Answer:
    """What goes to the client. The head waits for the first piece: until then it can still become a refusal."""

    def __init__(self, send: Send, *, wants_stream: bool, is_honest: bool) -> None:
        self._send = send
        self._wants_stream = wants_stream
        self._is_honest = is_honest
        self._head: Message | None = None
        self._has_begun = False
        self._whole: bytes | None = None  # of an answer in one piece where a stream was asked for

    async def send(self, message: Message) -> None:
        """Pass one message of the router's on."""
        if message["type"] == "http.response.start":
            self._head = message
            is_json = any(name.lower() == b"content-type" and b"json" in value for name, value in message["headers"])
            if self._wants_stream and self._is_honest and is_json and message["status"] == 200:
                self._whole = b""
            return
        if self._whole is not None:
            self._whole += message.get("body", b"")
            if not message.get("more_body"):
                await self._stream(_pieces(self._whole))
            return
        if self._head and (message.get("body") or not message.get("more_body")):
            head, self._head, self._has_begun = self._head, None, True
            await self._send(head)
        if self._has_begun:
            await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Say that there will be no answer, or no more of it."""
        said = None if self._is_honest else refusal.said
        if self._has_begun:  # too late for a status
            event = _piece(said) if said is not None else {"error": _error(refusal)}
            await self._send({"type": "http.response.body", "body": _events(event)})
        elif said is not None and self._wants_stream:
            await self._stream(_events(_piece(said)))
        elif said is not None:
            await self._json(200, _completion(said), {})
        else:
            headers = {"retry-after": str(max(1, math.ceil(refusal.retry_after_s)))}
            await self._json(refusal.status, {"error": _error(refusal)}, headers)

    async def _stream(self, body: bytes) -> None:
        head = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": 200, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def _json(self, status: int, content: dict[str, Any], headers: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        more = {"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store"}
        head = [(name.encode(), value.encode()) for name, value in {**headers, **more}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})


async def _read(receive: Receive, messages: list[Message]) -> bytes:
    """Read the request, and keep its messages for the router to read."""
    body = bytearray()
    while True:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _asked(body: bytes) -> dict[str, Any] | None:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None


def _holds(error: BaseException, refusal: Refusal) -> bool:
    return error is refusal or any(_holds(each, refusal) for each in getattr(error, "exceptions", ()))


def _error(refusal: Refusal) -> dict[str, Any]:
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {"message": str(refusal), "type": kind, "code": refusal.code}


def _completion(content: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": AUTO,
        "choices": choices,
    }


def _piece(content: str) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": content}}]}


def _pieces(whole: bytes) -> bytes:
    """Return an answer in one piece as a stream, since that was asked for."""
    try:
        answer = json.loads(whole)
        content = str(answer["choices"][0]["message"]["content"])
    except (ValueError, LookupError, TypeError):
        return b"data: " + whole.replace(b"\n", b" ") + b"\n\ndata: [DONE]\n\n"
    chunk = {key: answer[key] for key in ("id", "created", "model") if key in answer}
    last = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    body: bytes = _event({**chunk, **_piece(content)}) + _events({**chunk, **last})
    return body


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _events(last: dict[str, Any]) -> bytes:
    return _event(last) + (b"" if "error" in last else b"data: [DONE]\n\n")
