"""What an operator's probe comes to, over a real keeper whose errands are written down."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from supervisor.core.observations import Reply
from supervisor.messages import Due, Message
from supervisor.probing import Prober
from supervisor.publish.services import Probed
from tests.fakes.story import Story


@pytest.fixture
def story() -> Story:
    story = Story()
    story.comes_up()
    return story


@asynccontextmanager
async def taking_turns(story: Story, *, answers: Callable[[], Message | None] = lambda: None) -> AsyncIterator[None]:
    """Let the keeper take a turn for whatever comes, and for what `answers` says after each."""

    async def turns() -> None:
        while True:
            story.happens(await story.keeper.inbox.get())
            if answer := answers():
                story.happens(answer)

    task = asyncio.create_task(turns())
    try:
        yield
    finally:
        task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110 - a keeper knows nothing of events
            await asyncio.sleep(0.01)


async def probe(story: Story, *, wait_s: float = 5.0, patient: bool = False, wakes: bool = False) -> Probed:
    prober = Prober({"planner": story.keeper}, moment_s=0.2)
    return await prober.probe("planner", wait_s=wait_s, patient=patient, wakes=wakes)


async def test_a_good_answer_is_well(story: Story) -> None:
    async with taking_turns(story, answers=story.canary):
        probed = await probe(story)

    assert probed == Probed(asked=True, ok=True, reply=Reply.ANSWERED, first_token_s=0.04, detail="answered")


async def test_a_bad_one_is_not(story: Story) -> None:
    async with taking_turns(story, answers=lambda: story.canary(Reply.FAILED)):
        probed = await probe(story)

    assert (probed.asked, probed.ok, probed.reply, probed.detail) == (True, False, Reply.FAILED, "failed")


async def test_silence_is_not_well_and_the_canary_stays_out(story: Story) -> None:
    async with taking_turns(story):
        probed = await probe(story, wait_s=0.3)

    assert (probed.asked, probed.ok, probed.reply) == (True, False, None)
    assert probed.detail == "no answer within 0.3s; the canary stays out, and is judged by its age"
    assert story.keeper.evidence.canary_since is not None


async def test_one_that_is_at_work_is_well_and_told_at_once(story: Story) -> None:
    story.happens(Due(), story.counters(decoded=3), after_s=1.0)
    story.happens(Due(), story.counters(decoded=9), after_s=2.0)
    async with taking_turns(story), asyncio.timeout(3.0):
        probed = await probe(story, wait_s=60.0)

    assert (probed.asked, probed.ok) == (False, True)
    assert probed.detail == "not asked: every slot is at work, and a canary would only wait behind its users"


async def test_whoever_is_patient_gets_an_answer_once_a_slot_is_free(story: Story) -> None:
    story.happens(Due(), story.counters(decoded=3), after_s=1.0)
    async with taking_turns(story):
        asking = asyncio.create_task(probe(story, patient=True))
        await until(lambda: story.keeper.asks.are_open)
        story.happens(story.counters())
        story.happens(story.canary())

        probed = await asking

    assert (probed.asked, probed.ok) == (True, True)


async def test_a_sleeper_is_well_and_sleeps_on(story: Story) -> None:
    story.happens(Due(), story.counters(Reply.ASLEEP), after_s=1.0)
    async with taking_turns(story):
        probed = await probe(story)

    assert (probed.asked, probed.ok, probed.reply) == (False, True, None)
    assert "would wake it" in probed.detail


async def test_a_keeper_that_takes_no_turns_is_our_own_fault(story: Story) -> None:
    probed = await probe(story, wait_s=0.0)

    assert (probed.asked, probed.ok) == (False, False)
    assert "our own loop" in probed.detail


async def test_nobody_asks_on_once_the_time_is_over(story: Story) -> None:
    story.happens(Due(), story.counters(decoded=3), after_s=1.0)
    async with taking_turns(story):
        await probe(story, wait_s=0.2, patient=True)

        assert not story.keeper.asks.are_open
