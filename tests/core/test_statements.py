"""What each witness says, in a phrase, and since when."""

from typing import Any

import pytest

from supervisor.core.evidence import Evidence
from supervisor.core.observations import EngineSeen, Kind, Life, Reply, Slot
from supervisor.core.statements import REMEMBERED_S, Witness, statements

NOW = 1000.0
ALIVE = EngineSeen(life=Life.RUNNING, instance="4f1e")
IDLE = Slot(id=0, busy=False, task=None, decoded=0, prefilled=0)


def at_work(*, slot: int = 0, decoded: int = 12, prefilled: int = 100) -> Slot:
    return Slot(id=slot, busy=True, task=7, decoded=decoded, prefilled=prefilled)


def said(witness: Witness, **known: Any) -> list[tuple[str, float | None]]:
    """Return what one witness says of a server that runs, with what else is known of it."""
    evidence = Evidence(**{"seen_at": 900.0, "started_at": 880.0, "instance": "4f1e", "engine": ALIVE, **known})
    return [(each.says, each.since) for each in statements(evidence, now=NOW) if each.witness is witness]


@pytest.mark.parametrize(
    ("engine", "says", "since"),
    [
        pytest.param(ALIVE, "running", 880.0, id="running"),
        pytest.param(None, "has not told us yet", 900.0, id="not-asked-yet"),
        pytest.param(
            EngineSeen(life=Life.RUNNING), "there is none: this target is watched only", None, id="watched-only"
        ),
        pytest.param(
            EngineSeen(life=Life.RUNNING, instance="4f1e", stopped_by_operator=True),
            "being stopped by the operator",
            880.0,
            id="on-its-way-out",
        ),
        pytest.param(
            EngineSeen(life=Life.EXITED, instance="4f1e", exit_code=137, oom_killed=True),
            "exited with code 137, killed for using too much memory",
            None,
            id="out-of-memory",
        ),
        pytest.param(
            EngineSeen(life=Life.EXITED, instance="4f1e", stopped_by_operator=True),
            "exited, stopped by the operator",
            None,
            id="stopped-by-hand",
        ),
        pytest.param(
            EngineSeen(life=Life.EXITED, detail="port is taken"), "never started: port is taken", None, id="never-ran"
        ),
        pytest.param(EngineSeen(life=Life.CREATED), "created, and not started yet", None, id="created"),
        pytest.param(EngineSeen(life=Life.PAUSED, instance="4f1e"), "paused", None, id="paused"),
        pytest.param(EngineSeen(life=Life.RESTARTING), "restarting it by its own policy", None, id="its-own-restart"),
        pytest.param(EngineSeen(life=Life.MISSING), "has nothing of that name", None, id="removed"),
    ],
)
def test_the_engine_tells_of_the_life(engine: EngineSeen | None, says: str, since: float | None) -> None:
    assert said(Witness.ENGINE, engine=engine) == [(says, since)]


def test_an_engine_that_cannot_be_asked_is_quoted_beside_what_it_said_last() -> None:
    assert said(Witness.ENGINE, engine_detail="no such socket") == [
        ("cannot be asked: no such socket", None),
        ("running", 880.0),
    ]
    assert said(Witness.ENGINE, engine_detail="no such socket", engine=None) == [
        ("cannot be asked: no such socket", None)
    ]


def test_after_our_own_restart_only_a_new_life_has_anything_to_say() -> None:
    between = {"engine": None, "instance": None, "old_instance": "4f1e", "slots": (IDLE,), "cpu_idle_since": 990.0}

    assert said(Witness.ENGINE, **between) == [("shows no new life yet", 900.0)]
    assert said(Witness.PROGRESS, **between) == []
    assert said(Witness.CPU, **between) == []


def test_what_was_seen_of_one_that_runs_no_more_is_not_told_as_if_it_were_true() -> None:
    gone = EngineSeen(life=Life.EXITED, instance="4f1e", exit_code=1)

    assert said(Witness.PROGRESS, engine=gone, slots=(at_work(),)) == []


