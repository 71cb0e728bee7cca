"""What a working server is put through: each spell lasts about as long as it is told to, and says what users missed.

A spell returns an empty text where every user got what was asked for.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bench.askers import CLIENT, Asker, ask_and_never_read
from bench.stands import Pace, Stand
from testbed.clients import wait_until
from testbed.old_llama.faults import Fault

SHORT_TOKENS: Final = 8
PROMPT: Final = 20
QUEUE: Final = 4
VAST: Final = 28_000
PAUSE_S: Final = 1.0
AT_WORK_S: Final = 1.0
ASLEEP_AFTER_S: Final = 20  # as the sleeper's flags say ...
ASLEEP_WITHIN_S: Final = 15.0  # ... and so much later it must be
STUCK_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One spell: which server, how fast it is at its share of a core, for how long, and what is random about it."""

    stand: Stand
    pace: Pace
    seconds: float
    chance: random.Random

    def asker(self, *, prompt: float, answer: float, **more: object) -> Asker:
        """Start a user whose request takes so many seconds of prefill and of generating."""
        made = Asker(
            self.stand.url,
            prompt=max(PROMPT, round(prompt * self.pace.prefilled)),
            answer=max(1, round(answer * self.pace.generated)),
            chance=self.chance,
            headers=self.stand.headers,
            **more,
        )
        made.start()
        return made


def idle(occasion: Occasion) -> str:
    """Ask nothing."""
    time.sleep(occasion.seconds)
    return ""


def short(occasion: Occasion) -> str:
    """Ask for one short answer after the other."""
    until = time.monotonic() + occasion.seconds
    problems = []
    while time.monotonic() < until:
        tokens = SHORT_TOKENS / occasion.pace.generated
        problems.append(occasion.asker(prompt=0, answer=tokens).problem())
        time.sleep(occasion.chance.uniform(0.0, PAUSE_S))
    return _first(problems)


def generating(occasion: Occasion) -> str:
    """Ask for one long answer."""
    return occasion.asker(prompt=0, answer=occasion.seconds).problem()


def prefill(occasion: Occasion) -> str:
    """Send one long prompt."""
    return occasion.asker(prompt=occasion.seconds, answer=0).problem()


def vast(occasion: Occasion) -> str:
    """Send a prompt of tens of thousands of tokens, each of which takes longer than the one before."""
    user = Asker(occasion.stand.url, prompt=VAST, answer=1, chance=occasion.chance)
    user.start()
    return user.problem()


def queueing(occasion: Occasion) -> str:
    """Have several users wait for the only slot."""
    users = [occasion.asker(prompt=0, answer=occasion.seconds / QUEUE) for _ in range(QUEUE)]
    return _first(user.problem() for user in users)


def unread(occasion: Occasion) -> str:
    """Ask for a long answer and never read it."""
    tokens = round(occasion.seconds * occasion.pace.generated)
    return ask_and_never_read(occasion.stand.url, answer=tokens, for_s=occasion.seconds)


def some_slots(occasion: Occasion) -> str:
    """Keep two of three slots at work and ask for short answers beside them."""
    share = occasion.seconds / 2  # two at a time take twice as long
    users = [occasion.asker(prompt=0, answer=share) for _ in range(2)]
    beside = []
    while any(user.is_alive() for user in users):
        beside.append(occasion.asker(prompt=0, answer=SHORT_TOKENS / occasion.pace.generated).problem())
        time.sleep(occasion.chance.uniform(PAUSE_S, 5 * PAUSE_S))
    return _first([*(user.problem() for user in users), *beside])


def loading(occasion: Occasion) -> str:
    """Start it anew from a slow disk: it says for long that it is loading its model."""
    occasion.stand.start_anew("--load-s", str(occasion.seconds), ready=False)
    return _served_when_ready(occasion)


def starting(occasion: Occasion) -> str:
    """Start it anew with next to no CPU: for long nothing listens, then it loads its model."""
    occasion.stand.start_anew(ready=False, cpus=occasion.stand.make.cpus)
    return _served_when_ready(occasion)


def sleeping(occasion: Occasion) -> str:
    """Have it work, then let it fall asleep as it is set to, and watch that it stays so.

    The work is a second of CPU, as a user's is at least. What costs less than a health check is not seen from outside.
    """
    answer_s = AT_WORK_S / occasion.stand.make.cpus
    if problem := occasion.asker(prompt=0, answer=answer_s).problem():
        return problem
    woken = time.monotonic()
    while not _sleeps(occasion.stand):
        if time.monotonic() > woken + ASLEEP_AFTER_S + ASLEEP_WITHIN_S:
            return f"still awake {time.monotonic() - woken:.0f} s after its last request"
        time.sleep(PAUSE_S)
    while time.monotonic() < woken + occasion.seconds:
        if not _sleeps(occasion.stand):
            return "woken although nobody asked for anything"
        time.sleep(PAUSE_S)
    return ""


def misconfigured(occasion: Occasion) -> str:
    """Leave it alone: it lives, and something about it is wrong that no restart can mend."""
    return idle(occasion)


def stuck_slot(occasion: Occasion) -> str:
    """Let one of its slots get stuck for good, with the others serving users."""
    occasion.stand.suffer(Fault.STUCK_SLOT)
    occasion.asker(prompt=0, answer=1)  # whose request it is gets nothing, ever
    wait_until(lambda: _busy_slots(occasion.stand) == 1, "one slot is stuck", within_s=STUCK_WITHIN_S)
    return short(occasion)


def _served_when_ready(occasion: Occasion) -> str:
    occasion.stand.wait_ready()
    return occasion.asker(prompt=0, answer=SHORT_TOKENS / occasion.pace.generated).problem()


def _sleeps(stand: Stand) -> bool:
    reply = CLIENT.get(f"{stand.url}/props")
    return bool(reply.raise_for_status().json()["is_sleeping"])


def _busy_slots(stand: Stand) -> int:
    slots = CLIENT.get(f"{stand.url}/slots").raise_for_status().json()
    return sum(slot["is_processing"] for slot in slots)


def _first(problems: Iterable[str]) -> str:
    return next((problem for problem in problems if problem), "")
