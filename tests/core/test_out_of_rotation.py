"""A person takes a target out of rotation: routers are told, it runs on, and it is left alone until that ends."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from supervisor.core.decide import SETTLED_S, serves_nobody
from supervisor.core.evidence import Evidence
from supervisor.core.liveness import Clocks, Snapshot, backend_entry, retry_after_s, summary
from supervisor.core.observations import EngineSeen, Life, Slot
from supervisor.core.policy import Policy
from supervisor.core.restraint import EVERY, Curb, Hold, Restraint, by_a_person, drained
from supervisor.core.state import Phase
from supervisor.core.story import story
from supervisor.core.verdict import Judgement
from tests.core.telling import HUNG, NOW, READY, snapshot

WALL = datetime(2026, 11, 26, 12, 0, tzinfo=timezone(timedelta(hours=1)))
POLICY = Policy()
SINCE = NOW - 30.0
DRAIN = Restraint(curb=Curb.DRAINED, message="drained by the operator: new driver", since=SINCE)
IDLE = Slot(id=0, busy=False, task=7, decoded=0, prefilled=0)
BUSY = Slot(id=1, busy=True, task=8, decoded=12, prefilled=0)


def out(
    phase: Phase = Phase.UP, judgement: Judgement = READY, *, drain: Restraint = DRAIN, **changes: object
) -> Snapshot:
    return replace(snapshot(phase, judgement, **changes), drain=drain, restraint=drain)


def seen(*slots: Slot, **known: object) -> Evidence:
    evidence = Evidence(seen_at=0.0, slots=slots, readable_ever=True, looked_at=SINCE + SETTLED_S)
    return replace(evidence, **known)  # type: ignore[arg-type]


def entry(target: Snapshot) -> dict[str, object]:
    return backend_entry(target, clocks=Clocks(now=NOW, wall=WALL), now=NOW)


def test_it_is_not_routable_and_says_why_and_what_is_believed_of_it_stays() -> None:
    told = entry(out())

    assert (told["routable"], told["weight"], told["reason"]) == (False, 0.0, "Drained")
    assert told["message"] == "drained by the operator: new driver"
    assert (told["verdict"], told["state"]) == ("ready", "RUNNING")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(out(), None, id="until-it-is-released"),
        pytest.param(out(drain=replace(DRAIN, until=NOW + 90.4)), 91.0, id="until-a-time"),
        pytest.param(
            out(Phase.STARTING, drain=replace(DRAIN, until=NOW + 2.0), started_at=NOW), 5.0, id="not-before-it-is-up"
        ),
        pytest.param(out(Phase.STOPPED, drain=replace(DRAIN, until=NOW + 2.0)), None, id="nobody-starts-it"),
    ],
)
def test_whoever_asks_is_told_to_come_back_when_that_may_help(target: Snapshot, expected: float | None) -> None:
    assert retry_after_s(target, now=NOW) == expected


def test_the_status_line_tells_whether_anybody_is_still_served() -> None:
    serving = out(slots=(BUSY,), readable_ever=True, looked_at=NOW)
    done = out(slots=(IDLE,), readable_ever=True, looked_at=NOW, answered_at=NOW - 3, first_token_s=0.2)

    assert (
        summary(serving, now=NOW)
        == "ready: first token after 41 ms; drained by the operator: new driver; may still be serving somebody"
    )
    assert (
        summary(done, now=NOW)
        == "ready, first token 0.20s, 3s ago; drained by the operator: new driver; serves nobody any more"
    )


def test_the_status_line_tells_a_pause_beside_it_and_a_trouble_once() -> None:
    paused = Restraint(curb=Curb.PAUSED, message="paused by the operator")
    ill = out(Phase.BACKOFF, HUNG, retry_at=NOW - 1, restraint=DRAIN)

    assert summary(replace(out(Phase.STARTING), restraint=paused), now=NOW).endswith(
        "; drained by the operator: new driver; paused by the operator"
    )
    assert summary(replace(ill, state=replace(ill.state, restraint=DRAIN)), now=NOW) == (
        "hung: counters silent, cpu idle; left alone; drained by the operator: new driver"
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            out(slots=(IDLE,), readable_ever=True, looked_at=NOW),
            "routers do not send to it; it serves nobody any more.",
        ),
        (
            out(slots=(BUSY,), readable_ever=True, looked_at=NOW),
            "routers do not send to it; whoever it still serves may finish.",
        ),
        (out(Phase.STARTING), "until it is released: routers do not send to it. Whatever becomes of it"),
        (out(drain=replace(DRAIN, until=NOW + 120)), "new driver, for another 2 min"),
    ],
)
def test_the_story_tells_it_once_and_how_it_ends(target: Snapshot, words: str) -> None:
    told = story(target, now=NOW)

    assert words in told
    assert told.count("drained by the operator") == 1
    assert "benchai-supervisorctl release general" in told


def test_what_is_due_meanwhile_is_held_back_and_the_story_says_so() -> None:
    ill = out(Phase.BACKOFF, HUNG, retry_at=NOW - 1)

    assert "It would be restarted now, but it is drained by the operator" in story(
        replace(ill, state=replace(ill.state, restraint=DRAIN)), now=NOW
    )


# --- who is still served ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "nobody"),
    [
        pytest.param(seen(IDLE), True, id="idle"),
        pytest.param(seen(IDLE, BUSY), False, id="somebody"),
        pytest.param(seen(IDLE, BUSY, canary_since=NOW), True, id="only-our-canary"),
        pytest.param(seen(IDLE, BUSY, canary_ended_at=NOW), True, id="only-our-canary-that-has-ended-since-the-look"),
        pytest.param(seen(IDLE, BUSY, canary_ended_at=SINCE), False, id="not-our-canary-that-had-ended-before"),
        pytest.param(seen(IDLE, BUSY, canary_since=NOW, is_alone=False), False, id="somebody-before-our-canary"),
        pytest.param(seen(BUSY, canary_since=NOW), False, id="a-queue-behind-our-canary-cannot-be-seen"),
        pytest.param(seen(engine=EngineSeen(life=Life.EXITED)), True, id="it-does-not-run"),
        pytest.param(seen(BUSY, engine=EngineSeen(life=Life.RUNNING)), False, id="it-runs"),
    ],
)
def test_nobody_is_served_where_nothing_but_our_canary_is_at_work(evidence: Evidence, nobody: bool) -> None:
    assert serves_nobody(evidence, since=SINCE, policy=POLICY) is nobody


def test_what_is_in_rotation_is_not_said_to_serve_nobody() -> None:
    idle = snapshot(Phase.UP, READY, slots=(IDLE,), readable_ever=True, looked_at=NOW)

    assert not idle.serves_nobody
    assert idle.is_routable


# --- a person's words -------------------------------------------------------------------------------------------------


def test_a_drain_is_a_hold_of_its_own_kind_that_began_when_it_was_said() -> None:
    said = Hold(target="general", since=WALL - timedelta(seconds=30), why="new driver", drains=True)

    assert drained("general", holds=[said], now=NOW, local=WALL) == DRAIN
    assert by_a_person("general", holds=[said], windows=[], now=NOW, local=WALL) == DRAIN


@pytest.mark.parametrize(
    "said",
    [
        Hold(target="general", since=WALL),
        Hold(target=EVERY, since=WALL),
        Hold(target="code", since=WALL, drains=True),
        Hold(target="general", since=WALL, until=WALL, drains=True),
    ],
)
def test_another_word_or_one_that_is_over_drains_nobody(said: Hold) -> None:
    assert drained("general", holds=[said], now=NOW, local=WALL) is None
