"""The words that routers and people are told."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from supervisor.core.events import Verb
from supervisor.core.liveness import Clocks, Snapshot, Word, backend_entry, by_alias, retry_after_s, summary, word
from supervisor.core.policy import Policy
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
        ({"retry_at": NOW + 900.0, "is_exhausted": True}, "slow retry in 900s"),
    ],
)
def test_what_is_fatal_says_who_is_to_do_what(known: dict[str, object], expected: str) -> None:
    assert summary(failed(**known), now=NOW) == f"hung: no progress for 14s, cpu idle; {expected}"


@pytest.mark.parametrize(
    ("known", "expected"), [({}, None), ({"retry_at": NOW + 18.4}, 18.0), ({"retry_at": NOW - 1.0}, 1.0)]
)
def test_a_router_is_told_when_asking_again_may_help(known: dict[str, object], expected: float | None) -> None:
    assert retry_after_s(failed(**known), now=NOW) == expected


@pytest.mark.parametrize(("moment", "expected"), [(IDLE, None), (STOPPED, None), (FROZEN_IDLE, 5.0)])
def test_what_is_routable_or_stopped_by_hand_names_no_time(moment: Moment, expected: float | None) -> None:
    played = Played().play([IDLE, moment])

    assert retry_after_s(snapshot(played), now=played.now) == expected


def test_every_phase_has_one_of_supervisords_words() -> None:
    words = {phase: word(replace(Played().state, phase=phase)) for phase in Phase}

    assert set(words) == set(Phase)
    assert words[Phase.FAILED] is Word.FATAL
    assert words[Phase.SUSPECT] is Word.RUNNING
