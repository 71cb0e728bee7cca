"""An operator's probe goes through the target's keeper: one canary, his or one that is out, or why there is none."""

import pytest

from supervisor.core.decide import Hindrance
from supervisor.core.events import Verb
from supervisor.core.observations import Life, Reply
from supervisor.messages import Answered, Due, Hindered, Probe, Sent
from tests.fakes.story import Story


class Asker:
    """Somebody who wants a canary, and what he was told."""

    def __init__(self, *, wakes: bool = False) -> None:
        self.heard: list[Answered | Hindered | Sent] = []
        self.probe = Probe(self.heard.append, wakes=wakes)


@pytest.fixture
def story() -> Story:
    story = Story()
    story.comes_up()
    return story


def test_it_is_sent_at_once_and_its_end_is_told(story: Story) -> None:
    asker = Asker()
    canaries = len(story.ledger.canaries)

    story.happens(asker.probe, after_s=1.0)
    story.happens(story.canary(), after_s=0.1)

    assert len(story.ledger.canaries) == canaries + 1
    assert asker.heard == [Sent(story.now - 0.1), Answered(reply=Reply.ANSWERED, first_token_s=0.04, detail="")]


def test_a_second_one_waits_for_the_same_canary(story: Story) -> None:
    first, second = Asker(), Asker()
    story.happens(first.probe, after_s=1.0)
    canaries = len(story.ledger.canaries)

    story.happens(second.probe, after_s=1.0)
    story.happens(story.canary(Reply.FAILED), after_s=1.0)

    assert len(story.ledger.canaries) == canaries
    assert [each.heard[-1] for each in (first, second)] == 2 * [
        Answered(reply=Reply.FAILED, first_token_s=0.04, detail="")
    ]


def test_where_every_slot_is_at_work_it_waits_until_one_is_free(story: Story) -> None:
    asker = Asker()
    story.happens(Due(), story.counters(decoded=3), after_s=1.0)

    story.happens(asker.probe)
    story.happens(Due(), story.counters(decoded=9), after_s=1.0)
    hindered = list(asker.heard)
    story.happens(Due(), story.counters(), after_s=1.0)

    assert set(hindered) == {Hindered(Hindrance.BUSY)}
    assert asker.heard[-1] == Sent(story.now)


def test_a_sleeper_is_woken_only_for_whoever_says_so(story: Story) -> None:
    considerate, hurried = Asker(), Asker(wakes=True)
    story.happens(Due(), story.counters(Reply.ASLEEP), after_s=1.0)

    story.happens(considerate.probe)
    story.happens(hurried.probe)

    assert considerate.heard[0] == Hindered(Hindrance.ASLEEP)
    assert hurried.heard == [Sent(story.now)]


def test_what_does_not_run_is_not_asked(story: Story) -> None:
    asker = Asker()
    gone = story.running().__class__(life=Life.EXITED, instance="one", stopped_by_operator=True)
    story.happens(gone, after_s=1.0)

    story.happens(asker.probe)

    assert asker.heard == [Hindered(Hindrance.NOT_RUNNING)]


def test_nor_what_is_being_restarted(story: Story) -> None:
    asker = Asker()
    story.happens(story.wish(Verb.RESTART), after_s=1.0)

    story.happens(asker.probe)

    assert asker.heard == [Hindered(Hindrance.BEING_ENDED)]


def test_for_whoever_has_gone_none_is_sent(story: Story) -> None:
    asker = Asker()
    story.happens(Due(), story.counters(decoded=3), after_s=1.0)
    story.happens(asker.probe)
    canaries = len(story.ledger.canaries)

    asker.probe.is_withdrawn = True
    story.happens(Due(), story.counters(), after_s=1.0)

    assert len(story.ledger.canaries) == canaries
    assert asker.heard == [Hindered(Hindrance.BUSY)]


def test_a_look_that_is_due_goes_first(story: Story) -> None:
    asker = Asker()
    story.happens(Due(), story.counters(decoded=3), after_s=1.0)
    story.happens(asker.probe)
    story.happens(story.counters())

    asked = story.happens(Due(), after_s=1.0)

    assert not any(line.startswith("canary") for line in asked)
