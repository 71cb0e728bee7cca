"""Probe, drain and signal over HTTP: what is asked for is checked, passed on, and told in one shape."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.observations import Reply
from supervisor.publish.services import Outcome, Probed
from tests.publish.serving import BEARER, TOKEN, Served, error_of, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, token=TOKEN) as served:
        yield served


async def test_a_probe_says_how_it_was_answered(served: Served) -> None:
    response = await served.unix.post("/v1/targets/planner/probe")

    assert (response.status_code, response.json()) == (
        200,
        {
            "name": "planner",
            "asked": True,
            "ok": True,
            "verdict": "ready",
            "state": "RUNNING",
            "reply": "answered",
            "first_token_ms": 41.2,
            "detail": "answered",
        },
    )
    assert served.servants.asked == [("probe", "planner", 60.0, False, False)]


async def test_a_probe_that_asked_nobody_says_why(served: Served) -> None:
    served.servants.probed = Probed(asked=False, ok=True, reply=None, first_token_s=None, detail="not asked: asleep")

    response = await served.unix.post("/v1/targets/planner/probe?wait_s=5&patient=1&wake=1")

    told = response.json()
    assert (told["asked"], told["reply"], told["first_token_ms"]) == (False, None, None)
    assert served.servants.asked == [("probe", "planner", 5.0, True, True)]


async def test_a_servers_own_words_are_told_whatever_they_are(served: Served) -> None:
    served.servants.probed = Probed(asked=True, ok=False, reply=Reply.INVALID, first_token_s=None, detail="\ud83d")

    response = await served.unix.post("/v1/targets/planner/probe")

    assert response.json()["detail"] == "?"


async def test_a_drain_is_passed_on_and_says_how_far_it_has_come(served: Served) -> None:
    response = await served.unix.post("/v1/targets/planner/drain", params={"for_s": 60, "why": " driver ", "wait_s": 5})
    at_once = await served.unix.post("/v1/targets/code/drain")

    assert (response.status_code, response.json()) == (
        200,
        {"name": "planner", "drained": True, "until": None, "serves_nobody": True},
    )
    assert at_once.status_code == 200
    assert served.servants.asked == [("drain", "planner", 60.0, "driver", 5.0), ("drain", "code", None, "", 0.0)]


@pytest.mark.parametrize("word", ["HUP", "hup", "SIGHUP", "sighup", "1"])
async def test_a_signal_is_known_by_its_name_and_its_number(served: Served, word: str) -> None:
    response = await served.unix.post(f"/v1/targets/planner/signal?signal={word}")

    assert (response.status_code, response.json()) == (
        200,
        {"name": "planner", "signal": "SIGHUP", "outcome": "done", "message": "SIGHUP sent", "state": "RUNNING"},
    )
    assert served.servants.asked == [("signal", "planner", signal.SIGHUP)]


async def test_one_that_could_not_be_sent_is_told(served: Served) -> None:
    served.servants.sent = Outcome(outcome="failed", message="it does not run")

    response = await served.unix.post("/v1/targets/planner/signal?signal=USR1")

    assert (response.json()["outcome"], response.json()["message"]) == ("failed", "it does not run")


@pytest.mark.parametrize("word", ["", "HUPP", "SIG", "0", "64", "-9", "SIGSIGHUP", "RTMIN", "9; reboot"])
async def test_a_word_that_is_no_signal_is_refused_with_those_there_are(served: Served, word: str) -> None:
    response = await served.unix.post("/v1/targets/planner/signal", params={"signal": word})

    assert error_of(response) == (400, "BadRequest")
    assert f"signal = {word!r}" in response.json()["error"]["message"]
    assert "HUP, INT, QUIT" in response.json()["error"]["message"]
    assert served.servants.asked == []


PATHS = ["/v1/targets/planner/probe", "/v1/targets/planner/drain", "/v1/targets/planner/signal?signal=HUP"]


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_does_anything_of_it_without_the_token(served: Served, path: str) -> None:
    refused = await served.tcp.post(path)
    asked_by_then = list(served.servants.asked)
    let_in = await served.tcp.post(path, headers={b"Authorization": BEARER})

    assert error_of(refused) == (401, "Unauthorized")
    assert (asked_by_then, let_in.status_code) == ([], 200)


@pytest.mark.parametrize(
    ("path", "expected", "words"),
    [
        ("/v1/targets/stranger/probe", (404, "NoSuchTarget"), "planner, code, router"),
        ("/v1/targets/stranger/drain", (404, "NoSuchTarget"), "planner, code, router"),
        ("/v1/targets/stranger/signal?signal=HUP", (404, "NoSuchTarget"), "planner, code, router"),
        ("/v1/targets/planner/probe?wait_s=601", (400, "BadRequest"), "wait_s"),
        ("/v1/targets/planner/probe?wait_s=soon", (400, "BadRequest"), "wait_s"),
        ("/v1/targets/planner/probe?patient=yes", (400, "BadRequest"), "patient"),
        ("/v1/targets/planner/probe?wake=2", (400, "BadRequest"), "wake"),
        ("/v1/targets/planner/drain?for_s=0", (400, "BadRequest"), "for_s"),
        ("/v1/targets/planner/drain?why=%1b", (400, "BadRequest"), "why"),
    ],
)
async def test_what_cannot_be_understood_is_refused_by_its_key(
    served: Served, path: str, expected: tuple[int, str], words: str
) -> None:
    response = await served.unix.post(path)

    assert error_of(response) == expected
    assert words in response.json()["error"]["message"]
    assert served.servants.asked == []


async def test_the_history_tells_what_was_done_beside_what_changed(served: Served) -> None:
    def act(began_at: str) -> dict[str, Any]:
        return {"began_at": began_at, "verb": "restart"}

    served.servants.acts = [act("2026-11-23T11:00:02.000Z"), act("2026-11-23T11:00:01.000Z")]

    everybodys = await served.tcp.get("/v1/history?limit=3")
    one = await served.tcp.get("/v1/history?target=code")

    assert [(each["target"], each["began_at"][17:19]) for each in everybodys.json()["acts"]] == [
        ("planner", "02"),
        ("code", "02"),
        ("router", "02"),
    ]
    assert [each["target"] for each in one.json()["acts"]] == ["code", "code"]


async def test_acts_that_cannot_be_read_are_not_taken_for_none(served: Served) -> None:
    served.servants.acts = None

    assert error_of(await served.tcp.get("/v1/history")) == (503, "HistoryUnreadable")