@pytest.mark.parametrize(
    ("known", "says", "since"),
    [
        pytest.param({}, "no counters seen", None, id="never-seen"),
        pytest.param(
            {"kind": Kind.LLAMA_CPP_PYTHON}, "no counters to read (llama-cpp-python)", None, id="none-to-read"
        ),
        pytest.param({"is_asleep": True}, "asleep", None, id="asleep"),
        pytest.param({"loading_since": 970.0}, "says that it is loading its model", 970.0, id="loading"),
        pytest.param(
            {"refusals": 1, "refused_since": 990.0},
            "nothing accepts connections on its port, tried once",
            990.0,
            id="refused-once",
        ),
        pytest.param(
            {"refusals": 3, "refused_since": 990.0},
            "nothing accepts connections on its port, tried 3 times in a row",
            990.0,
            id="refused",
        ),
        pytest.param({"silent_since": 960.0}, "counters silent", 960.0, id="silent-from-the-start"),
        pytest.param(
            {"silent_since": 960.0, "slots": (at_work(),)},
            "counters silent; before: slot 0 of 1 at work, 12 tokens decoded",
            960.0,
            id="silent-in-the-midst-of-work",
        ),
        pytest.param({"slots": (IDLE,), "idle_since": 950.0}, "its slot is idle", 950.0, id="idle"),
        pytest.param({"slots": (IDLE, IDLE)}, "all 2 slots idle", None, id="all-idle"),
        pytest.param(
            {"slots": (at_work(decoded=1),), "worked_at": 999.0},
            "slot 0 of 1 at work, 1 token decoded, counters moved",
            999.0,
            id="at-work",
        ),
        pytest.param({"slots": (at_work(),)}, "slot 0 of 1 at work, 12 tokens decoded", None, id="first-look"),
        pytest.param(
            {"slots": (at_work(decoded=0, prefilled=2048),), "standing_since": 959.0},
            "slot 0 of 1 at work, reading its prompt, 2048 tokens so far, counters stand still",
            959.0,
            id="reading-a-prompt",
        ),
        pytest.param(
            {"slots": (IDLE, at_work(slot=1, decoded=0, prefilled=0)), "standing_since": 959.0},
            "slot 1 of 2 at work, reading its prompt, counters stand still",
            959.0,
            id="just-begun-to-read",
        ),
        pytest.param({"slots": (at_work(), at_work(slot=1), IDLE)}, "2 of 3 slots at work", None, id="several"),
        pytest.param({"slots": (at_work(),), "kind": Kind.VLLM}, "requests at work", None, id="batching"),
        pytest.param({"slots": (IDLE,), "kind": Kind.TGI}, "no request at work", None, id="batching-nothing"),
    ],
)
def test_progress_tells_what_the_counters_show(known: dict[str, Any], says: str, since: float | None) -> None:
    assert said(Witness.PROGRESS, **known) == [(says, since)]


@pytest.mark.parametrize(("queued", "says"), [(1, "1 request waiting"), (2, "2 requests waiting")])
def test_progress_tells_who_waits(queued: int, says: str) -> None:
    assert said(Witness.PROGRESS, slots=(at_work(),), kind=Kind.VLLM, queued=queued)[1:] == [(says, None)]


@pytest.mark.parametrize(
    ("stuck", "says"),
    [
        (frozenset({at_work(slot=2)}), "slot 2 stands at work without moving while others answer"),
        (frozenset({at_work(slot=2), at_work(slot=0)}), "slots 0, 2 stand at work without moving while others answer"),
        (frozenset(), "a slot stands while others answer"),
    ],
)
def test_progress_tells_of_a_slot_that_stands_while_others_work(stuck: frozenset[Slot], says: str) -> None:
    slots = (IDLE, *stuck)

    assert said(Witness.PROGRESS, slots=slots, leaked=stuck, leaked_since=930.0)[1:] == [(says, 930.0)]


