"""One trouble of many is told from many troubles, and ends by itself."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.shared import Freeze, Troubles, fell, rose

FREEZE = Freeze(share=0.5, window_s=10.0, lasts_s=30.0)
NOW = 1000.0
ROUNDING_S = 1e-6


def after(*falls: tuple[str, float], of: int = 4) -> Troubles:
    troubles = Troubles()
    for name, at in falls:
        troubles = fell(troubles, name, of=of, freeze=FREEZE, now=NOW + at)
    return troubles


def test_half_of_the_targets_within_the_window_are_one_trouble() -> None:
    alone, both = after(("a", 0.0)), after(("a", 0.0), ("b", 10.0))

    assert not alone.is_frozen(FREEZE, now=NOW)
    assert both.is_frozen(FREEZE, now=NOW + 10.0)
    assert both.members(FREEZE) == ("a", "b")


def test_one_after_the_other_are_two_troubles() -> None:
    troubles = after(("a", 0.0), ("b", 10.1))

    assert not troubles.is_frozen(FREEZE, now=NOW + 10.1)
    assert troubles.members(FREEZE) == ()


def test_a_single_target_is_never_many() -> None:
    assert not after(("a", 0.0), of=1).is_frozen(FREEZE, now=NOW)


def test_one_that_falls_again_and_again_is_one() -> None:
    assert not after(("a", 0.0), ("a", 1.0), ("a", 2.0)).is_frozen(FREEZE, now=NOW + 2.0)


def test_the_freeze_thaws_by_itself_and_is_not_made_longer_by_who_fails_meanwhile() -> None:
    troubles = after(("a", 0.0), ("b", 1.0), ("c", 20.0))

    assert troubles.is_frozen(FREEZE, now=NOW + 30.9)
    assert not troubles.is_frozen(FREEZE, now=NOW + 31.0)
    assert troubles.members(FREEZE) == ("a", "b", "c")


def test_what_fails_long_after_is_no_part_of_it() -> None:
    troubles = after(("a", 0.0), ("b", 1.0), ("c", 100.0))

    assert troubles.members(FREEZE) == ("a", "b")


def test_another_one_may_follow_while_some_of_the_first_are_still_ill() -> None:
    troubles = after(("a", 0.0), ("b", 1.0), ("c", 100.0), ("d", 102.0), of=4)

    assert troubles.members(FREEZE) == ("c", "d")
    assert troubles.is_frozen(FREEZE, now=NOW + 110.0)


def test_it_is_over_once_all_but_one_are_well() -> None:
    troubles = rose(after(("a", 0.0), ("b", 1.0)), "a", freeze=FREEZE)

    assert troubles.members(FREEZE) == ()
    assert not troubles.is_frozen(FREEZE, now=NOW + 2.0)
    assert fell(troubles, "c", of=4, freeze=FREEZE, now=NOW + 60.0).members(FREEZE) == ()


def test_who_was_never_ill_changes_nothing_by_being_well() -> None:
    troubles = after(("a", 0.0), ("b", 1.0))

    assert rose(troubles, "c", freeze=FREEZE) == troubles


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.floats(0.0, 5.0)), max_size=60))
def test_no_freeze_lasts_longer_than_it_may(steps: list[tuple[str, bool, float]]) -> None:
    troubles, now, frozen_since = Troubles(), NOW, None
    for name, falls, later_s in steps:
        now += later_s
        troubles = fell(troubles, name, of=4, freeze=FREEZE, now=now) if falls else rose(troubles, name, freeze=FREEZE)
        is_new = troubles.shared_since != frozen_since
        frozen_since = troubles.shared_since
        assert not is_new or frozen_since in (None, now)
        assert not troubles.is_frozen(FREEZE, now=(frozen_since or now) + FREEZE.lasts_s + ROUNDING_S)
