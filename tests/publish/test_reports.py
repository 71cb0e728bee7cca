"""Reading a router's report: nothing in it can do harm, however broken."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.publish.reports import MAX_ERROR, BadReportError, Report, parse, target_of
from tests.publish.believing import snapshot

KEYS = ("backend", "ok", "error", "first_token_s", "age_s", "instance", "other")
Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
)


def test_an_error_of_many_words_is_shortened_and_harmless() -> None:
    (report,) = parse(
        json.dumps(
            {"backend": "planner", "ok": False, "error": "boo\x1b[2J\nsecond \ud83d line " + "x" * 1000}
        ).encode()
    )

    assert report.seen.detail.startswith("boo [2J second   line xxx")
    assert len(report.seen.detail) == MAX_ERROR
    assert report.seen.detail.isprintable()


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("planner", "planner"),
        ("http://127.0.0.1:8092", "planner"),
        ("http://127.0.0.1:8092/", "planner"),
        ("http://127.0.0.1:8092/v1", "planner"),
        ("http://127.0.0.1:80921", "http://127.0.0.1:80921"),
        ("", ""),
    ],
)
def test_a_backend_is_meant_by_its_name_or_its_address(backend: str, name: str) -> None:
    assert target_of(backend, (snapshot("other", url="http://127.0.0.1:1"), snapshot("planner"))) == name


@given(Json)
def test_no_body_whatever_is_worse_than_refused(content: Any) -> None:
    reports: list[Report] = []

    with contextlib.suppress(BadReportError):
        reports = parse(json.dumps(content).encode())

    assert all(isinstance(each, Report) and 0 <= each.seen.age_s <= 3600 for each in reports)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_are_worse_than_refused(body: bytes) -> None:
    reports: list[Report] = []

    with contextlib.suppress(BadReportError):
        reports = parse(body)

    assert all(isinstance(each, Report) for each in reports)
