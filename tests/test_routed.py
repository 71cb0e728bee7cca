"""The book of what backends do directly, and a router's turns that are taken by it."""

from dataclasses import replace
from typing import Any

import pytest

from supervisor.core.evidence import Evidence
from supervisor.core.liveness import Snapshot
from supervisor.core.observations import CanaryEnded, Kind, Reply, Slot
from supervisor.core.policy import Policy
from supervisor.core.state import Phase, State
from supervisor.core.verdict import Judgement, Verdict
from supervisor.messages import Due, Identity
from supervisor.routed import Directly, Ways
from tests.fakes.story import Story

POLICY = Policy()
USED = (Slot(id=0, busy=False, task=7, decoded=9, prefilled=9, cached=900),)
ROUTER = Identity(
    name="router", kind="router", url="http://127.0.0.1:8085", models=(), restartable=True, has_counters=False
)


class Town:
    """Backends that a test says how they do, and a router's keeper on the same clock."""

    def __init__(self, *aliases: str) -> None:
        self.story = Story(identity=ROUTER)
        self.directly = Directly(clock=lambda: self.story.now)
        self.ways = Ways(aliases, self.directly, policy=POLICY, clock=lambda: self.story.now)
        self.story.keeper._ways = self.ways
        self.answers_directly = True
        for name in ("general", "code"):
            self.shows(name)

    def shows(self, name: str, phase: Phase = Phase.UP, *, verdict: Verdict = Verdict.READY, **known: Any) -> None:
        state = State(phase=phase, since=self.story.now, judgement=Judgement(verdict=verdict, reason="X", message="x"))
        stands_in_for = known.pop("stands_in_for", None)
        snapshot = Snapshot(
            name=name,
            kind="backend",
            url="",
            models=(name,),
            state=state,
            evidence=Evidence(seen_at=0.0, kind=Kind.LLAMA_CPP, **{"slots": USED, **known}),
            policy=POLICY,
            as_of=self.story.now,
            stands_in_for=stands_in_for,
        )
        self.directly.saw(snapshot)

    def asks(self) -> str | None:
        """Let it be time for a look; whoever a doubt calls for answers first. Return which alias was asked for."""
        for name in ("general", "code"):
            if self.answers_directly and self.directly.is_called(name):
                self.shows(name, answered_at=self.story.now + 1.0)
        before = len(self.story.ledger.canaries)
        lines = self.story.happens(Due(), after_s=POLICY.canary_every_s)
        asked = [line.split()[4] for line in lines if line.startswith("canary to one for")]
        assert len(asked) == len(self.story.ledger.canaries) - before <= 1
        return asked[0] if asked else None

    def comes_back(self, reply: Reply, *, after_s: float = 20.0) -> Phase:
        attempt = self.story.keeper.evidence.canary_attempt
        self.story.happens(
            CanaryEnded(instance="one", attempt=attempt, reply=reply, first_token_s=0.1, detail="its words"),
            after_s=after_s,
        )
        return self.story.phase()

    def has_worked(self, *aliases: str) -> None:
        """Let every alias be answered for once."""
        self.story.happens(self.story.running(), after_s=1.0)  # it is asked for the first at once
        self.comes_back(Reply.ANSWERED, after_s=0.1)
        for alias in aliases[1:]:
            assert self.asks() == alias
            self.comes_back(Reply.ANSWERED, after_s=0.1)


def test_a_router_is_asked_for_each_alias_in_turn_and_let_go_after_its_deadline() -> None:
    town = Town("general", "code")

    first = town.story.happens(town.story.running(), after_s=1.0)
    town.comes_back(Reply.ANSWERED, after_s=0.1)

    assert "canary to one for general within 20s" in first
    assert town.asks() == "code"


def test_a_router_that_fails_where_its_backend_answers_is_restarted_after_three_rounds() -> None:
    town = Town("general", "code")
    town.has_worked("general", "code")

    rounds = [(town.asks(), town.comes_back(Reply.SILENT)) for _ in range(3)]

    assert rounds == [("general", Phase.SUSPECT), ("general", Phase.SUSPECT), ("general", Phase.RESTARTING)]


def test_a_router_is_not_blamed_while_its_backend_has_not_answered_directly_since() -> None:
    town = Town("general", "code")
    town.has_worked("general", "code")
    town.answers_directly = False

    phases = []
    for _ in range(10):
        town.asks()
        phases.append(town.comes_back(Reply.SILENT))

    assert phases[0] is Phase.SUSPECT
    assert set(phases[1:]) == {Phase.UP}  # excused


@pytest.mark.parametrize(
    "ill",
    [
        {"phase": Phase.SUSPECT},
        {"phase": Phase.BUSY},
        {"verdict": Verdict.UNKNOWN},
        {"blind_detail": "too many open files"},
        {"engine_detail": "no route to host"},
        {"slots": (replace(USED[0], busy=True),)},
    ],
    ids=["suspect", "busy", "not judged", "we are blind", "its engine is away", "at work"],
)
def test_a_router_that_fails_with_its_backend_is_left_alone_however_long(ill: dict[str, Any]) -> None:
    town = Town("general")
    town.has_worked("general")

    for _ in range(10):
        town.shows("general")
        town.asks()
        town.shows("general", **ill)
        assert town.comes_back(Reply.SILENT) is Phase.UP

    assert town.story.ledger.acts == []


