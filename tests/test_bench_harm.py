"""What the harm benchmark makes of its figures: a loss counts once it is clear of the noise, and then it does count."""

import random

import pytest

from bench.counts import Spent
from bench.loss import Answer, Figure, Kind, Loss, Role, interval, losses
from bench.talk import Turn

SEED = 1
ROUNDS = 9


def a_day(*, slower: float, noise: float, seed: int = SEED) -> list[Answer]:
    """Return the answers of three servers, the supervised one slower by a factor, all of them as noisy."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return [
        Answer(
            role=role,
            round=number,
            kind=kind,
            first_token_s=factor * chance.gauss(1.0, noise),
            tokens_per_s=chance.gauss(1.0, noise) / factor,
        )
        for number in range(ROUNDS)
        for role, factor in ((Role.SUPERVISED, slower), (Role.ALONE, 1.0), (Role.ALONE_TOO, 1.0))
        for kind in Kind
        for _ in range(5)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_server_like_its_twins_has_no_loss_beyond_the_noise(seed: int) -> None:
    found = losses(a_day(slower=1.0, noise=0.03, seed=seed), seed=SEED)

    assert [(each.kind, each.figure) for each in found] == [(kind, figure) for kind in Kind for figure in Figure]
    assert max(each.beyond_noise for each in found) < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_greater_than_the_noise_is_found_in_every_figure(seed: int) -> None:
    found = losses(a_day(slower=1.2, noise=0.03, seed=seed), seed=SEED)

    assert min(each.beyond_noise for each in found) > 0.05


def test_a_server_better_than_its_twin_has_no_loss() -> None:
    found = losses(a_day(slower=0.8, noise=0.03), seed=SEED)

    assert {each.beyond_noise for each in found} == {0.0}


def test_noise_makes_the_interval_wide_and_so_is_seen_itself() -> None:
    quiet, loud = (losses(a_day(slower=1.0, noise=noise), seed=SEED)[0] for noise in (0.02, 0.5))

    assert quiet.noise.half_width < 0.05 < 0.15 < loud.noise.half_width


def test_an_interval_holds_the_median_and_is_the_same_each_time() -> None:
    ratios = [0.9, 1.0, 1.1, 1.2, 1.3]

    found = interval(ratios, seed=SEED)

    assert found.low <= found.median == 1.1 <= found.high
    assert found == interval(ratios, seed=SEED)


def test_a_loss_is_told_for_first_tokens_that_are_late_and_for_rates_that_are_low() -> None:
    late, usual = interval([1.5] * ROUNDS, seed=SEED), interval([1.0] * ROUNDS, seed=SEED)
    low = interval([0.5] * ROUNDS, seed=SEED)

    assert Loss(kind=Kind.SHORT, figure=Figure.FIRST, ratio=late, noise=usual).beyond_noise == 0.5
    assert Loss(kind=Kind.SHORT, figure=Figure.RATE, ratio=low, noise=usual).beyond_noise == 0.5
    assert Loss(kind=Kind.SHORT, figure=Figure.RATE, ratio=late, noise=usual).beyond_noise == 0.0


@pytest.mark.parametrize(("read", "again"), [(468, 423), (45, 0), (44, 0)])
def test_what_is_read_beyond_the_twin_was_lost(read: int, again: int) -> None:
    turn = Turn(pause_s=20.0, prompt_tokens=475, read=read, read_alone=45)

    assert turn.read_again == again


def test_tokens_at_rest_are_told_for_an_hour() -> None:
    spent = Spent(seconds=120.0, read=176.0, written=32.0)

    assert spent.per_hour == pytest.approx(6240.0)
