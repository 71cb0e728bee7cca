"""The documents that are published, and what makes them change."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from supervisor.core.cause import Cause, Diagnosis
from supervisor.core.liveness import Snapshot, Word
from supervisor.core.observations import EngineSeen, Life
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase
from supervisor.publish.board import Board
from tests.publish.believing import HUNG, VALID_FOR_S, Time, snapshot


def document(board: Board) -> dict[str, Any]:
    return dict(json.loads(board.document.body))


def entry(board: Board, name: str = "planner") -> dict[str, Any]:
    return next(each for each in document(board)["backends"] if each["name"] == name)


def test_the_liveness_document_is_what_routers_were_promised() -> None:
    board = Time().board(
        snapshot("planner", models=("planner", "research")),
        snapshot("code", models=("code", "research"), url="http://127.0.0.1:8093"),
        snapshot("router", kind="router", models=()),
    )

    told = document(board)

    assert told | {"epoch": "", "backends": []} == {
        "schema": 1,
        "epoch": "",
        "revision": 1,
        "generated_at": "2026-11-23T12:00:00.000Z",
        "expires_at": "2026-11-23T12:00:15.000Z",
        "valid_for_s": 15.0,
        "mode": "enforce",
        "backends": [],
        "models": {"planner": ["planner"], "research": ["planner", "code"], "code": ["code"]},
    }
    assert [each["name"] for each in told["backends"]] == ["planner", "code"]
    assert told["backends"][0] == {
        "name": "planner",
        "url": "http://127.0.0.1:8092",
        "models": ["planner", "research"],
        "routable": True,
        "weight": 1.0,
        "verdict": "ready",
        "state": "RUNNING",
        "reason": "CanaryAnswered",
        "message": "first token after 41 ms",
        "since": "2026-11-23T11:59:58.000Z",
        "last_ok_at": "2026-11-23T11:59:59.000Z",
        "first_token_ms": 41.2,
        "retry_after_s": None,
        "instance": "4f1e@12",
    }


def test_every_start_has_an_epoch_of_its_own_and_the_validator_is_weak() -> None:
    one, other = Time().board(snapshot()), Time().board(snapshot())

    assert one.document.epoch != other.document.epoch
    assert one.document.etag == f'W/"{one.document.epoch}.1"'
    assert document(one)["epoch"] == one.document.epoch


def test_while_nothing_changes_the_stamp_moves_and_the_revision_stays() -> None:
    time = Time()
    board = time.board(snapshot())
    first = board.document

    time.pass_s(2.0)
    board.put(snapshot(as_of=102.0))

    assert (board.document.revision, board.document.etag) == (1, first.etag)
    assert document(board)["generated_at"] == "2026-11-23T12:00:02.000Z"
    assert board.document.expires_at == document(board)["expires_at"] == "2026-11-23T12:00:17.000Z"


def test_a_wait_that_grows_shorter_is_no_new_content() -> None:
    time = Time()
    waiting: dict[str, Any] = {"phase": Phase.BACKOFF, "judgement": HUNG, "retry_at": 130.0}
    board = time.board(snapshot(**waiting))
    before = entry(board)["retry_after_s"]

    time.pass_s(10.0)
    board.put(snapshot(as_of=110.0, **waiting))

    assert (before, entry(board)["retry_after_s"]) == (30.0, 20.0)
    assert board.document.revision == 1


@pytest.mark.parametrize(
    "change", [{"phase": Phase.SUSPECT}, {"judgement": HUNG}, {"answered_at": 99.5}, {"instance": "5a2b@13"}]
)
def test_whatever_is_believed_anew_makes_one_revision(change: dict[str, Any]) -> None:
    board = Time().board(snapshot())

    board.put(snapshot(**change))
    board.put(snapshot(**change))

    assert (board.document.revision, document(board)["revision"]) == (2, 2)


def test_what_a_router_is_never_told_makes_no_revision() -> None:
    board = Time().board(snapshot(), snapshot("router", kind="router"))

    board.put(snapshot("router", kind="router", phase=Phase.SUSPECT, judgement=HUNG))

    assert board.document.revision == 1


def test_a_target_whose_owner_is_late_is_told_as_unknown_and_left_as_it_was() -> None:
    time = Time()
    board = time.board(snapshot("stuck"), snapshot("well"))

    time.pass_s(VALID_FOR_S + 1)
    board.put(snapshot("well", as_of=time.now))

    stuck, well = entry(board, "stuck"), entry(board, "well")
    assert (stuck["verdict"], stuck["reason"], stuck["routable"]) == ("unknown", "SupervisorLate", True)
    assert (well["verdict"], well["reason"]) == ("ready", "CanaryAnswered")
    assert not board.ticks
    believed = board.believed("stuck")
    assert believed is not None
    assert believed.state.judgement.reason == "SupervisorLate"


def test_a_status_that_a_late_owner_left_behind_says_that_it_has_run_out() -> None:
    time = Time()
    board = time.board(snapshot())
    fresh = board.status()

    time.pass_s(VALID_FOR_S + 5)
    late = board.status()

    assert fresh["expires_at"] == late["expires_at"] == "2026-11-23T12:00:15.000Z"
    assert late["as_of"] == "2026-11-23T12:00:20.000Z"
    assert late["targets"][0]["verdict"] == "unknown"


def test_nothing_was_looked_at_until_everything_was() -> None:
    unseen = snapshot("new").state.judgement
    board = Time().board(snapshot(), snapshot("new", judgement=replace(unseen, reason="NotYetKnown")))

    before = board.has_looked
    board.put(snapshot("new"))

    assert not before
    assert board.has_looked


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=2)])
def test_when_the_wall_clock_is_set_the_times_follow_it(step: timedelta) -> None:
    time = Time()
    board = time.board(snapshot())

    time.wall += step
    board.put(snapshot())
    once = board.document.revision
    board.put(snapshot())

    since = datetime.fromisoformat(entry(board)["since"])
    expires_at = datetime.fromisoformat(board.document.expires_at)
    assert since == time.wall - timedelta(seconds=2)
    assert expires_at == time.wall + timedelta(seconds=VALID_FOR_S)
    assert (once, board.document.revision) == (2, 2)


def test_a_wall_clock_that_is_nudged_changes_nothing() -> None:
    time = Time()
    board = time.board(snapshot())

    for _ in range(5):
        time.pass_s(0.1)
        time.wall += timedelta(milliseconds=100)
        board.put(snapshot(as_of=time.now))

    assert board.document.revision == 1


def test_half_a_character_from_a_server_is_published_as_something_that_can_be_read() -> None:
    board = Time().board(snapshot(judgement=replace(HUNG, message="half a \ud83d character")))

    assert entry(board)["message"] == "half a ? character"


async def test_whoever_waits_for_a_change_hears_of_the_next_stamp() -> None:
    board = Time().board(snapshot())
    waiting = asyncio.create_task(board.change())
    await asyncio.sleep(0)
    was_waiting = not waiting.done()

    board.put(snapshot())

    async with asyncio.timeout(5):
        await waiting
    assert was_waiting


@pytest.mark.parametrize(
    ("phase", "word"),
    [
        (Phase.UNKNOWN, Word.UNKNOWN),
        (Phase.STARTING, Word.STARTING),
        (Phase.UP, Word.RUNNING),
        (Phase.BUSY, Word.RUNNING),
        (Phase.SUSPECT, Word.RUNNING),
        (Phase.RESTARTING, Word.STARTING),
        (Phase.BACKOFF, Word.BACKOFF),
        (Phase.FAILED, Word.FATAL),
        (Phase.STOPPING, Word.STOPPING),
        (Phase.STOPPED, Word.STOPPED),
    ],
)
def test_every_phase_has_supervisords_word_for_it(phase: Phase, word: Word) -> None:
    board = Time().board(snapshot(phase=phase))

    (target,) = board.status()["targets"]

    assert (target["state"], target["phase"], target["routable"]) == (word, phase, phase.is_routable)
    assert entry(board)["state"] == word


RUNNING = EngineSeen(life=Life.RUNNING, instance="4f1e@12", pid=4121)
EXITED = EngineSeen(life=Life.EXITED, instance="4f1e@12", pid=4121, ended_at="2026-11-23T11:45:00Z")


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (RUNNING, {"pid": 4121, "uptime_s": 60.0, "stopped_at": None}),
        (EXITED, {"pid": None, "uptime_s": None, "stopped_at": "2026-11-23T11:45:00Z"}),
        (None, {"pid": None, "uptime_s": None, "stopped_at": None}),
    ],
    ids=["running", "exited", "not-told-yet"],
)
def test_pid_and_uptime_are_told_of_what_runs(engine: EngineSeen | None, expected: dict[str, Any]) -> None:
    (target,) = Time().board(snapshot(engine=engine)).status()["targets"]

    assert {key: target[key] for key in expected} == expected


def test_what_holds_us_back_and_the_trouble_it_is_in_are_told() -> None:
    held = Restraint(curb=Curb.HELD, message="held by the operator: new driver", since=70.0, until=160.0)
    lost = Diagnosis(cause=Cause.GPU_LOST, says="no GPU for it", cure="reboot the host", helps_restart=False)
    troubled = replace(snapshot(phase=Phase.FAILED, diagnosis=lost), restraint=held, incident="20261123-115900-planner")

    (told,) = Time().board(troubled).status()["targets"]

    assert (told["cause"], told["incident"]) == ("GPU lost", "20261123-115900-planner")
    assert told["held"] == {
        "by": "Held",
        "message": "held by the operator: new driver",
        "since": "2026-11-23T11:59:30.000Z",
        "until": "2026-11-23T12:01:00.000Z",
    }


def test_the_mode_is_told_to_routers_and_people() -> None:
    board = Time().board(snapshot(), mode="observe")

    assert (document(board)["mode"], board.status()["mode"]) == ("observe", "observe")


def test_the_status_is_what_the_command_line_was_promised() -> None:
    board = Time().board(snapshot(engine=RUNNING, restarts=(1.0, 2.0)), snapshot("router", kind="router", models=()))
    board.problems |= {"liveness file": "full", "docker": "engine unreachable"}

    told = board.status()

    daemon, (planner, router) = told.pop("daemon"), told.pop("targets")
    assert told == {
        "schema": 1,
        "as_of": "2026-11-23T12:00:00.000Z",
        "expires_at": "2026-11-23T12:00:15.000Z",
        "mode": "enforce",
    }
    assert daemon["problems"] == ["docker: engine unreachable", "liveness file: full"]
    assert set(daemon) == {"pid", "version", "started_at", "problems"}
    assert planner == {
        "name": "planner",
        "kind": "backend",
        "state": "RUNNING",
        "phase": "up",
        "verdict": "ready",
        "routable": True,
        "reason": "CanaryAnswered",
        "summary": "ready, first token 0.04s, 1s ago",
        "pid": 4121,
        "uptime_s": 60.0,
        "stopped_at": None,
        "since": "2026-11-23T11:59:58.000Z",
        "instance": "4f1e@12",
        "restarts": 2,
        "watched_only": False,
        "cause": None,
        "incident": None,
        "held": None,
        "drained": None,
    }
    assert router["kind"] == "router"


@pytest.mark.parametrize("look", [lambda board, name: board.find(name), lambda board, name: board.believed(name)])
def test_of_a_stranger_nothing_is_known(look: Callable[[Board, str], Snapshot | None]) -> None:
    assert look(Time().board(snapshot()), "stranger") is None


def test_who_comes_and_who_goes_is_a_revision_like_any_other_and_is_told_to_whoever_follows() -> None:
    board = Time().board(snapshot("planner"), snapshot("code", models=("code",)))
    before, told = board.document, board.feed.latest

    board.settle([snapshot("math", models=("math",)), snapshot("planner")], valid_for_s=VALID_FOR_S, mode="enforce")

    after = document(board)
    assert [each["name"] for each in after["backends"]] == ["math", "planner"]
    assert list(after["models"]) == ["math", "planner"]
    assert (board.document.epoch, board.document.revision) == (before.epoch, before.revision + 1)
    assert board.feed.latest == told + 1
    assert board.find("code") is None


def test_the_same_targets_make_no_revision() -> None:
    board = Time().board(snapshot("planner"))

    board.settle([snapshot("planner")], valid_for_s=VALID_FOR_S, mode="enforce")

    assert board.document.revision == 1


@pytest.mark.parametrize("other", [{"mode": "observe"}, {"valid_for_s": 9.0}])
def test_how_we_run_is_a_part_of_what_is_told(other: dict[str, Any]) -> None:
    """Whoever holds the old document must not be told that it is unchanged."""
    board = Time().board(snapshot("planner"))

    board.settle(board.snapshots, **{"valid_for_s": VALID_FOR_S, "mode": "enforce", **other})

    assert board.document.revision == 2
    assert {key: document(board)[key] for key in other} == other


def test_the_status_tells_of_what_is_out_of_rotation_and_how_far_that_has_come() -> None:
    time = Time()
    drain = Restraint(curb=Curb.DRAINED, message="drained by the operator: mine", until=160.0, since=90.0)
    board = time.board(snapshot(drain=drain, restraint=drain, readable_ever=True, looked_at=99.0), snapshot("code"))

    planner, code = board.status()["targets"]

    assert planner["drained"] == {
        "message": "drained by the operator: mine",
        "until": "2026-11-23T12:01:00.000Z",
        "serves_nobody": True,
    }
    assert (planner["routable"], planner["held"]["by"], planner["state"]) == (False, "Drained", "RUNNING")
    assert (code["drained"], code["routable"]) == (None, True)
