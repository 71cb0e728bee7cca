"""The callers' side of a model server: free ports, waiting for readiness, one answer, and clients that keep it busy."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx

LOOPBACK: Final = "127.0.0.1"
POLL_S: Final = 0.02
_given: Final[set[int]] = set()


def free_port() -> int:
    """Return a port of the loopback that nothing listens on at the moment, and that was not given to anybody here."""
    with contextlib.ExitStack() as held:
        while True:
            listener = held.enter_context(socket.socket())
            listener.bind((LOOPBACK, 0))
            port = int(listener.getsockname()[1])
            if port not in _given:  # several ask at once, and listen only later
                _given.add(port)
                return port


def wait_until(true: Callable[[], bool], what: str, *, within_s: float = 30.0) -> None:
    """Poll until `true()`.

    Raises:
        TimeoutError: it did not become true within `within_s`; the message says `what`.
    """
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:.0f} s: {what}")
        time.sleep(POLL_S)


def wait_ready(url: str, *, within_s: float = 60.0, lives: Callable[[], bool] = lambda: True) -> None:
    """Wait until the server at `url` has its model in memory (`/health` says 200).

    Raises:
        TimeoutError: not within `within_s`.
        ChildProcessError: it is dead, says `lives()`; waiting on would be in vain.
    """
    with httpx.Client(timeout=2.0, trust_env=False) as client:

        def healthy() -> bool:
            if not lives():
                raise ChildProcessError(f"the server for {url} has ended before it was ready")
            try:
                return client.get(f"{url}/health").is_success
            except httpx.HTTPError:
                return False

        wait_until(healthy, f"{url}/health says 200", within_s=within_s)


def chat_body(text: str = "say hi", *, max_tokens: int = 8, **more: Any) -> dict[str, Any]:
    """Return the body of a chat completion request."""
    return {"messages": [{"role": "user", "content": text}], "max_tokens": max_tokens, **more}


def chat(url: str, text: str = "say hi", *, max_tokens: int = 8, timeout_s: float = 30.0, **more: Any) -> str:
    """Ask for a chat completion and return its text.

    Raises:
        httpx.HTTPError: no answer in time, or not status 200.
    """
    body = chat_body(text, max_tokens=max_tokens, **more)
    reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=timeout_s, trust_env=False)
    return str(reply.raise_for_status().json()["choices"][0]["message"]["content"])


class Busy:
    """A client that keeps one slot generating `tokens` tokens and reads its stream in a thread of its own.

    `received` counts what came, `ended` is True once the answer is complete, `problem` holds what went wrong. Leaving
    the `with` block hangs up.
    """

    def __init__(self, url: str, *, tokens: int, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        self.received = 0
        self.ended = False
        self.problem: str | None = None
        self._hung_up = threading.Event()
        self._socket: socket.socket | None = None
        self._client = httpx.Client(timeout=httpx.Timeout(None), headers=headers, trust_env=False)
        self._body = chat_body("keep going", max_tokens=tokens, stream=True, **more)
        self._thread = threading.Thread(target=self._read, args=(url,), name=f"busy {url}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()

    def wait_first_token(self, *, within_s: float = 30.0) -> None:
        """Wait until tokens flow: only then is a slot taken."""
        wait_until(lambda: self.received > 0 or self.problem is not None, "a first token", within_s=within_s)
        if self.problem:
            raise RuntimeError(f"the busy client got no answer: {self.problem}")

    def wait_ended(self, *, within_s: float) -> None:
        """Wait until the answer is complete or has failed."""
        self._thread.join(within_s)
        if self._thread.is_alive():
            raise TimeoutError(f"the answer did not end within {within_s:.0f} s")

    def hang_up(self) -> None:
        """Let go of the connection, whatever it is doing; a frozen server would hold a polite client for ever."""
        self._hung_up.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it may be closed already
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)
        self._client.close()

    def _read(self, url: str) -> None:
        try:
            with self._client.stream("POST", f"{url}/v1/chat/completions", json=self._body) as reply:
                self._socket = reply.extensions["network_stream"].get_extra_info("socket")
                reply.raise_for_status()
                for line in reply.iter_lines():
                    self._take(line)
        except httpx.HTTPError as problem:
            if not self._hung_up.is_set():
                self.problem = f"{type(problem).__name__}: {problem}"

    def _take(self, line: str) -> None:
        if line == "data: [DONE]":
            self.ended = True
        elif line.startswith("data: ") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
            self.received += 1


def busy(url: str, *, tokens: int = 1_000_000, headers: Mapping[str, str] | None = None, **more: Any) -> Busy:
    """Return a client, to be used with `with`, that keeps one slot of `url` generating; `more` goes into its body."""
    return Busy(url, tokens=tokens, headers=headers, **more)
