"""Servers that are busy for a minute and a half and more, and must be left alone: are they, and is the answer whole?"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from bench import peer
from bench.ordeal import Subject
from bench.report import keep_log
from bench.users import TOKENS, User, Work
from bench.watch import Watch, our_liveness
from bench.world import PREFIX, Options, our_stack
from testbed import tiny_model
from testbed.clients import chat_body
from testbed.engine import Found
from testbed.servers import ContainerServers
from testbed.stack import MODELS, Stack

SPELL_S: Final = 110.0  # what is aimed at ...
AT_LEAST_S: Final = 90.0  # ... and what counts
ROUNDS: Final = 2
SETTLE_S: Final = 3.0
WORK: Final = dict(zip(MODELS, [Work.GENERATING, Work.PREFILL] * 2, strict=True))
PEERS: Final = {f"{peer.PEER}generating": Work.GENERATING, f"{peer.PEER}prefill": Work.PREFILL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One busy spell of one server."""

    who: str
    work: Work
    server: str
    took_s: float
    problem: str  # of the user's answer; empty: it came whole
    restarts: int
    told_out: int  # times that it was called not routable meanwhile
    told_out_s: float


def spells(found: Found, options: Options) -> list[Spell]:
    """Keep our four servers and two of the peer's busy, twice, and say how it went."""
    slow = tiny_model.ensure(shape=tiny_model.SLOW)
    with (
        ThreadPoolExecutor() as pool,
        our_stack(found, models=dict.fromkeys(MODELS, slow)) as stack,
        peer.servers_of(found) as theirs,
        peer.servers_of(found) as seen,
        peer.Autoheal(found) as care,
        Watch(our_liveness(stack)) as our_watch,
        Watch(partial(peer.health_of, seen, list(PEERS)), every_s=peer.LOOK_EVERY_S) as their_watch,
    ):
        their_urls = {name: peer.run(theirs, name, slow) for name in PEERS}
        _slow_down(stack, theirs)
        ours = [(Subject(container=PREFIX + name, url=stack.url(name), name=name), WORK[name]) for name in MODELS]
        peers = [(Subject(container=name, url=their_urls[name], name=name), PEERS[name]) for name in PEERS]
        done: list[Spell] = []
        for number in range(ROUNDS):
            for name in PEERS:
                peer.wait_healthy(theirs, name, care)
            time.sleep(SETTLE_S)
            seed = random.Random(f"{options.seed} {number}").randrange(2**32)  # noqa: S311 - repeatable, not secret
            running = pool.submit(_round, "peer", peers, their_watch, seed=seed)
            done += [*_round("ours", ours, our_watch, seed=seed + 1), *running.result()]
        keep_log("recovery-busy-daemon.log", stack.log())
    return done


def _round(who: str, subjects: Sequence[tuple[Subject, Work]], watch: Watch, *, seed: int) -> list[Spell]:
    """Let each server have a user at the same time, and wait until all have been served or failed."""
    users = [User(subject.url, work, seed=seed + 7 * index) for index, (subject, work) in enumerate(subjects)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    time.sleep(SETTLE_S)  # a restart that comes too late for the user is one all the same
    return list(_judged(who, subjects, users, watch))


def _judged(who: str, subjects: Sequence[tuple[Subject, Work]], users: Sequence[User], watch: Watch) -> Iterator[Spell]:
    for (subject, work), user in zip(subjects, users, strict=True):
        lived = user.experience
        until = lived.ended + SETTLE_S
        told_out, told_out_s = watch.spells_out(subject.name, since=lived.began, until=lived.ended)
        yield Spell(
            who=who,
            work=work,
            server=subject.name,
            took_s=round(lived.took_s, 2),
            problem=lived.problem,
            restarts=max(0, watch.lives(subject.name, since=lived.began, until=until) - 1),
            told_out=told_out,
            told_out_s=round(told_out_s, 2),
        )


def _slow_down(stack: Stack, theirs: ContainerServers) -> None:
    """Give each server so little of a core that its work takes `SPELL_S`, whatever machine this is."""
    assert stack.servers is not None, "the peer has no other way than containers"  # noqa: S101
    shares = _shares(stack.url(next(iter(MODELS))))
    for name, work in WORK.items():
        stack.servers.throttle(PREFIX + name, shares[work])
    for name, work in PEERS.items():
        theirs.throttle(name, shares[work])


def _shares(url: str) -> Mapping[Work, float]:
    """Measure what a whole core can do, and return the share of one that takes `SPELL_S` for each kind of work."""
    body = chat_body(" ".join(tiny_model.WORDS * 6), max_tokens=60)
    reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60.0, trust_env=False).raise_for_status()
    timings = reply.json()["timings"]
    rates = {Work.GENERATING: timings["predicted_per_second"], Work.PREFILL: timings["prompt_per_second"]}
    return {work: max(TOKENS[work]) / SPELL_S / rate for work, rate in rates.items()}
