"""What holds us back: people, the mode, one restart at a time, a trouble of many."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.restraint import EVERY, Curb, Hold
from supervisor.core.state import Phase, State
from supervisor.core.verdict import NOT_STARTED, SIGNALLED, Judgement, Verdict
from supervisor.guard import PROOF_S, Guard, Rules

NAMES = ("general", "planner", "code", "vision")
NOW = 1000.0
HUNG = Judgement(verdict=Verdict.HUNG, reason="CountersSilent", message="no progress")
DOWN = Judgement(verdict=Verdict.DOWN, reason="Exited", message="exited with code 1")
WALL = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


class Watched:
    """A guard, and the phases of the targets that it is told of."""

    def __init__(self, *, observes: bool = False, at_once: int = 1, groups: Mapping[str, str] | None = None) -> None:
        self.wall = WALL
        rules = Rules(observes=observes, restarts_at_once=at_once, groups=groups or {})
        self.guard = Guard(NAMES, rules=rules, wall=lambda: self.wall)
        self.states = {name: State(phase=Phase.UP, since=NOW) for name in NAMES}
        for name in NAMES:
            self.guard.saw(name, self.states[name])

    def falls(self, name: str, *, at: float = NOW) -> None:
        self.guard.hears(name, self.states[name], HUNG, now=at)

    def becomes(self, name: str, phase: Phase, *, at: float = NOW) -> None:
        after = State(phase=phase, since=at)
        self.guard.saw(name, after)
        self.states[name] = after

    def curb(self, name: str, *, at: float = NOW) -> Curb | None:
        restraint = self.guard.restraint(name, now=at)
        return restraint.curb if restraint else None


def hold(target: str, *, for_s: float | None = None) -> Hold:
    return Hold(target=target, since=WALL, until=WALL + timedelta(seconds=for_s) if for_s else None)


def test_nothing_holds_us_back_at_first() -> None:
    assert [Watched().curb(name) for name in NAMES] == [None] * 4


def test_a_hold_holds_until_it_is_released() -> None:
    watched = Watched()
    watched.guard.hold(hold("code"))

    assert (watched.curb("code"), watched.curb("general")) == (Curb.HELD, None)
    assert watched.guard.release("code")
    assert watched.curb("code") is None
    assert not watched.guard.release("code")


def test_a_drain_and_a_hold_stand_beside_one_another_and_one_release_ends_both() -> None:
    watched = Watched()
    watched.guard.hold(hold("code"))
    watched.guard.hold(replace(hold("code"), drains=True))
    both = [each.drains for each in watched.guard.holds]
    put_back = (watched.guard.undrain("code"), watched.guard.undrain("code"))
    left = (watched.guard.drained("code", now=NOW), watched.curb("code"))
    watched.guard.hold(replace(hold("code"), drains=True))

    released = watched.guard.release("code")

    assert (both, put_back, left) == ([False, True], (True, False), (None, Curb.HELD))
    assert (released, watched.guard.drained("code", now=NOW), watched.curb("code")) == (True, None, None)


def test_what_an_operator_has_sent_a_signal_has_not_fallen_with_others() -> None:
    watched = Watched()
    by_signal = Judgement(verdict=Verdict.DOWN, reason=SIGNALLED, message="ended by the operator's SIGKILL")
    for name in NAMES:
        watched.guard.hears(name, watched.states[name], by_signal, now=NOW)

    assert [watched.curb(name) for name in NAMES] == [None] * 4


def test_a_hold_ends_by_itself_when_it_said_so() -> None:
    watched = Watched()
    watched.guard.hold(hold("code", for_s=60.0))

    watched.wall += timedelta(seconds=60)

    assert watched.curb("code") is None
    assert watched.guard.holds == ()
    assert not watched.guard.release("code")


def test_a_hold_on_one_target_outlives_the_end_of_a_pause() -> None:
    watched = Watched()
    watched.guard.hold(hold("code"))
    watched.guard.hold(hold(EVERY))

    watched.guard.release(EVERY)

    assert (watched.curb("code"), watched.curb("general")) == (Curb.HELD, None)


def test_what_people_said_is_told_before_anything_else() -> None:
    watched = Watched(observes=True)
    watched.guard.hold(hold("code"))

    assert (watched.curb("code"), watched.curb("general")) == (Curb.HELD, Curb.OBSERVING)


def test_one_is_restarted_at_a_time_and_the_next_as_soon_as_its_call_has_ended() -> None:
    watched = Watched()
    watched.becomes("general", Phase.RESTARTING)

    assert watched.curb("code") is Curb.ONE_AT_A_TIME
    assert watched.curb("general") is None
    watched.becomes("general", Phase.STARTING)
    assert watched.curb("code") is None


def test_an_operators_stop_holds_no_restart_up() -> None:
    watched = Watched()
    watched.becomes("general", Phase.STOPPING)

    assert watched.curb("code") is None


def test_more_at_once_where_the_settings_say_so() -> None:
    watched = Watched(at_once=2)
    watched.becomes("general", Phase.RESTARTING)
    first = watched.curb("code")
    watched.becomes("planner", Phase.RESTARTING)

    assert (first, watched.curb("code")) == (None, Curb.ONE_AT_A_TIME)


def test_those_who_share_a_gpu_wait_until_the_first_has_shown_that_it_is_well() -> None:
    watched = Watched(at_once=4, groups={"general": "gpu0", "code": "gpu0"})
    watched.becomes("general", Phase.RESTARTING)
    watched.becomes("general", Phase.STARTING, at=NOW + 1.0)

    assert (watched.curb("code", at=NOW + 2.0), watched.curb("vision", at=NOW + 2.0)) == (Curb.ONE_AT_A_TIME, None)
    assert watched.curb("code", at=NOW + 1.0 + PROOF_S) is None
    watched.becomes("general", Phase.UP, at=NOW + 3.0)
    assert watched.curb("code", at=NOW + 3.0) is None


def test_half_of_them_falling_at_once_freezes_every_restart_and_thaws_by_itself() -> None:
    watched = Watched()
    watched.falls("general")
    alone = watched.curb("general")
    watched.falls("code", at=NOW + 5.0)

    assert alone is None
    assert [watched.curb(name, at=NOW + 34.9) for name in NAMES] == [Curb.SHARED_CAUSE] * 4
    assert watched.curb("general", at=NOW + 35.0) is None


def test_after_a_shared_trouble_each_proves_itself_before_the_next_ones_turn() -> None:
    watched = Watched(at_once=4)
    watched.falls("general")
    watched.falls("code", at=NOW + 1.0)
    watched.becomes("general", Phase.STARTING, at=NOW + 40.0)

    assert watched.curb("code", at=NOW + 41.0) is Curb.ONE_AT_A_TIME
    assert watched.curb("code", at=NOW + 40.0 + PROOF_S) is None


def test_what_an_operator_stops_is_no_trouble() -> None:
    watched = Watched()
    watched.becomes("general", Phase.STOPPED)
    watched.guard.hears("general", watched.states["general"], DOWN, now=NOW)
    watched.falls("code")

    assert watched.curb("code") is None


def test_those_that_were_never_started_have_not_fallen_together() -> None:
    watched = Watched()
    new = Judgement(verdict=Verdict.DOWN, reason=NOT_STARTED, message="not started")

    for name in NAMES:
        watched.guard.hears(name, watched.states[name], new, now=NOW)

    assert [watched.curb(name) for name in NAMES] == [None] * len(NAMES)


def test_a_shared_trouble_is_one_incident_named_after_the_first() -> None:
    watched = Watched()
    watched.falls("general")
    first = watched.guard.shared_incident("general", "first")
    watched.falls("code", at=NOW + 1.0)

    assert first == "first"
    assert watched.guard.shared_incident("code", "second") == "first"
    assert watched.guard.shared_incident("vision", "third") == "third"


def test_an_incident_is_named_after_its_time_and_its_target() -> None:
    assert Watched().guard.name_incident("general") == "20261124-030000-general"


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans(), st.floats(0.0, 3.0)), max_size=40))
def test_whatever_falls_and_rises_a_shared_trouble_has_one_name(steps: list[tuple[str, bool, float]]) -> None:
    watched, now, names = Watched(), NOW, dict[str, str]()
    for number, (name, falls, later_s) in enumerate(steps):
        now += later_s
        if falls:
            watched.falls(name, at=now)
            names.setdefault(name, f"{number}-{name}")
        else:
            watched.becomes(name, Phase.UP, at=now)
            names.pop(name, None)
        for each in names:  # as every keeper does at its next turn
            names[each] = watched.guard.shared_incident(each, names[each])
        members = watched.guard._troubles.members(Rules().freeze)
        assert len({names[each] for each in members}) <= 1


def test_a_router_that_fails_with_its_backend_makes_no_shared_trouble_of_it() -> None:
    watched = Watched()
    watched.states["router"] = State(phase=Phase.UP, since=NOW)
    watched.falls("general")
    watched.falls("router", at=NOW + 1.0)

    assert watched.curb("general", at=NOW + 2.0) is None


def test_a_router_waits_its_turn_like_any_other() -> None:
    watched = Watched()
    watched.becomes("general", Phase.RESTARTING)

    assert watched.curb("router") is Curb.ONE_AT_A_TIME


def test_troubles_of_before_a_new_daemon_are_not_taken_for_one_that_begins_now() -> None:
    guard = Guard(NAMES, ill=[("general", NOW - 86_400.0), ("code", NOW - 3600.0)])
    up = State(phase=Phase.UNKNOWN, since=NOW)

    for name in ("general", "code"):
        guard.hears(name, up, DOWN, now=NOW)

    assert guard.restraint("general", now=NOW) is None
    assert guard.shared_incident("code", "of old") == "of old"


def test_other_rules_hold_at_once_and_what_is_known_stays() -> None:
    watched = Watched()
    watched.becomes("general", Phase.RESTARTING)
    before = watched.curb("code")

    watched.guard.settle(NAMES, Rules(restarts_at_once=2))
    after = watched.curb("code")
    watched.guard.settle(NAMES, Rules(observes=True))

    assert (before, after, watched.curb("code")) == (Curb.ONE_AT_A_TIME, None, Curb.OBSERVING)
    assert watched.guard.mode == "observe"


def test_one_that_is_watched_no_more_holds_nobody_up_and_what_people_said_of_it_stands() -> None:
    watched = Watched()
    watched.guard.hold(hold("general"))
    watched.falls("general")
    watched.falls("code", at=NOW + 1.0)
    watched.becomes("general", Phase.RESTARTING)
    frozen = watched.curb("vision", at=NOW + 2.0)

    watched.guard.forget("general")

    assert (frozen, watched.curb("vision", at=NOW + 2.0)) == (Curb.SHARED_CAUSE, None)
    assert [each.target for each in watched.guard.holds] == ["general"]


def test_one_that_is_found_in_a_trouble_of_old_has_not_fallen_now() -> None:
    watched = Watched()
    watched.guard.settle((*NAMES, "math"), Rules())
    watched.guard.meets("math", ill_since=NOW - 3600.0)
    watched.guard.meets("stranger", ill_since=NOW)
    watched.guard.meets("vision", ill_since=None)
    watched.states["math"] = State(phase=Phase.UNKNOWN, since=NOW)

    watched.falls("math")
    watched.falls("general")

    assert watched.curb("general") is None
