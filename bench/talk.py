"""Conversations with pauses, held with a supervised server and with its twin: how much must the server read again?

Each turn repeats all that was said, and a server that still has it reads only what is new. Both servers hear and say
the same, word for word, so whatever the supervised one reads beyond its twin was lost to us.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from bench.twins import Server
from testbed import tiny_model
from testbed.clients import chat_body
from testbed.tiny_model import WORDS

PAUSES_S: Final = (3.0, 20.0, 20.0, 40.0)  # between turns; a canary is due after 15 s without other proof
FIRST_WORDS, MORE_WORDS, ANSWER_TOKENS = 400, 20, 8
ASK_TIMEOUT_S: Final = 60.0
ALONE: Final = "-alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where conversations are held: the server's flags, and how many go on at once."""

    name: str
    what: str
    flags: Sequence[str]
    conversations: int


SETTINGS: Final = (
    Setting(
        name="talk",
        what="one slot, no RAM cache",
        flags=("-np", "1", "-c", "4096", "--cache-ram", "0"),
        conversations=1,
    ),
    Setting(
        name="talk-cached",
        what="one slot, RAM cache",
        flags=("-np", "1", "-c", "4096", "--cache-ram", "64"),
        conversations=1,
    ),
    Setting(
        name="talk-two",
        what="two slots, no RAM cache",
        flags=("-np", "2", "-c", "8192", "--cache-ram", "0"),
        conversations=2,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn: the pause before it, and the tokens of the prompt that each server really read."""

    pause_s: float
    prompt_tokens: int
    read: int
    read_alone: int

    @property
    def read_again(self) -> int:
        """How much more the supervised server read."""
        return max(0, self.read - self.read_alone)


@dataclass(slots=True)
class _Talk:
    """One conversation with one server."""

    url: str
    said: list[dict[str, str]] = field(default_factory=list)

    def say(self, text: str) -> tuple[int, int]:
        """Say `text`; return the tokens of the whole prompt, and those of them that the server read."""
        self.said.append({"role": "user", "content": text})
        body = chat_body(max_tokens=ANSWER_TOKENS, temperature=0) | {"messages": self.said}
        reply = httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=ASK_TIMEOUT_S, trust_env=False)
        answer: dict[str, Any] = reply.raise_for_status().json()
        self.said.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
        return int(answer["usage"]["prompt_tokens"]), int(answer["timings"]["prompt_n"])


def servers() -> list[Server]:
    """Return a supervised server and its twin for each setting."""
    model = tiny_model.ensure()
    return [
        Server(name=each.name + suffix, model=model, flags=each.flags) for each in SETTINGS for suffix in ("", ALONE)
    ]


def hold(setting: Setting, urls: Mapping[str, str], *, seed: int) -> list[Turn]:
    """Hold the conversations of one setting, turn by turn with both servers, and say what each turn made them read."""
    chance = random.Random(f"{seed} {setting.name}")  # noqa: S311 - repeatable, not secret
    pairs = [(_Talk(urls[setting.name]), _Talk(urls[setting.name + ALONE])) for _ in range(setting.conversations)]
    turns: list[Turn] = []
    for pause_s in (0.0, *PAUSES_S):
        time.sleep(pause_s)
        for watched, alone in pairs:
            text = " ".join(chance.choices(WORDS, k=MORE_WORDS if pause_s else FIRST_WORDS))
            (prompt_tokens, read), (_, read_alone) = watched.say(text), alone.say(text)
            turns.append(Turn(pause_s=pause_s, prompt_tokens=prompt_tokens, read=read, read_alone=read_alone))
    return turns
