"""What a keeper makes of our own absence, of routers' reports, of servers that sleep, and of what it learns."""

from dataclasses import replace

from supervisor.core.observations import Kind, ProgressSeen, Reply, Slot, TrafficSeen
from supervisor.core.state import Phase
from supervisor.messages import Due
from tests.fakes.story import PLANNER, Story


def test_a_machine_that_was_suspended_is_held_against_nobody() -> None:
    story = Story()
    story.comes_up()
    for _ in range(7):
        story.happens(Due(), story.counters(Reply.SILENT), story.idle_cpu(), after_s=1.0)

    story.slept_s += 3600.0
    story.happens(Due(), after_s=1.0)
    blind = story.keeper.state.judgement
    for _ in range(6):
        story.happens(Due(), story.counters(Reply.SILENT), story.idle_cpu(), after_s=1.0)

    assert (blind.reason, "suspended for 3600s" in blind.message) == ("CannotLook", True)
    assert "forget" in story.ledger.lines  # what was held open may have died with its connection
    assert story.ledger.acts == []


def test_we_know_nothing_between_our_own_absence_and_the_next_look() -> None:
    story = Story()
    story.comes_up()

    story.happens(Due(), after_s=60.0)
    absent = (story.keeper.state.judgement.reason, story.phase())
    story.happens(story.counters())

    assert absent == ("CannotLook", Phase.UP)
    assert story.keeper.state.judgement.reason == "CanaryAnswered"


def test_what_is_learned_is_written_down_now_and_then() -> None:
    story = Story()
    story.comes_up()
    for _ in range(10):
        story.happens(Due(), story.counters(), after_s=16.0)
        story.happens(story.canary())

    assert len(story.keeper.baseline.first_tokens_s) == 11
    assert 1 <= len(story.ledger.remembered) <= 3


def test_a_reported_failure_brings_a_look_and_a_canary_at_once() -> None:
    story = Story()
    story.comes_up()

    story.happens(TrafficSeen(instance=None, ok=True), after_s=10.0)
    asked = story.happens(TrafficSeen(instance=None, ok=False, detail="timeout after 30 s"), after_s=6.0)
    after_it = story.happens(story.counters(), after_s=0.1)

    assert "look at one" in asked
    assert "canary to one" in after_it
    assert story.phase() is Phase.UP


def test_a_reported_answer_spares_a_canary() -> None:
    story = Story()
    story.comes_up()

    for _ in range(20):
        story.happens(TrafficSeen(instance=None, ok=True), Due(), story.counters(), after_s=10.0)

    assert len(story.ledger.canaries) == 1


def test_a_server_that_sleeps_is_looked_at_gently_as_its_settings_say() -> None:
    story = Story(identity=replace(PLANNER, sleeps_after_s=60.0))
    story.comes_up()

    asked = story.happens(Due(), after_s=4.0)

    assert "look gently at one and its cpu" in asked


def test_a_canary_takes_the_slot_that_keeps_least_and_only_where_slots_can_be_asked_for() -> None:
    story = Story()
    story.comes_up()
    slots = (
        Slot(id=0, busy=False, task=1, decoded=0, prefilled=0, cached=900),
        Slot(id=1, busy=False, task=3, decoded=0, prefilled=0, cached=31),
    )
    of_llama = ProgressSeen(instance="one", reply=Reply.ANSWERED, slots=slots, kind=Kind.LLAMA_CPP)

    story.happens(Due(), of_llama, after_s=16.0)
    story.happens(story.canary())
    story.happens(Due(), replace(of_llama, kind=Kind.OTHER), after_s=16.0)

    assert [slot for _, _, slot in story.ledger.canaries[-2:]] == [1, None]
