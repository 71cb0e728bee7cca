"""What is normal for a target: learned from what it shows, and patience fitted to it within bounds."""

from dataclasses import replace

import pytest

from supervisor.core.baseline import FEW, KEPT_FIRST_TOKENS, LONGEST_START_S, Baseline, fit, slow_after_s
from supervisor.core.observations import CanaryEnded, CanarySent, EngineSeen, Life, Reply
from supervisor.core.policy import Policy
from supervisor.core.state import Phase
from supervisor.core.verdict import Verdict
from tests.core.timeline import IDLE, NOW, WORKING, Moment, Played

POLICY = Policy()
USUAL = Baseline(first_tokens_s=(0.5,) * FEW)
PREFILLING = Moment(decoded=0, canary=None, cpu_s=0.9)
SILENT_AND_BURNING = Moment(counters=Reply.SILENT, canary=None, cpu_s=0.9)


def answered(played: Played, *, first_token_s: float) -> None:
    """Let a canary be answered so late."""
    attempt = played.evidence.canary_attempt + 1
    played.now += 15.0
    played._see(CanarySent(instance=played.evidence.instance, attempt=attempt))
    ended = CanaryEnded(
        instance=played.evidence.instance, attempt=attempt, reply=Reply.ANSWERED, first_token_s=first_token_s
    )
    played._see(ended)
    played._judge()


def test_the_first_run_has_the_patience_that_was_set() -> None:
    assert fit(POLICY, Baseline()) == POLICY


def test_first_tokens_of_an_idle_server_are_learned_and_bounded_in_number() -> None:
    played = Played().play([IDLE] * (KEPT_FIRST_TOKENS * 15 + 100))

    assert played.baseline.first_tokens_s == (0.1,) * KEPT_FIRST_TOKENS


def test_a_canary_that_shared_the_server_with_users_teaches_nothing_of_what_is_usual() -> None:
    played = Played().play([IDLE])
    before = played.baseline.first_tokens_s

    played.play([WORKING] * 2)
    answered(played, first_token_s=9.0)

    assert played.baseline.first_tokens_s == before


def test_a_canary_is_late_by_what_its_server_is_used_to() -> None:
    slow = Baseline(first_tokens_s=(12.0,) * 20)
    slower = Baseline(first_tokens_s=(90.0,) * 20)

    deadlines = [fit(POLICY, each).canary_deadline_s for each in (USUAL, slow, slower)]

    assert deadlines == [20.0, 48.0, 120.0]


@pytest.mark.parametrize("spell", [PREFILLING, SILENT_AND_BURNING], ids=["standing", "silent"])
def test_a_long_batch_teaches_patience_with_the_next_one(spell: Moment) -> None:
    played = Played().play([IDLE, WORKING, *[spell] * 100, WORKING, IDLE])

    assert played.baseline.gaps_s == pytest.approx((101.0,), abs=2.0)
    assert played.fitted.stall_after_s == pytest.approx(2 * 101.0, abs=4.0)


def test_patience_has_an_end() -> None:
    learned = fit(POLICY, Baseline(gaps_s=(4000.0,), starts_s=(9000.0,)))

    assert (learned.stall_after_s, learned.prefill_limit_s) == (POLICY.stall_limit_s, POLICY.stall_limit_s)
    assert learned.startup_limit_s == LONGEST_START_S


def test_how_long_a_start_takes_is_learned_where_it_was_seen() -> None:
    loading = Moment(counters=Reply.LOADING, canary=Reply.LOADING)

    played = Played().play([*[loading] * 150, IDLE, IDLE])

    assert played.baseline.starts_s == pytest.approx((151.0,), abs=2.0)
    assert played.fitted.startup_limit_s == pytest.approx(3 * 151.0, abs=6.0)


def test_a_server_that_was_there_before_us_teaches_nothing_of_its_start() -> None:
    played = Played()
    played._see(EngineSeen(life=Life.RUNNING, instance="life-1", age_s=500.0))

    answered(played, first_token_s=0.1)

    assert played.evidence.has_proven_itself
    assert played.baseline.starts_s == ()


def test_what_is_learned_of_another_life_is_not_mixed_up() -> None:
    played = Played().play([IDLE] * 3)
    learned = played.baseline
    played.life += 1

    played._see(played._engine(IDLE))

    assert played.baseline == learned


def test_without_enough_answers_nothing_is_slow() -> None:
    assert slow_after_s(Baseline(first_tokens_s=(0.5,) * (FEW - 1)), policy=POLICY) is None


def test_far_slower_than_usual_three_times_running_is_degraded_and_goes_by_itself() -> None:
    played = Played(baseline=USUAL).play([IDLE])
    verdicts = []
    for first_token_s in (5.0, 5.0, 5.0, 0.5):
        answered(played, first_token_s=first_token_s)
        verdicts.append((played.state.judgement.verdict, played.state.phase))

    assert verdicts == [
        (Verdict.READY, Phase.UP),
        (Verdict.READY, Phase.UP),
        (Verdict.DEGRADED, Phase.DEGRADED),
        (Verdict.READY, Phase.UP),
    ]
    assert played.acts == []


def test_a_degraded_server_says_how_slow_it_is() -> None:
    played = Played(baseline=USUAL).play([IDLE])
    for _ in range(3):
        answered(played, first_token_s=5.0)

    assert played.state.judgement.message == "first token after 5.0 s, usually after 500 ms"
    assert played.state.phase.weight == 0.5


def test_what_stays_slow_becomes_usual_only_after_hours() -> None:
    played = Played(baseline=replace(USUAL, first_tokens_s=(0.5,) * KEPT_FIRST_TOKENS)).play([IDLE])

    verdicts = []
    for _ in range(1500):
        answered(played, first_token_s=5.0)
        verdicts.append(played.state.judgement.verdict)

    assert verdicts[400] is Verdict.DEGRADED
    assert verdicts[-1] is Verdict.READY


def test_learned_patience_spares_a_batch_that_the_first_run_would_have_doubted() -> None:
    played = Played(baseline=Baseline(gaps_s=(150.0,)))

    played.play([IDLE, WORKING, *[PREFILLING] * 250])

    assert played.state.judgement.verdict is Verdict.BUSY
    assert played.now > NOW
