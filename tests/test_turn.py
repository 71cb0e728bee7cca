"""Stories of one target, turn by turn, over errands that are only written down and a clock that we turn."""

import asyncio
from dataclasses import replace

import pytest

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.events import Ended, Failed, Verb
from supervisor.core.observations import (
    EngineSeen,
    EngineSilent,
    Life,
    Reply,
)
from supervisor.core.state import Phase
from supervisor.messages import Due, EngineStirred, Resettled
from tests.fakes.story import PLANNER, POLICY, Story

HOPELESS = Diagnosis(cause=Cause.UNKNOWN, says="no such program", cure="install it", helps_restart=False)


def test_a_first_turn_asks_everybody() -> None:
    story = Story()

    asked = story.happens(Due())

    assert asked == ["tell unknown", "inspect", "look at None"]


def test_a_hung_model_is_announced_restarted_once_and_left_alone_until_its_new_instance_answers() -> None:
    story = Story()
    story.comes_up()

    story.hangs()

    assert [(act.verb, act.grace_s, instance) for act, instance in story.ledger.acts] == [
        (Verb.RESTART, POLICY.hung_grace_s, "one")
    ]
    while_it_restarts = story.happens(Due(), EngineStirred(), Due(), after_s=1.0)
    assert while_it_restarts == []  # nothing is asked, and nothing new is told
    afterwards = story.happens(Ended(), after_s=3.0)
    assert afterwards == ["tell starting", "record starting", "tell starting", "inspect"]
    assert not story.keeper.state.phase.is_routable
    story.happens(story.running("one"), Due(), after_s=0.1)
    assert story.phase() is Phase.STARTING
    asked = story.happens(story.running("two"), after_s=0.1)
    assert "look at two" in asked
    story.happens(story.counters())
    story.happens(story.canary())
    assert story.phase() is Phase.UP
    assert len(story.ledger.acts) == 1


def test_routers_are_told_and_it_is_written_down_before_anything_is_done() -> None:
    story = Story()
    story.comes_up()

    asked = story.happens(EngineSeen(life=Life.EXITED, instance="one", exit_code=137))

    assert asked == ["forget", "tell restarting", "record restarting", "restart one", "tell restarting"]


def test_suspicion_is_told_at_once_and_looked_into_faster() -> None:
    story = Story()
    story.comes_up()

    asked = story.happens(story.counters(Reply.SILENT))

    assert asked[:2] == ["tell suspect", "record suspect"]
    assert "look at one and its cpu" in story.happens(Due(), after_s=1.0)
    assert story.ledger.paces[-1] == POLICY.close_tick_s


def test_a_canary_goes_to_an_idle_slot_and_is_sent_once() -> None:
    story = Story()
    story.comes_up()

    at_the_look = story.happens(Due(), after_s=16.0)
    after_it = story.happens(story.counters())
    story.happens(Due(), Due(), story.counters(), after_s=1.0)

    assert "canary to one" not in at_the_look
    assert "canary to one" in after_it

    assert [instance for instance, _, _ in story.ledger.canaries] == ["one", "one"]
    assert story.ledger.canaries[-1][2] == 0


def test_what_is_still_asked_of_an_old_life_is_dropped_with_it() -> None:
    story = Story()
    story.comes_up()

    asked = story.happens(story.running("two"))

    assert asked[0] == "forget"


def test_an_operators_stop_is_done_told_and_never_undone() -> None:
    story = Story()
    story.comes_up()

    story.happens(story.wish(Verb.STOP))
    story.happens(Ended(), after_s=1.0)
    gone = EngineSeen(life=Life.EXITED, instance="one", exit_code=0)
    for _ in range(100):
        story.happens(Due(), gone, after_s=2.0)

    assert [act.verb for act, _ in story.ledger.acts] == [Verb.STOP]
    assert story.phase() is Phase.STOPPED
    assert story.keeper.state.judgement.message == "stopped by the operator"


def test_what_was_stopped_before_we_were_born_stays_stopped() -> None:
    story = Story(phase=Phase.STOPPED)

    story.happens(Due(), EngineSeen(life=Life.EXITED, instance="one", exit_code=137))

    assert story.phase() is Phase.STOPPED
    assert story.ledger.acts == []


def test_an_operators_start_ends_a_stop() -> None:
    story = Story(phase=Phase.STOPPED)

    story.happens(story.wish(Verb.START), Ended())
    story.happens(story.running("two"))
    story.happens(story.counters())
    story.happens(story.canary())

    assert [act.verb for act, _ in story.ledger.acts] == [Verb.START]
    assert story.phase() is Phase.UP


def test_a_restart_that_failed_leaves_the_old_instance_to_be_judged_again() -> None:
    story = Story()
    story.comes_up()
    story.hangs()

    asked = story.happens(Failed(reason="EngineRefused", message="cannot be killed"), after_s=5.0)
    story.happens(story.running("one"), after_s=0.1)

    assert "inspect" in asked
    assert story.keeper.evidence.instance == "one"
    assert not story.phase().is_routable


