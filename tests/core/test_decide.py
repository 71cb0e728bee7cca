"""What follows from a step, and what is asked next."""

from dataclasses import replace

import pytest

from supervisor.core.decide import can_be_asked, look_every_s, wants_canary, wants_cpu
from supervisor.core.observations import CanaryEnded, CanarySent, Reply
from supervisor.core.policy import Policy
from supervisor.core.state import Phase
from tests.core.timeline import FROZEN_IDLE, IDLE, KILLED, WORKING, Moment, Played

POLICY = Policy()


def test_an_answer_is_proof_enough_for_a_while() -> None:
    played = Played().play([IDLE])

    asked = [wants_canary(played.evidence, policy=POLICY, now=played.now + later_s) for later_s in (1.0, 14.9, 15.0)]

    assert asked == [False, False, True]


def test_one_canary_is_out_at_most() -> None:
    played = Played().play([IDLE] * 15 + [Moment(canary=None)] * 30)

    assert played.evidence.canary_since is not None
    assert not wants_canary(played.evidence, policy=POLICY, now=played.now + 1e6)


def test_no_canary_queues_behind_users_while_their_work_moves() -> None:
    played = Played().play([IDLE, *[WORKING] * 100])

    assert not wants_canary(played.evidence, policy=POLICY, now=played.now)


def test_silence_brings_a_canary_and_the_cpu_question_at_once() -> None:
    played = Played().play([*[IDLE] * 5, FROZEN_IDLE])

    assert played.evidence.canary_since == played.now
    assert wants_cpu(played.evidence, policy=POLICY, now=played.now)


def test_a_bad_answer_brings_the_next_canary_soon() -> None:
    played = Played().play([IDLE] * 15 + [Moment(canary=Reply.FAILED)])

    asked = [wants_canary(played.evidence, policy=POLICY, now=played.now + later_s) for later_s in (1.0, 2.0)]

    assert asked == [False, True]


@pytest.mark.parametrize("reply", [Reply.RESET, Reply.REFUSED, Reply.NOT_RUN, Reply.LOADING])
def test_canaries_that_come_back_at_once_are_not_sent_at_once_again(reply: Reply) -> None:
    played = Played().play([IDLE] * 15)
    sent = 0
    for _ in range(1000):  # turns, all within one second
        played.now += 0.001
        if wants_canary(played.evidence, policy=POLICY, now=played.now):
            sent += 1
            attempt = played.evidence.canary_attempt + 1
            played._see(CanarySent(instance="life-1", attempt=attempt))
            played._see(CanaryEnded(instance="life-1", attempt=attempt, reply=reply))

    assert sent <= 1


def test_a_server_at_rest_is_asked_for_no_cpu() -> None:
    played = Played().play([IDLE] * 5)

    assert not wants_cpu(played.evidence, policy=POLICY, now=played.now)


def test_the_dead_are_not_asked() -> None:
    played = Played().play([IDLE])

    dead = replace(played.evidence, engine=Played()._engine(KILLED))  # type: ignore[arg-type]

    assert can_be_asked(played.evidence)
    assert not can_be_asked(dead)


@pytest.mark.parametrize("phase", Phase)
def test_doubt_looks_closer(phase: Phase) -> None:
    expected = {Phase.SUSPECT: 1.0, Phase.BACKOFF: 1.0, Phase.STARTING: 0.5, Phase.RESTARTING: 0.5}.get(phase, 2.0)

    assert look_every_s(phase, policy=POLICY) == expected


def test_a_server_that_has_just_come_up_is_asked_at_once() -> None:
    played = Played().play([Moment(counters=Reply.RESET, canary=Reply.RESET), Moment(canary=None)])

    assert played.evidence.canary_since == played.now
