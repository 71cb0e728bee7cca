"""The book of what backends do directly, and a router's turns that are taken by it."""

from dataclasses import replace

from supervisor.core.evidence import Evidence
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import CanaryEnded, Kind, Reply, Slot
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State
from supervisor.messages import Due, Identity
from supervisor.routed import Directly, Ways
from tests.fakes.story import Story

POLICY = Policy()
USED = (Slot(id=0, busy=False, task=7, decoded=9, prefilled=9, cached=900),)
ROUTER = Identity(
    name="router", kind="router", url="http://127.0.0.1:8085", models=(), restartable=True, has_counters=False
)


class Town:
    """Backends that a test says how they do, on one clock with whoever asks."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.directly = Directly(clock=lambda: story.now)
        self.ways = Ways(("general", "code"), self.directly, policy=POLICY, clock=lambda: story.now)

    def shows(
        self, name: str, phase: Phase = Phase.UP, *, served_at: float | None = None, stands_in_for: str | None = None
    ) -> None:
        evidence = Evidence(seen_at=0.0, kind=Kind.LLAMA_CPP, slots=USED, served_at=served_at)
        snapshot = Snapshot(
            name=name,
            kind="backend",
            url="",
            models=(name,),
            state=State(phase=phase, since=self._story.now),
            evidence=evidence,
            policy=POLICY,
            as_of=self._story.now,
            stands_in_for=stands_in_for,
        )
        self.directly.saw(snapshot)


def town() -> tuple[Story, Town]:
    story = Story(identity=ROUTER)
    there = Town(story)
    there.shows("general")
    there.shows("code")
    story.keeper._ways = there.ways
    return story, there


def came_back(story: Story, reply: Reply) -> CanaryEnded:
    return CanaryEnded(instance="one", attempt=story.keeper.evidence.canary_attempt, reply=reply, first_token_s=0.1)


def test_a_router_is_asked_for_each_alias_in_turn_and_let_go_after_its_deadline() -> None:
    story, _ = town()

    first = story.happens(story.running(), after_s=1.0)
    second = story.happens(came_back(story, Reply.ANSWERED), Due(), after_s=POLICY.canary_every_s)
    third = story.happens(Due(), after_s=POLICY.canary_every_s)

    assert "canary to one for general within 20s" in first
    assert "canary to one for code within 20s" in second + third


def test_a_router_that_fails_where_its_backends_answer_is_restarted_after_three_rounds() -> None:
    story, _ = town()
    story.happens(story.running(), after_s=1.0)
    story.happens(came_back(story, Reply.ANSWERED))

    phases = []
    for _ in range(3):
        story.happens(Due(), after_s=20.0)
        story.happens(came_back(story, Reply.SILENT), after_s=20.0)
        phases.append(story.phase())

    assert phases == [Phase.SUSPECT, Phase.SUSPECT, Phase.RESTARTING]
    assert len({attempt for _, attempt, _ in story.ledger.canaries}) == 4


def test_a_router_that_fails_with_its_backend_is_left_alone_however_long() -> None:
    story, there = town()
    story.happens(story.running(), after_s=1.0)
    story.happens(came_back(story, Reply.ANSWERED))

    for _ in range(10):
        story.happens(Due(), after_s=20.0)
        there.shows("general", Phase.SUSPECT)
        there.shows("code", Phase.BACKOFF)
        story.happens(came_back(story, Reply.SILENT), after_s=20.0)
        there.shows("general")
        there.shows("code")

    assert story.phase() is Phase.UP
    assert story.ledger.acts == []


def test_work_that_our_own_asking_brought_is_nobodys_conversation() -> None:
    story, there = town()
    there.ways.next()
    story.now += 2.0
    there.shows("general", served_at=story.now)
    there.ways.weigh(CanaryEnded(instance="one", attempt=1, reply=Reply.ANSWERED))
    story.now += 2.0
    there.shows("general", served_at=story.now)

    mine = there.directly.directs["general"].users_at
    story.now += 60.0
    there.shows("general", served_at=story.now)

    assert mine is None
    assert there.directly.directs["general"].users_at == story.now


def test_a_stand_in_that_is_not_needed_has_no_part_in_anything() -> None:
    _, there = town()

    there.shows("general-cpu", Phase.STOPPED, stands_in_for="general")

    assert set(there.directly.directs) == {"general", "code"}


def test_a_refused_connection_is_the_routers_own_whatever_its_backends_do() -> None:
    _, there = town()
    there.shows("general", Phase.BACKOFF)
    there.ways.next()

    refused = there.ways.weigh(CanaryEnded(instance="one", attempt=1, reply=Reply.REFUSED))

    assert refused.reply is Reply.REFUSED
    assert there.ways.next() == "code"


def test_an_asking_that_nobody_heard_the_end_of_hides_no_user_for_ever() -> None:
    story, there = town()
    there.ways.next()
    story.now += 600.0
    there.ways.next()
    story.now += 100.0
    served = replace(came_back(story, Reply.ANSWERED))
    there.ways.weigh(served)
    story.now += 100.0

    there.shows("general", served_at=story.now)

    assert there.directly.directs["general"].users_at == story.now
