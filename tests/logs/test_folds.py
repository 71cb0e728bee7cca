"""Noise is folded; what happened once, last, or to a target's phase is not."""

from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from supervisor.core.state import Phase, Transition
from supervisor.core.verdict import Judgement, Verdict
from supervisor.log_folds import Folds
from supervisor.log_sink import LIBRARY
from supervisor.logs import log_transition
from testbed.clients import wait_until
from tests.logs.said import line, logging

FULL = "history: cannot write about general: the disk is full"


def say(message: str = FULL) -> None:
    """Say it, always from the same place."""
    logger.error(message)


def test_the_first_is_told_at_once_and_the_others_are_counted() -> None:
    with logging() as log:
        for _ in range(38):
            say()
        at_first = log.lines
        log.clock.now = 60.0
        logger.info("something else")

        assert at_first == [f"ERROR   {FULL}"]
        assert log.lines[1:] == [f"ERROR   {FULL} (repeated 37 times in 0 s)", "INFO    something else"]


def test_what_goes_on_is_told_once_in_every_window() -> None:
    with logging() as log:
        for second in range(181):
            log.clock.now = float(second)
            say()

    assert [each.partition("(")[2] for each in log.lines] == [
        "",
        "repeated 59 times in 59 s)",
        "repeated 60 times in 59 s)",
        "repeated 60 times in 59 s)",
        "repeated once in 0 s)",
    ]


def test_what_is_said_again_after_a_quiet_window_is_told_at_once() -> None:
    with logging() as log:
        say()
        log.clock.now = 61.0
        say()

        assert log.lines == [f"ERROR   {FULL}"] * 2


def test_the_last_is_told_although_nothing_else_is_ever_said() -> None:
    with logging(folds=Folds(window_s=0.2)) as log:
        say()
        say()
        log.clock.now = 0.3  # the timer runs by the real clock, and asks this one
        wait_until(lambda: len(log.lines) == 2, "the repeat is told")

        assert log.lines[1] == f"ERROR   {FULL} (repeated once in 0 s)"


def test_what_is_held_back_is_told_at_the_end() -> None:
    with logging() as log:
        say()
        say()

    assert log.lines == [f"ERROR   {FULL}", f"ERROR   {FULL} (repeated once in 0 s)"]


def test_words_that_differ_are_not_the_same_and_a_librarys_may_differ_in_a_number() -> None:
    with logging() as log:
        for port in (8091, 8092, 8093):
            say(f"agent: asked by port {port}")
            logger.bind(**{LIBRARY: "uvicorn"}).warning(f"uvicorn: a connection from port {port} broke off")

    assert [each.partition(" ")[2].strip() for each in log.lines] == [
        "agent: asked by port 8091",
        "uvicorn: a connection from port 8091 broke off",
        "agent: asked by port 8092",
        "agent: asked by port 8093",
        "uvicorn: a connection from port 8093 broke off (repeated 2 times in 0 s)",
    ]


def test_the_same_words_about_another_target_are_not_the_same() -> None:
    with logging() as log:
        for name in ("general", "planner"):
            with logger.contextualize(target=name):
                say("our own look failed")

        assert len(log.lines) == 2


def test_a_change_of_phase_is_never_folded() -> None:
    hung = Judgement(verdict=Verdict.HUNG, reason="CountersStanding", message="no progress")
    change = Transition(before=Phase.SUSPECT, after=Phase.BACKOFF, at=1.0, judgement=hung)

    with logging() as log:
        for _ in range(3):
            log_transition("general", change, incident="20261126-091027-general")

        told = "general: suspect → backoff (CountersStanding: hung, no progress) [20261126-091027-general]"
        assert log.lines == [f"WARNING {told}"] * 3


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0.0, 30.0)), max_size=600))
def test_nothing_is_lost_whatever_is_said_and_only_so_much_is_remembered(said: list[tuple[int, float]]) -> None:
    folds, now, written = Folds(most=20), 0.0, []
    for key, passes_s in said:
        now += passes_s
        written += folds.take(key, line(str(key)), now=now)

        assert len(folds._kept) <= 20
    written += folds.rest()

    assert sum(each.repeated or 1 for each in written) == len(said)
    assert all(each.repeated == 0 or each.over_s <= 60.0 for each in written)
