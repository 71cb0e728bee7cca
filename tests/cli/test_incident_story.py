"""An incident told in sentences, and its evidence summed up."""

from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor.cli.incident_story import lines
from tests.fakes.documents import Document
from tests.fakes.incidents import BUNDLE, MEMBER, incident, member

pytestmark = pytest.mark.usefixtures("in_utc")
NOON_S = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()


def story(*members: Document, **changes: Any) -> str:
    """Return what `show` tells of it, as one line."""
    return " ".join(lines(incident(*members, **changes), now_s=NOON_S, width=100))


def test_of_an_incident_that_is_only_observed_one_learns_whether_waiting_was_right() -> None:
    watched = {"acted_at": [], "would_act_at": "2026-11-23T11:45:10.000Z"}

    right = story(member(**watched, ending="by itself", was_right_to_wait=True))
    wrong = story(member(**watched, ending="somebody else's restart", was_right_to_wait=False))

    assert "It would have been restarted at 11:45:10, had we not held back." in right
    assert "It recovered by itself after 4 min 10 s, so waiting was right." in right
    assert "Somebody else's restart brought it back after 4 min 10 s, so waiting did not help." in wrong


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"would_act_at": "2026-11-23T11:45:10.000Z"}, "It was due to be restarted at 11:45:10, and we held back. We"),
        ({"acted_at": []}, "We did nothing to it."),
        ({"acted_at": ["2026-11-24T00:00:09.000Z"]}, "We restarted it at Nov 24 00:00:09."),
        (
            {"acted_at": [f"2026-11-23T11:4{minute}:00.000Z" for minute in range(5, 10)]},
            "We restarted it 5 times, first at 11:45:00 and last at 11:49:00.",
        ),
        ({"closed_at": None, "ending": None}, "It is not over yet, after 15 min."),
        ({"ending": "the operator"}, "The operator ended it after 4 min 10 s."),
        ({"ending": None}, "It ended after 4 min 10 s, nobody knows how."),
        ({"cause": None, "says": None}, "The cause is not known."),
        ({"cause": "unknown", "says": "exited 1"}, "The cause is not known."),
        ({"cause": "unknown", "says": "no error"}, "The cause is not known; what was found: no error."),
        ({"says": "exited 1"}, "The cause: out of VRAM. A"),
        ({"verdict": "hung", "cause": "hung", "says": "exited 1", "cure": ""}, "exited 1 (Exited). A restart"),
        ({"cure": "", "helps_restart": True}, "the GPU has 200 MiB left. We restarted"),
    ],
)
def test_what_was_behind_it_what_was_done_and_how_it_ended_is_told_in_sentences(
    changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in story(member(**changes))


def test_of_a_trouble_that_many_share_each_has_its_paragraph_and_all_their_common_cause() -> None:
    told = story(
        member(cause="crashed"), member(target="code", cause="crashed"), cause="GPU lost", says="GPU 0 is gone"
    )

    assert told.startswith("Incident 20261123-114500-general: general and code, since")
    assert told.count("The cause: GPU lost, that is, GPU 0 is gone.") == 1
    assert told.index("GPU lost") < told.index("general was down") < told.index("code was down")


def test_a_cause_that_a_member_tells_is_not_told_twice() -> None:
    assert story(MEMBER, member(target="code", cause="crashed")).count("out of VRAM") == 1


def test_only_the_end_of_a_long_log_is_shown_and_only_some_of_many_processes() -> None:
    log = "\n".join(f"line {number} {'x' * 400}" for number in range(100))
    processes = [{"pid": number, "name": "worker"} for number in range(1, 31)]

    told = lines(incident(evidence=[{**BUNDLE, "log": log, "processes": processes}]), now_s=NOON_S, width=80)

    shown = [line for line in told if line.startswith("    | ")]
    assert "  the last lines it printed, of 100 that were kept:" in told
    assert [line.split()[2] for line in shown] == [str(number) for number in range(80, 100)]
    assert max(map(len, shown)) == 306
    assert len([line for line in told if line.endswith(" worker")]) == 20
    assert "    and 10 more" in told


@pytest.mark.parametrize(
    ("bundle", "expected"),
    [
        ({}, ["Evidence of : not judged"]),
        ({"target": "code", "log": ""}, ["Evidence of code: not judged", "  it had printed nothing"]),
        ({"target": "code", "gpu": [{"index": 1, "is_lost": True}]}, ["Evidence of code: not judged", "  GPU 1: lost"]),
        (
            {"target": "code", "gpu": [{"used_bytes": 0}], "errors": ["docker: no answer"], "cut": "the log is cut"},
            [
                "Evidence of code: not judged",
                "  GPU ?: 0 MiB of ? used",
                "  not all could be asked: docker: no answer",
                "  the log is cut",
            ],
        ),
        (
            {"target": "code", "statements": None, "processes": [{"pid": 1, "threads": 0}, "?"], "gpu": "?", "log": 1},
            ["Evidence of code: not judged", "  processes:", "    1, threads 0"],
        ),
        (
            {"target": "code", "processes": [{"pid": 1, "threads": dict.fromkeys("abcdef", 2)}]},
            ["Evidence of code: not judged", "  processes:", "    1, threads (2 x a, 2 x b, 2 x c, 2 x d, …)"],
        ),
    ],
)
def test_what_is_missing_of_the_evidence_is_left_out(bundle: Document, expected: list[str]) -> None:
    told = lines(incident(evidence=[bundle]), now_s=NOON_S, width=80)

    assert told[-len(expected) :] == expected


def test_an_incident_without_evidence_says_so() -> None:
    assert story(evidence=None).endswith("No evidence was kept of it.")


def test_a_blank_line_parts_two_bundles() -> None:
    told = lines(incident(evidence=[{"target": "code"}, {"target": "general"}]), now_s=NOON_S, width=80)

    assert told[-3:] == ["Evidence of code: not judged", "", "Evidence of general: not judged"]
