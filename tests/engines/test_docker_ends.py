"""Whose doing an end is, with a clock that we set ourselves."""

import pytest

from supervisor.core.observations import EngineSeen, Life
from supervisor.engines.docker_ends import CALL_ECHO_S, LEAVING_S, Ends
from supervisor.engines.docker_state import ContainerEvent

ID = "4f1e" * 16


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ends(clock: Clock) -> Ends:
    return Ends(clock=clock)


def event(action: str, *, signal: int | None = None) -> ContainerEvent:
    return ContainerEvent(id=ID, names=("general",), action=action, at=0.0, signal=signal)


def running(instance: str) -> EngineSeen:
    return EngineSeen(life=Life.RUNNING, instance=instance)


def exited(instance: str) -> EngineSeen:
    return EngineSeen(life=Life.EXITED, instance=instance)


def test_nothing_is_ours_unless_we_did_something(ends: Ends) -> None:
    assert not ends.is_ours("general", exited("a"))


def test_whatever_ends_while_our_call_is_under_way_is_ours(ends: Ends) -> None:
    ends.begin("general", "a")

    assert ends.is_ours("general", exited("a"))
    assert ends.is_ours("general", exited("b"))
    assert not ends.is_ours("planner", exited("a"))


def test_the_instance_that_our_call_ended_stays_ours_for_ever(ends: Ends, clock: Clock) -> None:
    ends.finish(ends.begin("general", "a"))

    clock.now += 1e6

    assert ends.is_ours("general", exited("a"))


def test_the_instance_after_the_one_that_we_ended_is_not_ours(ends: Ends) -> None:
    ends.finish(ends.begin("general", "a"))

    assert not ends.is_ours("general", running("b"))
    assert not ends.is_ours("general", exited("b"))


def test_the_first_instance_ever_is_not_ours_because_we_started_it(ends: Ends) -> None:
    ends.finish(ends.begin("general", None))

    assert not ends.is_ours("general", running("a"))
    assert not ends.is_ours("general", exited("a"))


def test_an_instance_that_has_long_outlived_our_call_is_not_ours_any_more(ends: Ends, clock: Clock) -> None:
    ends.finish(ends.begin("general", "a"))
    clock.now += CALL_ECHO_S + 1

    assert not ends.is_ours("general", running("a"))
    assert not ends.is_ours("general", exited("a"))


def test_an_instance_that_dies_late_of_our_call_is_ours(ends: Ends, clock: Clock) -> None:
    ends.finish(ends.begin("general", "a"))
    clock.now += CALL_ECHO_S - 1

    assert ends.is_ours("general", running("a"))
    clock.now += CALL_ECHO_S
    assert ends.is_ours("general", exited("a"))


def test_a_mark_takes_the_first_instance_that_is_seen(ends: Ends) -> None:
    ends.mark("general", over_at=None)

    ends.meet("general", exited("a"), is_told_to_end=False)

    assert ends.is_ours("general", exited("a"))
    assert not ends.is_marked("general")
    assert not ends.is_ours("general", exited("b"))


@pytest.mark.parametrize("over_at", [None, 1000.0])
def test_a_mark_takes_no_instance_that_lives_on(ends: Ends, over_at: float | None) -> None:
    ends.mark("general", over_at=over_at)

    ends.meet("general", running("a"), is_told_to_end=False)

    assert not ends.is_ours("general", running("a"))
    assert not ends.is_ours("general", exited("a"))


def test_a_mark_takes_an_instance_that_is_on_its_way_out(ends: Ends) -> None:
    ends.mark("general", over_at=None)

    ends.meet("general", running("a"), is_told_to_end=True)

    assert ends.is_ours("general", exited("a"))


def test_a_mark_takes_no_instance_that_has_long_outlived_the_act(ends: Ends, clock: Clock) -> None:
    ends.mark("general", over_at=clock.now - CALL_ECHO_S - 1)

    ends.meet("general", running("a"), is_told_to_end=True)

    assert not ends.is_ours("general", exited("a"))


def test_a_mark_gives_way_to_what_we_do_ourselves(ends: Ends) -> None:
    ends.mark("general", over_at=None)
    ends.finish(ends.begin("general", "b"))

    ends.meet("general", exited("a"), is_told_to_end=False)

    assert not ends.is_marked("general")
    assert ends.is_ours("general", exited("b"))


def test_a_container_told_to_go_is_leaving_for_a_while(ends: Ends, clock: Clock) -> None:
    ends.take(event("kill", signal=15))

    assert ends.is_leaving(ID)
    clock.now += LEAVING_S
    assert not ends.is_leaving(ID)


@pytest.mark.parametrize("action", ["start", "die", "destroy"])
def test_a_container_that_has_gone_is_leaving_no_more(ends: Ends, action: str) -> None:
    ends.take(event("kill", signal=15))

    ends.take(event(action))

    assert not ends.is_leaving(ID)


def test_a_reload_tells_nobody_to_go(ends: Ends) -> None:
    ends.take(event("kill", signal=1))

    assert not ends.is_leaving(ID)


def test_the_kills_of_an_engine_that_shuts_down_are_forgotten(ends: Ends) -> None:
    ends.take(event("kill", signal=15))

    ends.forget_kills()

    assert not ends.is_leaving(ID)


def test_what_was_found_out_about_a_death_is_kept_for_that_instance_only(ends: Ends) -> None:
    ends.settle("general", "a", was_asked=True)

    assert ends.verdict("general", "a") is True
    assert ends.verdict("general", "b") is None
    assert ends.verdict("planner", "a") is None


def test_what_was_found_out_before_a_stop_was_told_is_found_out_anew(ends: Ends) -> None:
    ends.settle("general", "a", was_asked=False)

    ends.take(event("stop"))

    assert ends.verdict("general", "a") is None
