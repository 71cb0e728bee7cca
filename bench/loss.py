"""What a saturated server loses by being supervised: first-token time and tokens per second, as ratios to its twins.

Three servers, each with a user who never pauses, work at the same time, so that whatever else the machine does hits all
alike. Each is the supervised one for a third of the time, so that what they differ in by themselves falls out. The two
that nobody supervises at the moment are the noise: they too differ, and by nothing.
"""

import json
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import docker
import httpx

from bench.twins import Server, running, supervised
from testbed import tiny_model
from testbed.clients import chat_body
from testbed.tiny_model import WORDS

SERVERS: Final = ("saturated-a", "saturated-b", "saturated-c")
FLAGS: Final = ("-np", "1", "-c", "8192", "-t", "1", "--metrics", "--cache-ram", "64")
CPUS: Final = 0.3  # of a core for each: then what else the machine does takes little from them
ROUNDS: Final = 6  # for each supervised server in turn; a round takes about 8 s of saturation
ASK_TIMEOUT_S: Final = 120.0
RESAMPLES: Final = 2000
CONFIDENCE: Final = 0.95


class Role(StrEnum):
    """What a server is while it answers."""

    SUPERVISED = "supervised"
    ALONE = "alone"
    ALONE_TOO = "alone too"


class Kind(StrEnum):
    """What a user asks for."""

    SHORT = "short"
    LONG = "long"


TOKENS: Final = {Kind.SHORT: (20, 16), Kind.LONG: (100, 100)}  # words of the prompt, tokens of the answer
ROUND: Final = (Kind.SHORT, Kind.SHORT, Kind.SHORT, Kind.LONG)


class Figure(StrEnum):
    """What a user feels."""

    FIRST = "first-token time"
    RATE = "tokens per second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as its user saw it; `problem` is empty where it came whole."""

    role: Role
    round: int
    kind: Kind
    first_token_s: float
    tokens_per_s: float
    problem: str = ""

    def figure(self, figure: Figure) -> float:
        """Return one of its figures."""
        return self.first_token_s if figure is Figure.FIRST else self.tokens_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The median of some ratios, and where it lies with a confidence of 95 % (bootstrap)."""

    low: float
    median: float
    high: float

    @property
    def half_width(self) -> float:
        """How far off the median may be."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One figure of one kind of request: supervised to unsupervised, and unsupervised to unsupervised."""

    kind: Kind
    figure: Figure
    ratio: Interval
    noise: Interval

    @property
    def beyond_noise(self) -> float:
        """By how much of 1 it is surely worse than its twin, and worse than two twins differ; 0: it is not.

        The intervals of both must be clear of one another and of 1.
        """
        if self.figure is Figure.FIRST:
            return max(0.0, self.ratio.low - max(1.0, self.noise.high))
        return max(0.0, min(1.0, self.noise.low) - self.ratio.high)


def measure(client: docker.DockerClient, *, seed: int) -> list[Answer]:
    """Let each server be the supervised one for a while, its twins at work beside it, and return all answers."""
    model = tiny_model.ensure(shape=tiny_model.SLOW)
    servers = [Server(name=name, model=model, flags=FLAGS, cpus=CPUS) for name in SERVERS]
    answers: list[Answer] = []
    with running(client, servers) as urls, ThreadPoolExecutor(len(SERVERS)) as pool:
        _together(pool, dict(zip(Role, urls.values(), strict=True)), [-1], seed)  # the first answers of all are slow
        for turn, name in enumerate(SERVERS):
            twins = SERVERS[turn + 1 :] + SERVERS[:turn]
            roles = dict(zip(Role, [urls[each] for each in (name, *twins)], strict=True))
            with supervised({name: urls[name]}):
                answers += _together(pool, roles, range(turn * ROUNDS, (turn + 1) * ROUNDS), seed)
    return answers


def losses(answers: Sequence[Answer], *, seed: int) -> list[Loss]:
    """Return every figure of every kind of request, from the ratios of each round."""
    return [
        Loss(
            kind=kind,
            figure=figure,
            ratio=interval(_ratios(answers, Role.SUPERVISED, kind, figure), seed=seed),
            noise=interval(_ratios(answers, Role.ALONE_TOO, kind, figure), seed=seed),
        )
        for kind in Kind
        for figure in Figure
    ]


def interval(ratios: Sequence[float], *, seed: int) -> Interval:
    """Return the median of `ratios`, and the 95 % interval of medians of as many drawn from them again and again."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    outside = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Interval(low=medians[outside], median=statistics.median(ratios), high=medians[-outside - 1])


def _ratios(answers: Sequence[Answer], role: Role, kind: Kind, figure: Figure) -> list[float]:
    """Return, for each round, the median of one role as a ratio to that of the first unsupervised server."""

    def median(of: Role, number: int) -> float:
        mine = [each for each in answers if (each.role, each.round, each.kind, each.problem) == (of, number, kind, "")]
        return statistics.median(each.figure(figure) for each in mine)

    return [median(role, number) / median(Role.ALONE, number) for number in sorted({each.round for each in answers})]


def _together(pool: ThreadPoolExecutor, roles: Mapping[Role, str], rounds: Sequence[int], seed: int) -> list[Answer]:
    """Give each server its user, the same requests in the same order, and wait for all of them."""
    users = [pool.submit(_use, role, url, rounds, seed) for role, url in roles.items()]
    return [answer for user in users for answer in user.result()]


def _use(role: Role, url: str, rounds: Sequence[int], seed: int) -> list[Answer]:
    answers = []
    for number in rounds:
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - repeatable, not secret
        for kind in ROUND:
            words, tokens = TOKENS[kind]
            came, problem = _ask(url, " ".join(chance.choices(WORDS, k=words)), tokens)
            answers.append(
                Answer(
                    role=role,
                    round=number,
                    kind=kind,
                    first_token_s=came[0] if came else 0.0,
                    tokens_per_s=(len(came) - 1) / (came[-1] - came[0]) if len(came) > 1 else 0.0,
                    problem=problem,
                )
            )
    return answers


def _ask(url: str, text: str, tokens: int) -> tuple[list[float], str]:
    """Return after how many seconds each token came, and what was wrong with the answer."""
    body = chat_body(text, max_tokens=tokens, stream=True)
    began, came = time.perf_counter(), []  # type: float, list[float]
    address = f"{url}/v1/chat/completions"
    try:
        with httpx.stream("POST", address, json=body, timeout=ASK_TIMEOUT_S, trust_env=False) as reply:
            reply.raise_for_status()
            came.extend(time.perf_counter() - began for line in reply.iter_lines() if _has_content(line))
    except httpx.HTTPError as error:
        return came, f"{type(error).__name__}: {error}"
    return came, "" if len(came) == tokens else f"{len(came)} of {tokens} tokens"


def _has_content(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    choices = json.loads(line.removeprefix("data: ")).get("choices")
    return bool(choices and choices[0]["delta"].get("content"))
