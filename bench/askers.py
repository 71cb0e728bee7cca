"""Users of any size: a long prompt, a long answer, both, or an answer that is asked for and never read."""

import json
import random
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from bench.users import Experience
from testbed.clients import chat_body
from testbed.tiny_model import WORDS

PATIENCE_S: Final = 1800.0  # of a user of a server that is throttled to a crawl
MANY: Final = httpx.Limits(max_connections=None, max_keepalive_connections=0)
# One for all: making a client costs more CPU than the servers here have.
CLIENT: Final = httpx.Client(timeout=PATIENCE_S, trust_env=False, limits=MANY)


class Asker(threading.Thread):
    """Asks `url` once, in a thread of its own, for an answer of so many tokens to a prompt of so many words."""

    def __init__(self, url: str, *, prompt: int, answer: int, chance: random.Random, **more: Any) -> None:
        super().__init__(name=f"user of {url}", daemon=True)
        # Never the same prompt twice: a server keeps what it has read, and would not read it again.
        text = " ".join(chance.choices(WORDS, k=prompt))
        self._wanted = answer
        self._headers = more.pop("headers", None)
        options = {"stream": True, "stream_options": {"include_usage": True}, **more}
        self._body = chat_body(text, max_tokens=answer, **options)
        self._url = f"{url}/v1/chat/completions"
        self.experience = Experience(began=time.monotonic(), ended=time.monotonic(), problem="not answered")

    def run(self) -> None:
        """Ask, and read to the end."""
        self.experience.began = time.monotonic()
        try:
            with CLIENT.stream("POST", self._url, json=self._body, headers=self._headers) as reply:
                self.experience.problem = self._missing(reply.status_code, reply.iter_lines())
        except (httpx.HTTPError, ValueError) as error:
            self.experience.problem = f"{type(error).__name__}: {error}"
        self.experience.ended = time.monotonic()

    def problem(self) -> str:
        """Wait for the end and return what the answer lacked."""
        self.join()
        return self.experience.problem

    def _missing(self, status: int, lines: Iterable[str]) -> str:
        if status != httpx.codes.OK:
            return f"status {status}"
        tokens, is_done = 0, False
        for line in lines:
            if line == "data: [DONE]":
                is_done = True
            elif line.startswith("data: "):
                usage = json.loads(line.removeprefix("data: ")).get("usage")
                tokens = usage["completion_tokens"] if usage else tokens
            elif line.startswith("error: "):
                raise ValueError(line)
        if not is_done:
            return "the stream broke off"
        return "" if tokens == self._wanted else f"{tokens} of {self._wanted} tokens"


def ask_and_never_read(url: str, *, answer: int, for_s: float) -> str:
    """Ask for a streamed answer and read nothing of it, then look whether anything came at all."""
    where = urlsplit(url)
    body = json.dumps(chat_body("never read", max_tokens=answer, stream=True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((where.hostname or "", where.port or 0)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head + body)
        time.sleep(for_s)
        connection.settimeout(5.0)
        try:
            status = connection.recv(64).split(b"\r\n")[0].decode()
        except OSError as error:
            return f"{type(error).__name__}: {error}"
    return "" if status == "HTTP/1.1 200 OK" else f"answered {status!r}"
