"""A user with one long request: either the prompt is long or the answer is, and all of it is wanted."""

import json
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import httpx

from testbed.clients import chat_body
from testbed.tiny_model import WORDS

GIVE_UP_S: Final = 420.0


class Work(StrEnum):
    """What keeps a server busy."""

    GENERATING = "generating"
    PREFILL = "long prefill"


TOKENS: Final = {Work.GENERATING: (20, 2000), Work.PREFILL: (4000, 20)}  # of the prompt, of the answer


@dataclass(slots=True, kw_only=True)
class Experience:
    """How it went for the user; `problem` is empty where the answer is whole."""

    began: float
    ended: float
    problem: str

    @property
    def took_s(self) -> float:
        """How long the user waited, until the end or the problem."""
        return self.ended - self.began


class User(threading.Thread):
    """Asks `url` once, reads the stream in a thread of its own, and counts what came."""

    def __init__(self, url: str, work: Work, *, seed: int) -> None:
        super().__init__(name=f"user of {url}", daemon=True)
        prompt, self._wanted = TOKENS[work]
        # Never the same prompt twice: a server keeps what it has read, and would not read it again.
        text = " ".join(random.Random(seed).choices(WORDS, k=prompt))  # noqa: S311 - a prompt, not a secret
        self._body = chat_body(text, max_tokens=self._wanted, stream=True, stream_options={"include_usage": True})
        self._url = f"{url}/v1/chat/completions"
        self.experience = Experience(began=time.monotonic(), ended=time.monotonic(), problem="not asked yet")

    def run(self) -> None:
        """Ask, and read to the end."""
        self.experience.began = time.monotonic()
        try:
            with httpx.stream("POST", self._url, json=self._body, timeout=GIVE_UP_S, trust_env=False) as reply:
                reply.raise_for_status()
                self.experience.problem = self._missing(reply.iter_lines())
        except (httpx.HTTPError, ValueError) as error:
            self.experience.problem = f"{type(error).__name__}: {error}"
        self.experience.ended = time.monotonic()

    def _missing(self, lines: Iterable[str]) -> str:
        """Return what the answer lacks."""
        tokens, is_done = 0, False
        for line in lines:
            if line == "data: [DONE]":
                is_done = True
            elif line.startswith("data: "):
                tokens = _completion_tokens(json.loads(line.removeprefix("data: "))) or tokens
        if not is_done:
            return "the stream broke off"
        return "" if tokens == self._wanted else f"{tokens} of {self._wanted} tokens"


def _completion_tokens(chunk: dict[str, Any]) -> int | None:
    if "error" in chunk:
        raise ValueError(str(chunk["error"]))
    usage = chunk.get("usage")
    return None if usage is None else int(usage["completion_tokens"])
