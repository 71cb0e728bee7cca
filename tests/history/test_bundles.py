"""A bundle of evidence as the body of a file: valid JSON, whatever was in it, and never too large."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.history.bundles import CUT, DEEPEST, MOST_BYTES, body

LOG = "".join(f"line {number}\n" for number in range(100_000))
Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


def strictly(written: bytes) -> Any:
    """Read JSON as others do, who know no NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(written, parse_constant=refuse)


def test_what_fits_is_written_as_it_is() -> None:
    bundle = {"target": "general", "log": "a\nb", "slots": [{"id": 0, "busy": True}], "cpu": 0.5, "gpu": None}

    assert strictly(body(bundle)) == bundle


def test_what_json_cannot_hold_is_told_in_words_or_left_out() -> None:
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    bundle = {
        "at": at,
        "path": Path("/m"),
        "cpu": float("nan"),
        "log": b"\xff",
        "said": "\ud83d",
        "gpus": {3: {1}},
        "n": 10**5000,
    }

    kept = strictly(body(bundle))

    assert kept == {
        "at": str(at),
        "path": "/m",
        "cpu": None,
        "log": "\ufffd",
        "said": "?",
        "gpus": {"3": [1]},
        "n": None,
    }


def test_the_longest_texts_are_cut_in_their_midst_and_the_rest_is_whole() -> None:
    bundle = {"target": "general", "log": LOG, "props": {"template": "x" * 20_000}, "slots": [{"id": 0}] * 50}

    written = body(bundle)
    kept = strictly(written)

    assert MOST_BYTES / 4 < len(written) <= MOST_BYTES
    assert kept.pop("cut") == CUT
    log = kept.pop("log")
    assert log.startswith("line 0\n")
    assert log.endswith("line 99999\n")
    assert "characters are cut here" in log
    assert kept == {key: value for key, value in bundle.items() if key != "log"}


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param({"log": LOG.splitlines()}, id="many-short-texts"),
        pytest.param({"log": "€😀" * 200_000}, id="letters-of-many-bytes"),
        pytest.param({"log": "\x00" * 500_000}, id="letters-that-are-written-as-six"),
        pytest.param({"slots": [{"id": number} for number in range(50_000)]}, id="no-texts-at-all"),
        pytest.param({str(number): number for number in range(50_000)}, id="many-keys"),
        pytest.param({"k" * 1_000_000: {"l" * 1_000_000: 1}}, id="long-keys"),
        pytest.param({"rows": [["x" * 300] * 300] * 300}, id="lists-in-lists"),
    ],
)
def test_whatever_makes_it_large_it_is_cut_until_it_fits(bundle: dict[str, Any]) -> None:
    written = body(bundle)

    assert len(written) <= MOST_BYTES
    assert strictly(written)["cut"] == CUT
    assert len(written) > MOST_BYTES / 10 or "k" * 100 in written.decode()


def test_of_a_list_that_is_cut_its_end_is_kept() -> None:
    lines = strictly(body({"log": LOG.splitlines()}))["log"]

    assert lines[-1] == "line 99999"


def test_what_holds_itself_ends_somewhere() -> None:
    bundle: dict[str, Any] = {"name": "general"}
    bundle["again"] = bundle

    kept = strictly(body(bundle))
    for _ in range(DEEPEST - 1):
        kept = kept["again"]

    assert kept == {"name": "general", "again": "…"}


@given(st.dictionaries(st.text(), Json))
def test_every_bundle_becomes_json_that_others_can_read(bundle: dict[str, Any]) -> None:
    written = body(bundle)

    assert isinstance(strictly(written), dict)
    assert len(written) <= MOST_BYTES
