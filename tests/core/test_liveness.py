"""The words that routers and people are told."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.baseline import Baseline
from supervisor.core.events import Verb
from supervisor.core.liveness import Clocks, Snapshot, Word, backend_entry, by_alias, retry_after_s, summary, word
from supervisor.core.policy import Policy
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase
from supervisor.core.verdict import Judgement, Verdict
from tests.core.timeline import FROZEN_IDLE, IDLE, KILLED, LIVELOCKED, NOW, STOPPED, WORKING, Moment, Played

CLOCKS = Clocks(now=NOW, wall=datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC))


def snapshot(played: Played, *, name: str = "planner", models: tuple[str, ...] = ("planner", "research")) -> Snapshot:
    return Snapshot(
        name=name,
        kind="backend",
        url="http://127.0.0.1:8092",
        models=models,
        state=played.state,
        evidence=played.evidence,
        policy=Policy(),
        as_of=played.now,
    )


def told(*moments: Moment) -> str:
    played = Played().play(moments)
    return summary(snapshot(played), now=played.now + 12.0)


def test_a_ready_backend_reads_as_the_contract_says() -> None:
    played = Played().play([IDLE])

    entry = backend_entry(snapshot(played), clocks=CLOCKS, now=played.now)

    assert entry == {
        "name": "planner",
        "url": "http://127.0.0.1:8092",
        "models": ["planner", "research"],
        "routable": True,
        "weight": 1.0,
        "verdict": "ready",
        "state": "RUNNING",
        "reason": "CanaryAnswered",
        "message": "first token after 100 ms",
        "since": "2026-11-23T12:00:01.000Z",
        "last_ok_at": "2026-11-23T12:00:01.000Z",
        "first_token_ms": 100.0,
        "retry_after_s": None,
        "instance": "life-1",
    }


def test_a_backend_that_nobody_has_looked_at_is_left_as_it_was() -> None:
    entry = backend_entry(snapshot(Played()), clocks=CLOCKS, now=NOW)

    assert (entry["routable"], entry["weight"], entry["verdict"]) == (True, 0.5, "unknown")
    assert (entry["last_ok_at"], entry["first_token_ms"], entry["instance"]) == (None, None, None)


def test_nothing_but_the_retry_time_changes_merely_because_time_goes_by() -> None:
    played = Played().play([IDLE, KILLED, KILLED, KILLED])
    assert played.state.phase is Phase.BACKOFF

    entries = [backend_entry(snapshot(played), clocks=CLOCKS, now=played.now + later_s) for later_s in (0.0, 5.0)]

    assert entries[0]["retry_after_s"] > entries[1]["retry_after_s"]
    for entry in entries:
        del entry["retry_after_s"]
    assert entries[0] == entries[1]


def test_every_alias_names_its_backends_in_the_order_of_the_settings() -> None:
    played = Played()

    models = by_alias([snapshot(played, name="a", models=("x", "y")), snapshot(played, name="b", models=("y",))])

    assert models == {"x": ["a"], "y": ["a", "b"]}


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        pytest.param([IDLE], "ready, first token 0.10s, 12s ago", id="ready"),
        pytest.param([IDLE, WORKING], "busy: every slot at work", id="busy"),
        pytest.param([IDLE, FROZEN_IDLE], "suspect: counters silent for 12s, cpu idle", id="suspect"),
        pytest.param([IDLE, LIVELOCKED], "busy: counters silent for 12s, cpu burning", id="long-prefill"),
        pytest.param([IDLE, STOPPED], "stopped by the operator", id="stopped"),
        pytest.param([IDLE, KILLED], "restarting; down: exited with code 137", id="restarting"),
        pytest.param([IDLE, KILLED, KILLED, KILLED], "down: exited with code 137; restart 2/5 in 0s", id="backoff"),
        pytest.param([replace(IDLE, asked=Verb.STOP)], "stop asked for by the operator", id="stopping"),
        pytest.param([replace(IDLE, asked=Verb.RESTART)], "restarting; restart asked for by the operator", id="asked"),
    ],
)
def test_the_status_line_says_what_and_what_comes_next(moments: list[Moment], expected: str) -> None:
    assert told(*moments) == expected


def test_an_answer_without_a_time_is_told_without_one() -> None:
    played = Played().play([IDLE])
    played.evidence = replace(played.evidence, first_token_s=None)

    assert summary(snapshot(played), now=played.now) == "ready, 0s ago"


def failed(**known: object) -> Snapshot:
    hung = Judgement(verdict=Verdict.HUNG, reason="CountersSilent", message="no progress, cpu idle", since=NOW - 14.0)
    played = Played()
    played.state = replace(played.state, phase=Phase.FAILED, judgement=hung, **known)  # type: ignore[arg-type]
    return snapshot(played)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "needs a person"),
        ({"restartable": False}, 'watched only (engine = "none"): restart it by hand'),
        ({"retry_at": NOW + 900.0, "is_exhausted": True}, "slow retry in 15m"),
    ],
)
def test_what_is_fatal_says_who_is_to_do_what(known: dict[str, object], expected: str) -> None:
    assert summary(failed(**known), now=NOW) == f"hung: no progress for 14s, cpu idle; {expected}"


KNOWN_STARTS = Baseline(starts_s=(20.0, 30.0, 60.0))
SLOW_RETRY = {"retry_at": NOW + 18.4}


@pytest.mark.parametrize(
    ("known", "expected"),
    [({}, None), (SLOW_RETRY, 19.0), ({"retry_at": NOW + 18.0}, 18.0), ({"retry_at": NOW - 1}, 1)],
)
def test_a_router_is_told_when_asking_again_may_help(known: dict[str, object], expected: float | None) -> None:
    assert retry_after_s(failed(**known), now=NOW) == expected


@pytest.mark.parametrize(("known", "expected"), [({}, None), (SLOW_RETRY, 49.0), ({"retry_at": NOW - 1}, 30.0)])
def test_after_the_backoff_comes_a_usual_start(known: dict[str, object], expected: float | None) -> None:
    assert retry_after_s(replace(failed(**known), baseline=KNOWN_STARTS), now=NOW) == expected


@pytest.mark.parametrize(
    ("curb", "until", "expected"),
    [
        pytest.param(Curb.HELD, None, None, id="held-until-released"),
        pytest.param(Curb.OBSERVING, None, None, id="we-only-watch"),
        pytest.param(Curb.HELD, NOW + 600.0, 600.0, id="held-for-longer"),
        pytest.param(Curb.HELD, NOW + 5.0, 19.0, id="held-for-less-than-the-backoff"),
        pytest.param(Curb.SHARED_CAUSE, NOW + 60.0, 60.0, id="frozen"),
        pytest.param(Curb.ONE_AT_A_TIME, None, 19.0, id="another-goes-first"),
    ],
)
def test_what_holds_us_back_is_counted(curb: Curb, until: float | None, expected: float | None) -> None:
    restraint = Restraint(curb=curb, message="held", until=until)
    of_state = failed(**SLOW_RETRY, restraint=restraint)
    of_a_person = replace(failed(**SLOW_RETRY), restraint=restraint)

    assert retry_after_s(of_state, now=NOW) == retry_after_s(of_a_person, now=NOW) == expected


@pytest.mark.parametrize(
    ("spent_s", "expected"),
    [
        pytest.param(0.0, 30.0, id="as-usual"),
        pytest.param(10.5, 20.0, id="some-of-it-is-over"),
        pytest.param(25.0, 20.0, id="slower-than-one-of-them"),
        pytest.param(59.9, 1.0, id="never-none-at-all"),
        pytest.param(60.0, 5.0, id="slower-than-ever"),
    ],
)
def test_one_that_starts_is_as_far_as_those_that_took_longer(spent_s: float, expected: float) -> None:
    played = Played()
    played.state = replace(played.state, phase=Phase.STARTING)
    played.evidence = replace(played.evidence, started_at=NOW - spent_s)

    known = replace(snapshot(played), baseline=KNOWN_STARTS)

    assert retry_after_s(known, now=NOW) == expected
    assert retry_after_s(snapshot(played), now=NOW) == 5.0


@pytest.mark.parametrize(
    ("phase", "asked", "expected"),
    [
        (Phase.RESTARTING, None, 30.0),
        (Phase.RESTARTING, Verb.START, 30.0),
        (Phase.DRAINING, Verb.RESTART, 30.0),
        (Phase.DRAINING, Verb.STOP, None),
        (Phase.STOPPING, Verb.STOP, None),
        (Phase.STOPPED, None, None),
    ],
)
def test_before_a_restart_lies_a_whole_start_and_before_a_start_by_hand_a_person(
    phase: Phase, asked: Verb | None, expected: float | None
) -> None:
    played = Played()
    played.state = replace(played.state, phase=phase, asked=asked, since=NOW - 10.0)

    known, unknown = replace(snapshot(played), baseline=KNOWN_STARTS), snapshot(played)

    assert retry_after_s(known, now=NOW) == expected
    assert retry_after_s(unknown, now=NOW) == (None if expected is None else 5.0)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        pytest.param(NOW - 1.5, 7.0, id="begun-before-it-was-noticed"),
        pytest.param(None, 8.0, id="begun-when-it-was-noticed"),
        pytest.param(NOW - 8.0, 5.0, id="undecided-for-longer-than-usual"),
    ],
)
def test_a_suspicion_is_over_when_it_is_decided(since: float | None, expected: float) -> None:
    doubt = Judgement(verdict=Verdict.SUSPECT, reason="CountersSilent", message="counters silent", since=since)
    played = Played()
    played.state = replace(played.state, phase=Phase.SUSPECT, judgement=doubt, since=NOW)

    assert retry_after_s(replace(snapshot(played), baseline=KNOWN_STARTS), now=NOW) == expected


@given(
    phase=st.sampled_from(Phase),
    retry_in_s=st.none() | st.floats(-1e4, 1e4),
    spent_s=st.floats(-10.0, 1e5),
    starts_s=st.lists(st.floats(0.0, 3600.0), max_size=20),
)
def test_nobody_is_told_to_ask_at_once_nor_later_than_anything_known(
    phase: Phase, retry_in_s: float | None, spent_s: float, starts_s: list[float]
) -> None:
    played = Played()
    retry_at = None if retry_in_s is None else NOW + retry_in_s
    played.state = replace(played.state, phase=phase, since=NOW - spent_s, retry_at=retry_at)
    played.evidence = replace(played.evidence, started_at=NOW - spent_s)

    told = retry_after_s(replace(snapshot(played), baseline=Baseline(starts_s=tuple(starts_s))), now=NOW)

    longest_s = max([5.0, *starts_s]) + max(0.0, retry_in_s or 0.0) + max(0.0, -spent_s) + Policy().hung_after_s
    assert told is None or 1.0 <= told <= math.ceil(longest_s) + 1
    if phase.is_routable:
        assert told is None


@pytest.mark.parametrize(("moment", "expected"), [(IDLE, None), (STOPPED, None), (FROZEN_IDLE, 8.0)])
def test_what_is_routable_or_stopped_by_hand_names_no_time(moment: Moment, expected: float | None) -> None:
    played = Played().play([IDLE, moment])

    assert retry_after_s(snapshot(played), now=played.now) == expected


def test_every_phase_has_one_of_supervisords_words() -> None:
    words = {phase: word(replace(Played().state, phase=phase)) for phase in Phase}

    assert set(words) == set(Phase)
    assert words[Phase.FAILED] is Word.FATAL
    assert words[Phase.SUSPECT] is Word.RUNNING