def test_an_engine_that_cannot_be_asked_costs_nobody_a_restart() -> None:
    story = Story()
    story.comes_up()

    for _ in range(300):
        story.happens(Due(), story.counters(Reply.SILENT), EngineSilent(detail="no answer"), after_s=1.0)

    assert story.ledger.acts == []
    assert story.phase() is Phase.SUSPECT


def test_a_gap_in_our_own_turns_is_held_against_nobody() -> None:
    story = Story()
    story.comes_up()
    story.happens(Due(), story.counters(Reply.SILENT), story.idle_cpu(), after_s=1.0)

    story.happens(Due(), story.counters(Reply.SILENT), story.idle_cpu(), after_s=3600.0)

    assert story.ledger.acts == []


def test_the_engine_is_asked_now_and_then_even_if_it_never_stirs() -> None:
    story = Story()
    story.comes_up()

    soon = story.happens(Due(), story.counters(), after_s=2.0)
    later = story.happens(Due(), after_s=30.0)

    assert "inspect" not in soon
    assert "inspect" in later


def test_a_paused_target_that_is_started_goes_on_as_it_was() -> None:
    story = Story()
    story.comes_up()
    paused = EngineSeen(life=Life.PAUSED, instance="one", stopped_by_operator=True)

    story.happens(paused)
    story.happens(story.wish(Verb.START), Ended(), after_s=600.0)
    story.happens(story.running("one"))
    story.happens(story.counters())
    story.happens(Due(), story.counters(), after_s=400.0)

    assert story.phase() is Phase.UP
    assert [act.verb for act, _ in story.ledger.acts] == [Verb.START]


def test_a_wish_that_comes_in_the_midst_of_an_act_is_refused_and_said_to_be() -> None:
    story = Story()
    story.comes_up()
    story.happens(EngineSeen(life=Life.EXITED, instance="one", exit_code=137))

    story.happens(story.wish(Verb.STOP))

    assert story.answers == [False]
    assert [act.verb for act, _ in story.ledger.acts] == [Verb.RESTART]


async def test_a_turn_that_fails_before_its_act_is_sent_for_waits_for_no_end() -> None:
    story = Story()
    story.comes_up()
    faults = [ValueError("a bug of ours")]

    def publish(snapshot: object) -> None:  # noqa: ARG001
        if faults:
            raise faults.pop()

    story.keeper._publish = publish
    story.ledger.lines.clear()
    task = asyncio.create_task(story.keeper.run())
    story.keeper.post(EngineSeen(life=Life.EXITED, instance="one", exit_code=137))
    story.keeper.post(EngineStirred())
    await story.ledger.has("inspect")

    assert story.ledger.acts == []
    assert story.phase() is Phase.BACKOFF
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_fault_in_a_turn_of_ours_costs_no_target_its_owner() -> None:
    story = Story()
    faults = [ValueError("a bug of ours")]

    def look(instance: str | None, **_: object) -> None:
        if faults:
            raise faults.pop()
        story.ledger.lines.append(f"look at {instance}")

    story.ledger.look = look  # type: ignore[method-assign]
    task = asyncio.create_task(story.keeper.run())
    story.keeper.post(Due())
    story.keeper.post(Due())
    await story.ledger.has("look at None")

    assert not task.done()
    assert story.keeper.state.judgement.reason == "CannotLook"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_turns_go_on_when_the_scheduler_does_not() -> None:
    story = Story()
    quick = replace(POLICY, tick_s=0.02, close_tick_s=0.02, look_timeout_s=0.01)
    story.keeper._policy = quick
    task = asyncio.create_task(story.keeper.run())

    await story.ledger.has("inspect")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert story.keeper.state.phase is Phase.UNKNOWN


def test_other_settings_hold_at_once_and_leave_what_was_seen() -> None:
    story = Story()
    story.comes_up()
    before = story.keeper.evidence
    patient = replace(POLICY, hung_after_s=300.0, stall_after_s=600.0)

    asked = story.happens(Resettled(identity=replace(PLANNER, models=("planner", "auto")), policy=patient))
    story.hangs()

    assert story.ledger.told[-1].models == ("planner", "auto")
    assert [line for line in asked if not line.startswith("tell")] == []
    assert (before.instance, before.answered_at) == ("one", story.keeper.evidence.answered_at)
    assert story.ledger.acts == []


def test_what_waits_for_a_person_is_tried_again_when_its_settings_have_changed() -> None:
    story = Story()
    story.comes_up()
    story.hangs()
    story.happens(Failed(reason="EngineRefused", message="no such program", diagnosis=HOPELESS), after_s=1.0)
    waits = story.phase()
    story.happens(EngineSeen(life=Life.EXITED, instance="one", exit_code=127), after_s=20.0)
    tried = len(story.ledger.acts)

    story.happens(Resettled(identity=PLANNER, policy=POLICY))

    assert (waits, tried) == (Phase.FAILED, 1)
    assert len(story.ledger.acts) == 2
