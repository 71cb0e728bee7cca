"""Starting, loading, and the words for how it ended."""

from dataclasses import replace

import pytest

from supervisor.core.events import Verb
from supervisor.core.observations import EngineSeen, Life, Reply
from supervisor.core.policy import Policy
from supervisor.core.verdict import Verdict, judge
from tests.core.timeline import IDLE, Moment, Played

POLICY = Policy()
LOADING = Moment(counters=Reply.LOADING, canary=Reply.LOADING)
NOT_BOUND = Moment(counters=Reply.RESET, canary=Reply.RESET)


def test_nothing_is_held_against_a_server_while_it_loads_up_to_its_startup_limit() -> None:
    played = Played().play([NOT_BOUND] * 5 + [LOADING] * 280)
    patient = played.state.judgement.verdict

    played.play([LOADING] * 20)

    assert patient is Verdict.WARMING
    assert [act.verb for _, act in played.acts] == [Verb.RESTART]


def test_a_server_that_loads_again_and_never_ends_is_restarted_too() -> None:
    played = Played().play([IDLE] * 5 + [LOADING] * 310)

    assert [act.verb for _, act in played.acts] == [Verb.RESTART]


def test_a_server_that_never_binds_is_restarted_after_its_startup_limit() -> None:
    played = Played().play([NOT_BOUND] * 310)

    assert len(played.acts) == 1


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            EngineSeen(life=Life.EXITED, instance="x", exit_code=137, oom_killed=True),
            "killed for using too much memory",
        ),
        (EngineSeen(life=Life.EXITED, instance="x", exit_code=1), "exited with code 1"),
        (
            EngineSeen(life=Life.EXITED, instance="x", exit_code=1, detail="no such file"),
            "exited with code 1: no such file",
        ),
        (EngineSeen(life=Life.EXITED, instance="x"), "exited"),
        (EngineSeen(life=Life.EXITED), "not started"),
        (EngineSeen(life=Life.EXITED, detail="port is taken"), "not started: port is taken"),
    ],
)
def test_an_exit_is_told_in_the_engines_own_words(engine: EngineSeen, message: str) -> None:
    played = Played()
    played._see(engine)

    assert judge(played.evidence, policy=POLICY, now=played.now).message == message


def test_a_slow_first_token_is_told_in_seconds() -> None:
    played = Played().play([IDLE])
    played.evidence = replace(played.evidence, first_token_s=12.34)

    assert judge(played.evidence, policy=POLICY, now=played.now).message == "first token after 12.3 s"


def test_an_answer_without_a_time_is_still_an_answer() -> None:
    played = Played().play([IDLE])
    played.evidence = replace(played.evidence, first_token_s=None)

    assert judge(played.evidence, policy=POLICY, now=played.now).message == "answered"