def test_an_alias_that_never_worked_where_others_do_restarts_nobody_and_holds_up_no_other() -> None:
    town = Town("general", "code")
    town.has_worked("general")

    asked = []
    for _ in range(8):
        alias = town.asks()
        asked.append(alias)
        town.comes_back(Reply.FAILED if alias == "code" else Reply.ANSWERED, after_s=0.1)

    assert asked == ["code", "general"] * 4
    assert town.story.phase() is Phase.UP
    assert town.story.ledger.acts == []


def test_a_router_that_works_for_no_alias_is_restarted_all_the_same() -> None:
    town = Town("general", "code")
    town.story.happens(replace(town.story.running(), age_s=900.0), after_s=1.0)

    phases = [town.comes_back(Reply.SILENT)]
    for _ in range(2):
        town.asks()
        phases.append(town.comes_back(Reply.SILENT))

    assert phases[-1] is Phase.RESTARTING


def test_between_two_bad_rounds_everybody_is_given_the_time_to_come_round() -> None:
    town = Town("general")
    town.has_worked("general")
    town.asks()
    town.comes_back(Reply.FAILED, after_s=0.1)

    hasty = town.story.happens(Due(), after_s=POLICY.canary_deadline_s / 2 - 0.1)
    later = town.story.happens(Due(), after_s=0.1)

    assert not any("canary" in line for line in hasty)
    assert any("canary to one for general" in line for line in later)


def test_a_good_answer_ends_the_doubt_and_calls_for_nobody_any_more() -> None:
    town = Town("general")
    town.has_worked("general")
    town.asks()
    town.comes_back(Reply.SILENT)
    called = town.directly.is_called("general")

    town.answers_directly = False
    town.asks()
    phase = town.comes_back(Reply.ANSWERED, after_s=0.1)

    assert called
    assert not town.directly.is_called("general")
    assert phase is Phase.UP


def test_whoever_has_answered_directly_is_called_no_more() -> None:
    town = Town("general")
    town.directly.call("general")

    town.shows("general", answered_at=town.story.now - 1.0)
    before = town.directly.is_called("general")
    town.shows("general", answered_at=town.story.now + 1.0)

    assert before
    assert not town.directly.is_called("general")


def test_a_late_answer_to_an_earlier_life_is_nothing_to_this_one() -> None:
    town = Town("general")
    town.has_worked("general")
    town.asks()

    town.story.happens(CanaryEnded(instance="none", attempt=2, reply=Reply.FAILED), after_s=1.0)

    assert not town.directly.is_called("general")


def test_work_that_our_own_asking_brought_is_nobodys_conversation() -> None:
    town = Town("general", "code")
    town.ways.next("one")
    town.story.now += 2.0
    town.shows("general", served_at=town.story.now)
    town.shows("code", served_at=town.story.now)
    town.ways.weigh(CanaryEnded(instance="one", attempt=1, reply=Reply.ANSWERED))
    town.story.now += 2.0
    town.shows("general", served_at=town.story.now)

    mine, theirs = (town.directly.directs[name].users_at for name in ("general", "code"))
    town.story.now += 60.0
    town.shows("general", served_at=town.story.now)

    assert mine is None
    assert theirs is not None
    assert town.directly.directs["general"].users_at == town.story.now


def test_an_asking_that_nobody_heard_the_end_of_hides_no_user_for_ever() -> None:
    town = Town("general")
    town.ways.next("one")
    town.story.now += POLICY.canary_deadline_s + 4.0

    town.shows("general", served_at=town.story.now)

    assert town.directly.directs["general"].users_at == town.story.now


def test_a_stand_in_that_is_not_needed_has_no_part_in_anything() -> None:
    town = Town("general")

    town.shows("general-cpu", Phase.STOPPED, stands_in_for="general")

    assert set(town.directly.directs) == {"general", "code"}


def test_a_refused_connection_is_the_routers_own_whatever_its_backends_do() -> None:
    town = Town("general")
    town.ways.next("one")
    town.shows("general", Phase.BACKOFF)

    refused = town.ways.weigh(CanaryEnded(instance="one", attempt=1, reply=Reply.REFUSED))

    assert refused.reply is Reply.REFUSED


def test_other_aliases_are_tried_from_now_on() -> None:
    town = Town("general", "code")
    town.shows("math")

    town.ways.settle(("code", "math"), policy=POLICY)

    asked = [town.ways.next(None), town.ways.next(None)]
    assert sorted(alias for alias, _ in filter(None, asked)) == ["code", "math"]


def test_nothing_is_known_any_more_of_a_backend_that_is_watched_no_more() -> None:
    town = Town("general")
    town.directly.call("general")

    town.directly.forget("general")

    assert not town.directly.is_called("general")
    assert "general" not in town.directly.directs