def test_a_stuck_slot_is_not_counted_as_work() -> None:
    stuck = at_work(slot=1)

    assert said(Witness.PROGRESS, slots=(IDLE, stuck), leaked=frozenset({stuck}))[0] == ("1 of 2 slots idle", None)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param({}, [], id="not-asked-and-no-need"),
        pytest.param({"silent_since": 990.0}, [("not known", None)], id="silent-and-nobody-can-tell"),
        pytest.param({"standing_since": 990.0}, [("not known", None)], id="standing-and-nobody-can-tell"),
        pytest.param({"cpu_idle_since": 990.0}, [("idle", 990.0)], id="idle"),
        pytest.param({"cpu_burned": True, "burning_since": 985.0}, [("burning", 985.0)], id="burning"),
        pytest.param({"cpu_burned": False}, [("quiet", None)], id="quiet"),
        pytest.param(
            {"burned_s": 36.0, "measured_s": 40.0}, [("burning 0.9 of a core over the spell", None)], id="a-core"
        ),
        pytest.param(
            {"burned_s": 0.8, "measured_s": 40.0}, [("burning 0.02 of a core over the spell", None)], id="starved"
        ),
        pytest.param(
            {"burned_s": 150.0, "measured_s": 40.0}, [("burning 3.8 cores over the spell", None)], id="several-cores"
        ),
        pytest.param(
            {"waits_for_disk": True},
            [("a thread of it waits for a disk or a network share", None)],
            id="waits-for-its-disk",
        ),
    ],
)
def test_the_cpu_tells_what_is_burned(known: dict[str, Any], expected: list[tuple[str, float | None]]) -> None:
    assert said(Witness.CPU, **known) == expected


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"gpu_share": 0.412}, "0.41 of a GPU"),
        ({"gpu_share": 0.0}, "idle"),
        ({"gpu_is_unknown": True}, "it uses one, and what it does there is not known"),
    ],
)
def test_the_gpu_tells_its_share(known: dict[str, Any], says: str) -> None:
    assert said(Witness.GPU, **known) == [(says, None)]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param({"traffic_ok_at": 990.0}, [("a real request was answered", 990.0)], id="answered"),
        pytest.param({"traffic_ok_at": NOW - REMEMBERED_S}, [], id="too-long-ago"),
        pytest.param(
            {"traffic_failures": 1, "traffic_failed_at": 995.0}, [("1 failure reported", 995.0)], id="one-failure"
        ),
        pytest.param(
            {"traffic_failures": 2, "traffic_failed_at": 995.0, "traffic_detail": "timeout after 30 s"},
            [("2 failures reported: timeout after 30 s", 995.0)],
            id="two-failures",
        ),
    ],
)
def test_traffic_tells_what_routers_report(known: dict[str, Any], expected: list[tuple[str, float | None]]) -> None:
    assert said(Witness.TRAFFIC, **known) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param({}, [], id="none-yet"),
        pytest.param({"canary_since": 980.0}, [("unanswered", 980.0)], id="on-its-way"),
        pytest.param(
            {"answered_at": 990.0, "first_token_s": 0.041, "last_reply": Reply.ANSWERED},
            [("answered, first token after 41 ms", 990.0)],
            id="answered",
        ),
        pytest.param({"answered_at": 990.0}, [("answered", 990.0)], id="answered-somehow"),
        pytest.param(
            {"answered_at": 950.0, "canary_since": 980.0},
            [("unanswered", 980.0), ("an earlier one answered", 950.0)],
            id="another-one-is-out",
        ),
        pytest.param(
            {"failures": 1, "last_detail": "status 500", "canary_ended_at": 995.0},
            [("a bad answer: status 500", 995.0)],
            id="one-bad-answer",
        ),
        pytest.param(
            {"failures": 3, "last_detail": "garbage", "canary_ended_at": 995.0},
            [("3 bad answers in a row: garbage", 995.0)],
            id="bad-answers",
        ),
    ],
)
def test_the_canary_tells_how_it_went(known: dict[str, Any], expected: list[tuple[str, float | None]]) -> None:
    assert said(Witness.CANARY, **known) == expected


@pytest.mark.parametrize(
    ("reply", "detail", "says"),
    [
        (Reply.DENIED, "status 401: Invalid API Key", "refused: status 401: Invalid API Key"),
        (Reply.OVERLOADED, "", "told that the server has too much to do"),
        (Reply.LOADING, "", "told that the model is loading"),
        (Reply.REFUSED, "", "found nobody listening"),
        (Reply.RESET, "", "found nobody listening"),
        (Reply.SILENT, "", "an earlier one was never answered"),
        (Reply.UNSUPPORTED, "status 404", "ended as unsupported: status 404"),
    ],
)
def test_a_canary_without_an_answer_says_how_it_ended(reply: Reply, detail: str, says: str) -> None:
    assert said(Witness.CANARY, last_reply=reply, last_detail=detail, canary_ended_at=995.0) == [(says, 995.0)]


def test_we_say_ourselves_when_we_cannot_look() -> None:
    assert said(Witness.OURSELVES, blind_detail="too many open files") == [("cannot look: too many open files", None)]
    assert said(Witness.OURSELVES) == []
