"""`docs/liveness.schema.json`: what is published keeps to it, and it is no schema that everything keeps to."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from supervisor.core.baseline import Baseline
from supervisor.core.restraint import Curb, Restraint
from supervisor.core.state import Phase
from supervisor.core.verdict import Judgement, Verdict
from supervisor.publish.board import Board
from supervisor.publish.reports import parse
from tests.publish.believing import HUNG, VALID_FOR_S, Time, snapshot
from tests.publish.running import running

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "liveness.schema.json").read_text())
HELD = Restraint(curb=Curb.HELD, message="held by the operator")


def wrongs(document: Any) -> list[str]:
    """Return what is wrong with a document."""
    validator = Draft202012Validator(SCHEMA)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def document(board: Board) -> dict[str, Any]:
    return dict(json.loads(board.document.body))


def good() -> dict[str, Any]:
    """Return a document of two backends, of which one is out."""
    out = snapshot("code", models=("code", "all"), phase=Phase.BACKOFF, judgement=HUNG, retry_at=112.0)
    return document(Time().board(snapshot("planner", models=("planner", "all")), out))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("verdict", Verdict)
def test_every_phase_and_verdict_keeps_to_it(phase: Phase, verdict: Verdict) -> None:
    judged = Judgement(verdict=verdict, reason="CountersSilent", message="counters silent, cpu idle")
    more: list[dict[str, Any]] = [
        {},
        {"retry_at": 130.0, "baseline": Baseline(starts_s=(12.5, 40.0))},
        {"instance": None, "answered_at": None, "first_token_s": None},
        {"stands_in_for": "planner", "recovered_at": 99.0},
        {"restraint": HELD, "retry_at": 50.0},
    ]
    board = Time().board(*(snapshot(f"b{i}", phase=phase, judgement=judged, **each) for i, each in enumerate(more)))

    assert wrongs(document(board)) == []


def test_a_document_without_backends_of_a_late_loop_and_of_one_that_only_watches_keep_to_it() -> None:
    time = Time()
    late, watching = time.board(snapshot("planner"), snapshot("code")), time.board(snapshot(), mode="observe")
    time.pass_s(VALID_FOR_S + 1)
    late.put(snapshot("code", as_of=time.now))

    documents = [document(each) for each in (Time().board(), late, watching)]

    assert documents[1]["backends"][0]["reason"] == "SupervisorLate"
    assert [wrongs(each) for each in documents] == [[], [], []]


def test_the_running_daemons_document_keeps_to_it_over_http_and_in_the_file(tmp_path: Path, model: Path) -> None:
    with running(tmp_path, model) as daemon:
        served, filed = daemon.liveness(), json.loads(daemon.liveness_file.read_text())

    assert [each["routable"] for each in served["backends"]] == [True, False]
    assert (wrongs(served), wrongs(filed)) == ([], [])


def test_the_example_in_the_contract_keeps_to_it_and_its_reports_are_taken() -> None:
    page = (DOCS / "liveness.md").read_text()
    example, reports = re.findall(r"```json\n(.*?)```", page, re.DOTALL)

    assert wrongs(json.loads(example)) == []
    assert [each.seen.ok for each in parse(reports.encode())] == [False, True]


def test_it_describes_every_key_that_is_published_and_no_other() -> None:
    told, backend = good(), SCHEMA["properties"]["backends"]["items"]

    assert list(SCHEMA["properties"]) == SCHEMA["required"] == list(told)
    assert list(backend["properties"]) == backend["required"] == list(told["backends"][0])


def test_every_field_says_what_it_means_and_every_null_too() -> None:
    fields = {**SCHEMA["properties"], **SCHEMA["properties"]["backends"]["items"]["properties"]}
    fields.pop("backends")

    silent = [name for name, field in fields.items() if not field.get("description")]
    nullable = {name: field["description"] for name, field in fields.items() if "null" in field.get("type", ())}
    assert silent == []
    assert set(nullable) == {"last_ok_at", "first_token_ms", "retry_after_s", "instance"}
    assert [name for name, said in nullable.items() if "null: " not in said] == []


def backend(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Return what changes keys of the first backend, which is ready."""
    return lambda told: told["backends"][0].update(changes)


def whole(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Return what changes keys of the document."""
    return lambda told: told.update(changes)


def without(*path: str | int) -> Callable[[dict[str, Any]], None]:
    """Return what takes one key away."""

    def take(told: Any) -> None:
        for step in path[:-1]:
            told = told[step]
        del told[path[-1]]

    return take


WRONG = {
    "another schema": whole(schema=2),
    "no epoch": whole(epoch=""),
    "a revision that was never counted": whole(revision=0),
    "half a revision": whole(revision=1.5),
    "a local time": whole(expires_at="2026-11-23T13:00:00.000+01:00"),
    "a time in seconds": whole(generated_at=1_795_000_000),
    "valid for no time": whole(valid_for_s=0),
    "another mode": whole(mode="sleep"),
    "one backend for a list": whole(backends={}),
    "an alias of nobody": whole(models={"planner": []}),
    "an alias that names one": whole(models={"planner": "planner"}),
    "no end": without("expires_at"),
    "no word on whether": without("backends", 0, "routable"),
    "no name": backend(name=""),
    "no address": backend(url="127.0.0.1:8092"),
    "perhaps": backend(routable="yes"),
    "unknown for routable": backend(routable=None),
    "too heavy": backend(weight=1.5),
    "routable and of no weight": backend(weight=0),
    "routable and to be asked later": backend(retry_after_s=5.0),
    "not routable and of some weight": backend(routable=False),
    "asked again at once": backend(routable=False, weight=0, retry_after_s=0),
    "a verdict of nobody's": backend(verdict="fine"),
    "a state of nobody's": backend(state="running"),
    "a reason in words": backend(reason="it answered"),
    "an answer before it was asked": backend(first_token_ms=-1),
    "no since": backend(since=None),
    "a number for a life": backend(instance=12),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in WRONG.items()])
def test_a_wrong_document_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    told = good()
    assert wrongs(told) == []

    change(told)

    assert wrongs(told)
