"""Stories of one keeper and what holds it back: people, the mode, others in trouble, a cause that outlasts restarts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.events import Cleared, Ended, Failed, Verb
from supervisor.core.incident import Ending
from supervisor.core.observations import EngineSeen, Life, Reply
from supervisor.core.restraint import Hold
from supervisor.core.state import WILL_NOT_HELP, Phase
from supervisor.guard import Guard, Rules
from supervisor.messages import Due
from tests.fakes.story import PLANNER, Story

CORRUPT = Diagnosis(cause=Cause.MODEL_CORRUPT, says="its model is cut off", cure="fetch it again", helps_restart=False)
WILL_NOT = Failed(reason=WILL_NOT_HELP, message=CORRUPT.says, counts=False, diagnosis=CORRUPT)
WALL = datetime(2026, 11, 24, tzinfo=UTC)


def killed(instance: str = "one") -> EngineSeen:
    return EngineSeen(life=Life.EXITED, instance=instance, exit_code=1)


def two_that_are_up() -> tuple[Story, Story]:
    """Return two targets that are all there is on a host."""
    guard = Guard(["planner", "code"])
    first, second = (Story(guard=guard, identity=replace(PLANNER, name=name)) for name in ("planner", "code"))
    for story in (first, second):
        story.comes_up()
    return first, second


def test_what_is_held_is_told_and_left_alone_and_restarted_once_it_is_released() -> None:
    guard = Guard([PLANNER.name])
    story = Story(guard=guard)
    story.comes_up()
    guard.hold(Hold(target="planner", since=WALL, why="new driver"))

    story.hangs()
    held = story.keeper.snapshot()
    guard.release("planner")
    asked = story.happens(Due(), after_s=1.0)

    assert held.state.phase is Phase.BACKOFF
    assert not held.state.phase.is_routable
    assert held.restraint is not None
    assert held.restraint.message == "held by the operator: new driver"
    assert "restart one" in asked


def test_what_is_held_is_restarted_all_the_same_when_an_operator_asks() -> None:
    guard = Guard([PLANNER.name])
    story = Story(guard=guard)
    story.comes_up()
    guard.hold(Hold(target="planner", since=WALL))

    assert "restart one" in story.happens(story.wish(Verb.RESTART))


def test_observing_a_hung_server_is_written_down_and_not_touched() -> None:
    story = Story(guard=Guard([PLANNER.name], rules=Rules(observes=True)))
    story.comes_up()

    story.hangs()

    assert story.ledger.acts == []
    assert story.ledger.lines.count("note restart one") == 1
    assert story.keeper.evidence.instance == "one"


def test_observing_one_that_recovers_by_itself_proves_that_waiting_was_right() -> None:
    story = Story(guard=Guard([PLANNER.name], rules=Rules(observes=True)))
    story.comes_up()
    story.hangs()

    story.happens(story.counters(), after_s=1.0)
    story.happens(story.canary())

    assert story.phase() is Phase.UP
    incident = story.ledger.incidents[-1]
    assert (incident.ending, incident.was_right_to_wait) == (Ending.ITSELF, True)


def test_whoever_acts_hands_on_what_is_known_and_the_name_of_the_trouble() -> None:
    story = Story()
    story.comes_up()

    story.hangs()

    case = story.ledger.cases[0]
    assert (case.instance, case.judgement.verdict) == ("one", "hung")
    assert case.incident == story.ledger.incidents[0].id
    assert {statement.witness for statement in case.judgement.statements} >= {"engine", "progress", "cpu"}


def test_an_incident_is_opened_before_the_act_and_closed_by_the_first_good_answer() -> None:
    story = Story()
    story.comes_up()
    story.happens(killed())
    story.happens(Ended(), after_s=1.0)
    story.happens(story.running("two"))
    story.happens(story.counters())
    story.happens(story.canary(), after_s=1.0)

    first, last = story.ledger.incidents[0], story.ledger.incidents[-1]
    assert (first.id, first.closed_at, first.instance) == (last.id, None, "one")
    assert (last.ending, last.closed_at) == (Ending.OUR_RESTART, story.now)
    assert story.keeper.snapshot().incident is None
    parts = story.ledger.incidents_of
    begins = parts.index(first.id)
    # The change that ends it is a part of it too; what went before it was not.
    assert (set(parts[:begins]), set(parts[begins:])) == ({None}, {first.id})
    assert story.ledger.transitions[-1].after is Phase.UP


def test_what_an_operator_does_is_no_incident() -> None:
    story = Story()
    story.comes_up()

    story.happens(story.wish(Verb.RESTART))
    story.happens(Ended(), after_s=1.0)

    assert story.ledger.incidents == []


def test_a_cause_that_outlasts_a_restart_is_watched_until_it_changes() -> None:
    story = Story()
    story.comes_up()
    story.happens(killed())

    story.happens(WILL_NOT)
    story.happens(killed())
    watched = story.happens(Due(), after_s=2.0)
    story.happens(Cleared(what="/models/phi-3.gguf has changed"), after_s=2.0)
    retried = [line for _ in range(9) for line in story.happens(Due(), killed(), after_s=1.0)]

    assert "watch for a cure of model unusable" in watched
    assert "tell restarting" in retried
    assert [act.insists for act, _ in story.ledger.acts] == [False, True]
    assert story.ledger.incidents[-1].diagnosis == CORRUPT


def test_those_that_fall_together_are_one_incident_and_are_restarted_one_by_one() -> None:
    first, second = two_that_are_up()

    first.happens(killed())
    second.happens(killed())
    first.happens(Due(), after_s=1.0)

    assert len(first.ledger.acts) == 1  # nobody knew yet that it was not alone
    assert second.ledger.acts == []
    assert first.keeper.snapshot().incident is not None
    assert second.keeper.snapshot().incident == first.keeper.snapshot().incident


def test_of_two_that_fell_together_the_second_is_restarted_once_the_first_is_well() -> None:
    first, second = two_that_are_up()
    first.happens(killed())
    second.happens(killed())
    first.happens(Ended(), after_s=1.0)
    first.happens(first.running("two"))
    first.happens(first.counters())
    waiting = second.happens(killed(), after_s=1.0)

    first.happens(first.canary())
    after = second.happens(killed(), after_s=1.0)

    assert not [line for line in waiting if line.startswith("restart")]
    assert "restart one" in after


def test_a_frozen_restart_is_done_once_the_freeze_is_over_whatever_becomes_of_the_others() -> None:
    first, second = two_that_are_up()
    first.happens(killed())
    second.happens(killed())
    first.happens(WILL_NOT)

    lines = [line for _ in range(32) for line in second.happens(killed(), after_s=1.0)]

    assert lines.count("restart one") == 1


def test_an_incident_of_an_earlier_daemon_goes_on_by_its_name() -> None:
    story = Story()
    story.comes_up()
    story.happens(killed())
    left = story.ledger.incidents[-1]

    later = Story(incident=left)
    later.happens(Due(), later.running("two"), after_s=60.0)
    later.happens(later.counters())
    later.happens(later.canary())

    closed = later.ledger.incidents[-1]
    assert closed.id == left.id
    assert closed.ending is not None


def test_a_hold_that_ends_by_itself_lets_us_go_on() -> None:
    wall = WALL
    guard = Guard([PLANNER.name], wall=lambda: wall)
    story = Story(guard=guard)
    story.comes_up()
    guard.hold(Hold(target="planner", since=WALL, until=WALL + timedelta(seconds=60)))
    story.hangs()
    waiting = story.phase()

    wall += timedelta(seconds=61)
    asked = story.happens(Due(), after_s=1.0)

    assert waiting is Phase.BACKOFF
    assert "restart one" in asked


# --- drained before it is stopped -------------------------------------------------------------------------------------


def test_a_busy_server_that_is_to_be_restarted_finishes_first() -> None:
    story = Story()
    story.comes_up()
    story.happens(story.counters(decoded=3), after_s=1.0)

    asked = story.happens(story.wish(Verb.RESTART, drains=True))
    busy = [line for n in range(4, 9) for line in story.happens(Due(), story.counters(decoded=n), after_s=1.0)]
    done = story.happens(Due(), story.counters(), after_s=1.0)

    assert asked[0] == "tell draining"
    assert not [line for line in [*asked, *busy] if line.startswith(("restart", "canary"))]
    assert "restart one" in done


def test_a_busy_server_is_waited_for_no_longer_than_the_limit() -> None:
    story = Story()
    story.comes_up()
    story.happens(story.wish(Verb.STOP, drains=True))

    lines = [line for n in range(40) for line in story.happens(Due(), story.counters(decoded=n), after_s=1.0)]

    assert lines.count("stop one") == 1


# --- standing in ------------------------------------------------------------------------------------------------------

STAND_IN = replace(PLANNER, name="planner-cpu", stands_in_for="planner")


class Pair:
    """A first choice and its stand-in, which does not run at first."""

    def __init__(self) -> None:
        self.guard = Guard(["planner", "planner-cpu"], rules=Rules(stand_ins={"planner-cpu": "planner"}))
        self.first = Story(guard=self.guard)
        self.second = Story(guard=self.guard, identity=STAND_IN)
        self.first.comes_up()
        self.second.happens(EngineSeen(life=Life.EXITED, instance="cpu-one", exit_code=0))

    def fails_for_good(self) -> None:
        self.first.happens(killed())
        self.first.happens(WILL_NOT)
        self.first.happens(killed())

    def called(self) -> list[str]:
        return self.second.happens(EngineSeen(life=Life.EXITED, instance="cpu-one", exit_code=0), after_s=1.0)

    def stands_in(self) -> None:
        self.fails_for_good()
        self.called()
        self.second.happens(Ended(), after_s=1.0)
        self.second.happens(self.second.running("cpu-two"))
        self.second.happens(self.second.counters())
        self.second.happens(self.second.canary())

    def first_comes_back(self, *, for_s: int) -> list[str]:
        """Let the first choice be well for so long, and return what is done to the stand-in."""
        self.first.happens(self.first.running("two"), after_s=1.0)
        self.first.happens(self.first.counters())
        self.first.happens(self.first.canary())
        lines: list[str] = []
        for _ in range(for_s):
            self.first.happens(Due(), self.first.counters(), after_s=1.0)
            self.first.happens(self.first.canary())
            lines += self.second.happens(Due(), self.second.counters(), after_s=1.0)
            lines += self.second.happens(self.second.canary())
        return lines


def test_a_stand_in_that_does_not_run_is_as_it_should_be() -> None:
    pair = Pair()

    assert (pair.second.phase(), pair.called()[:1]) == (Phase.STOPPED, [])
    assert pair.second.keeper.state.judgement.message == "stands by for planner"


def test_a_stand_in_is_started_where_the_first_choice_cannot_be_had() -> None:
    pair = Pair()
    pair.fails_for_good()

    called = pair.called()

    assert "start None" in called  # nothing of it runs yet
    assert pair.second.keeper.state.judgement.message == "start since planner cannot be had"
    assert pair.second.ledger.incidents == []


def test_a_stand_in_is_stopped_once_the_first_choice_has_been_well_for_a_while() -> None:
    pair = Pair()
    pair.stands_in()

    soon = pair.first_comes_back(for_s=30)
    later = pair.first_comes_back(for_s=40)

    assert not [line for line in soon if line.startswith("stop")]
    assert "tell draining" in later
    assert later.count("stop cpu-two") == 1


def test_a_stand_in_that_somebody_stops_is_not_started_again_until_it_is_needed_anew() -> None:
    pair = Pair()
    pair.stands_in()
    by_hand = EngineSeen(life=Life.EXITED, instance="cpu-two", stopped_by_operator=True)
    pair.second.happens(by_hand)

    lines = [line for _ in range(10) for line in pair.second.happens(by_hand, after_s=1.0)]

    assert pair.second.phase() is Phase.STOPPED
    assert not [line for line in lines if line.startswith("start")]


def test_a_held_stand_in_is_not_started() -> None:
    pair = Pair()
    pair.guard.hold(Hold(target="planner-cpu", since=WALL))
    pair.fails_for_good()

    assert not [line for line in pair.called() if line.startswith("start")]


# --- one model alone --------------------------------------------------------------------------------------------------


def test_a_model_that_was_ended_alone_is_proven_by_a_canary_in_the_same_life() -> None:
    story = Story()
    story.comes_up()
    story.hangs()

    asked = story.happens(Ended(eased=True), story.running(), story.counters(), after_s=1.0)
    starting = story.phase()
    story.happens(story.canary())

    assert "canary to one" in asked
    assert (starting, story.phase()) == (Phase.STARTING, Phase.UP)
    assert story.keeper.evidence.instance == "one"


def test_a_model_that_still_hangs_after_it_was_ended_alone_costs_its_server_a_restart() -> None:
    story = Story()
    story.comes_up()
    story.hangs()
    story.happens(Ended(eased=True), story.running(), after_s=1.0)

    lines = [
        line
        for _ in range(90)
        for line in story.happens(Due(), story.running(), story.counters(Reply.SILENT), story.idle_cpu(), after_s=1.0)
    ]

    assert lines.count("restart one") == 1
    assert [act.eases for act, _ in story.ledger.acts] == [True, False]
